-- Files: who made a request puts its file into the bucket `inputs`, once, while it is awaited. Nothing else.
begin;
\ir seed.psql
select no_plan();

select results_eq($$select public, file_size_limit from storage.buckets where id = 'inputs'$$, $$values (false, 1073741824::bigint)$$, 'the bucket is private, and takes 1 GiB at most');

create function pg_temp.put(path text, bucket text default 'inputs') returns text language sql as $$
  select format('insert into storage.objects (bucket_id, name, owner_id, metadata) values (%L, %L, auth.uid(), ''{"size": 5}'')', bucket, path)
$$;
insert into storage.buckets (id, name) values ('other', 'other');

select pg_temp.acts('member');
select throws_ok(pg_temp.put(path), '42501', 'new row violates row-level security policy for table "objects"', 'who made a request uploads its file: no, not to ' || quote_literal(path))
  from unnest(array['b0000000-0000-0000-0000-000000000001/foreign-waiting', 'a0000000-0000-0000-0000-000000000001/running', 'a0000000-0000-0000-0000-000000000001/submitted',
    'a0000000-0000-0000-0000-000000000001/there-is-none', 'a0000000-0000-0000-0000-000000000001/', 'a0000000-0000-0000-0000-000000000001', 'waiting', '/waiting', '',
    'a0000000-0000-0000-0000-000000000001/waiting/x', 'a0000000-0000-0000-0000-000000000001/../a0000000-0000-0000-0000-000000000001/waiting', 'A0000000-0000-0000-0000-000000000001/waiting',
    'a0000000-0000-0000-0000-000000000001/waiting ', 'a0000000-0000-0000-0000-000000000001/%', $$' or true --$$]) path;
select throws_ok(pg_temp.put('a0000000-0000-0000-0000-000000000001/waiting', 'other'), '42501', null, 'who made a request uploads its file: no, not to another bucket');
create function pg_temp.put_as(who text) returns text language plpgsql as $$
begin
  perform pg_temp.acts(who);
  return throws_ok(pg_temp.put('a0000000-0000-0000-0000-000000000001/waiting'), '42501', null, 'who made a request uploads its file: no, not ' || who || ', whose it is not');
end $$;
select pg_temp.put_as(who) from unnest(array['colleague', 'admin', 'viewer', 'stranger', 'nobody']) who;
select pg_temp.claim('anon', jsonb_build_object('sub', pg_temp.person('member')));
select throws_ok(pg_temp.put('a0000000-0000-0000-0000-000000000001/waiting'), '42501', null, 'who made a request uploads its file: no, not anon');

select pg_temp.owner();
update public.memberships set role = 'viewer' where user_id = pg_temp.person('member');
select pg_temp.acts('member');
select throws_ok(pg_temp.put('a0000000-0000-0000-0000-000000000001/waiting'), '42501', null, 'who made a request uploads its file: no, not as a mere viewer');
select pg_temp.owner();
update public.memberships set role = 'member' where user_id = pg_temp.person('member');

select pg_temp.acts('member');
select lives_ok(pg_temp.put('a0000000-0000-0000-0000-000000000001/waiting'), 'who made a request uploads its file: yes');
select throws_ok(pg_temp.put('a0000000-0000-0000-0000-000000000001/waiting'), '23505', null, 'once');
select throws_ok(pg_temp.put('a0000000-0000-0000-0000-000000000001/waiting') || ' on conflict (bucket_id, name) do update set metadata = ''{"size": 6}''', '42501', null, 'who made a request uploads its file: no, not over another');

create function pg_temp.meddle(who text) returns bigint language plpgsql as $$
declare
  seen bigint;
  changed bigint;
  gone bigint;
begin
  perform pg_temp.acts(who);
  select count(*) into seen from storage.objects;
  update storage.objects set metadata = '{"size": 6}';
  get diagnostics changed = row_count;
  begin
    delete from storage.objects;
    get diagnostics gone = row_count;
  exception when others then
    -- A hosted project lets nobody delete by SQL.
    gone := 0;
  end;
  perform pg_temp.owner();
  return seen + changed + gone;
end $$;
select is(pg_temp.meddle(who), 0::bigint, 'nothing is seen, changed or removed by ' || who) from unnest(array['member', 'admin', 'stranger']) who;

select pg_temp.acts('member');
insert into public.commands (request_id, kind) values ('waiting', 'finalize');
select pg_temp.owner();
update storage.objects set name = 'elsewhere' where name = 'a0000000-0000-0000-0000-000000000001/waiting';
select pg_temp.acts('member');
select throws_ok(pg_temp.put('a0000000-0000-0000-0000-000000000001/waiting'), '42501', null, 'who made a request uploads its file: no, not once it is finalized');
insert into public.bulk_requests (organisation_id, name, input_sha256, input_bytes) values ('a0000000-0000-0000-0000-000000000001', 'second', repeat('a', 64), 5);
insert into public.commands (request_id, kind) select id, 'cancel' from public.bulk_requests where name = 'second';
select throws_ok(pg_temp.put(input_path), '42501', null, 'who made a request uploads its file: no, not once it is cancelled') from public.bulk_requests where name = 'second';
select pg_temp.owner();

select * from finish();
rollback;
