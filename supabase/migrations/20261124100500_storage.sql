-- Where files wait for their request: the private bucket `inputs`, at `<organisation>/<request>`.
-- Only who made the request puts the file there, once, while the request awaits it. The workers read it by keys of their own.

insert into storage.buckets (id, name, public, file_size_limit)
  values ('inputs', 'inputs', false, 1073741824) on conflict (id) do nothing;

create function private.may_upload(path text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from public.bulk_requests b
    where b.input_path = may_upload.path and b.status = 'awaiting_upload'
      and private.may(b.organisation_id, 'finalize', b.created_by))
$$;
revoke execute on function private.may_upload(text) from public, anon, service_role;
grant execute on function private.may_upload(text) to authenticated;

create policy "who made a request uploads its file" on storage.objects for insert to authenticated
  with check (bucket_id = 'inputs' and private.may_upload(name));
