-- How long things are kept.
--
-- 1. Events and dead letters lie in a partition for each month, made a year ahead; what fits none goes to a default
--    partition, so that nothing ever fails for want of one.
-- 2. They go by the month, never row by row.
-- 3. Partitions lie in `private`: only the whole table is anybody's to read.
-- 4. Files in the bucket go by Storage's own API: a file whose row is deleted by SQL stays for ever. Which ones, is said here.
-- 5. `private.retain()` does all else that is due. It runs every hour where pg_cron is; elsewhere the operator calls it.

-- The operator's to change.
create table private.retention (
  what text primary key check (what in ('events', 'dead_letters', 'inbox', 'awaited_uploads', 'uploads')),
  kept interval not null check (kept > interval '0'),
  why text not null
);
insert into private.retention (what, kept, why) values
  ('events', '13 months', 'a year of audit, to the month'),
  ('dead_letters', '13 months', 'as long as the events that tell of their requests'),
  ('inbox', '7 days', 'what the bridge did, for those who look into it'),
  ('awaited_uploads', '1 day', 'how long a declared file may take to come'),
  ('uploads', '1 day', 'an uploaded file, once its request is over or gone: for those who look into what it was');
alter table private.retention enable row level security;
revoke all on private.retention from public, anon, authenticated, service_role;

create function private.guard_partition(kept text, part text) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  execute format('alter table private.%I enable row level security', part);
  execute format('revoke all on private.%I from public, anon, authenticated, service_role', part);
  if kept = 'events' then
    execute format('create trigger b_untruncated before truncate on private.%I for each statement execute function private.refuse_change()', part);
  end if;
end $$;

-- Makes the partitions of the month before, of this one and of the coming ones, as far as they are missing.
create function private.create_partitions(months integer default 12) returns void
language plpgsql volatile security definer set search_path = '' set timezone = 'UTC' set lock_timeout = '5s' as $$
declare
  kept text;
  month timestamptz;
  part text;
begin
  foreach kept in array array['events', 'dead_letters'] loop
    for month in
      select m from generate_series(date_trunc('month', now()) - interval '1 month',
        date_trunc('month', now()) + make_interval(months => months), interval '1 month') m
    loop
      part := kept || '_' || to_char(month, 'YYYY_MM');
      continue when to_regclass(format('private.%I', part)) is not null;
      begin
        execute format('create table private.%I partition of public.%I for values from (%L) to (%L)',
          part, kept, month, month + interval '1 month');
        perform private.guard_partition(kept, part);
      exception when check_violation then
        -- Rows of that month lie in the default partition: there they stay, and the month's others with them.
        raise notice 'no partition %: rows of its month lie in the default one', part;
      end;
    end loop;
  end loop;
end $$;

-- Drops the partitions whose newest row could be too old by now, and the default ones where theirs is.
create function private.drop_partitions() returns void
language plpgsql volatile security definer set search_path = '' set timezone = 'UTC' set lock_timeout = '5s' as $$
declare
  rule record;
  part text;
  newest timestamptz;
begin
  for rule in select r.what, now() - r.kept as until from private.retention r where r.what in ('events', 'dead_letters') loop
    for part in
      select c.relname from pg_catalog.pg_inherits i
      join pg_catalog.pg_class c on c.oid = i.inhrelid
      where i.inhparent = format('public.%I', rule.what)::regclass and c.relname ~ '_[0-9]{4}_[0-9]{2}$'
        and to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= rule.until
    loop
      execute format('drop table private.%I', part);
    end loop;
    part := rule.what || '_default';
    execute format('select max(%I) from private.%I', case rule.what when 'events' then 'at' else 'submitted_at' end, part) into newest;
    if newest < rule.until then
      execute format('drop table private.%I', part);
      execute format('create table private.%I partition of public.%I default', part, rule.what);
      perform private.guard_partition(rule.what, part);
    end if;
  end loop;
end $$;

-- Cancels the requests whose file never came. A file that comes later is a leftover.
create function private.cancel_uploads() returns integer
language plpgsql volatile security definer set search_path = '' as $$
declare
  request text;
  cancelled integer := 0;
begin
  for request in
    select b.id from public.bulk_requests b
    where b.status = 'awaiting_upload'
      and b.created_at < now() - (select r.kept from private.retention r where r.what = 'awaited_uploads')
    order by b.id
  loop
    perform private.take_turn(request, 0);
    update public.bulk_requests b
      set status = 'cancelled', error = 'its file was not uploaded in time', finished_at = clock_timestamp()
      where b.id = request and b.status = 'awaiting_upload';
    if found then
      cancelled := cancelled + 1;
    end if;
  end loop;
  return cancelled;
end $$;

-- Uploads that nobody needs, in the order of their names, from behind `after` on; the bridge removes them.
-- A request that goes on keeps its file: it may not have been taken into the store yet. One of another length than was
-- declared can never be finalized, and goes at once: the place is free again for the right one.
-- Files under names that the front door never gave are none of ours.
-- Who asks for the next one alone does not pay for all: requests are looked up one by one, and names that a request has
-- are not looked at by their shape, which takes ten times as long.
create function private.leftover_uploads(after text, how_many integer) returns table (path text, why text)
language sql stable security definer set search_path = '' as $$
  select o.name, case
      when b.id is null then 'its request is gone'
      when b.status = 'awaiting_upload' then 'it is not as long as it was declared'
      else 'its request is over' end
  from storage.objects o
  left join lateral (select r.* from public.bulk_requests r where r.input_path = o.name limit 1) b on true
  where o.bucket_id = 'inputs' and o.name > leftover_uploads.after
    and case
      when b.id is null then o.created_at < now() - (select r.kept from private.retention r where r.what = 'uploads')
        and o.name ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/[A-Za-z0-9_.@-]{1,128}$'
      when b.status = 'awaiting_upload' then not private.is_uploaded(b.input_path, b.input_bytes)
      else b.finished_at < now() - (select r.kept from private.retention r where r.what = 'uploads') end
  order by o.name
  limit leftover_uploads.how_many
$$;

-- A command that is recorded in Temporal is done and stays, until it is known what came of it.
create function private.forget_done() returns integer
language plpgsql volatile security definer set search_path = '' as $$
declare
  forgotten integer;
begin
  delete from private.inbox i
    where i.done_at < now() - (select r.kept from private.retention r where r.what = 'inbox') and i.recorded_at is null;
  get diagnostics forgotten = row_count;
  return forgotten;
end $$;

create function private.retain() returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform private.cancel_uploads();
  perform private.forget_done();
  perform private.create_partitions();
  perform private.drop_partitions();
end $$;

create index inbox_done on private.inbox (done_at) where done_at is not null;
create index bulk_requests_awaiting on public.bulk_requests (created_at) where status = 'awaiting_upload';

create table private.events_default partition of public.events default;
create table private.dead_letters_default partition of public.dead_letters default;
select private.guard_partition('events', 'events_default'), private.guard_partition('dead_letters', 'dead_letters_default');
select private.create_partitions();

revoke execute on all functions in schema private from public, anon, authenticated, service_role;
grant execute on function private.my_organisations(), private.my_administered_organisations(), private.may(uuid, text, uuid),
  private.may_command(text, text), private.may_listen(text), private.may_upload(text) to authenticated;
grant execute on function private.leftover_uploads(text, integer) to headgate_bridge;

do $$
begin
  if exists (select from pg_catalog.pg_available_extensions where name = 'pg_cron') then
    create extension if not exists pg_cron with schema pg_catalog;
    perform cron.schedule('headgate: what is due', '17 * * * *', 'select private.retain()');
  end if;
exception when others then
  raise warning 'pg_cron cannot be used here (%): call private.retain() every hour by other means', sqlerrm;
end $$;
