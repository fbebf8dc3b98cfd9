-- What goes when its time is over, and what is made before it is needed.
begin;
\ir seed.psql
select no_plan();

create temporary view parts as
  select i.inhparent::regclass::text as kept, c.relname::text as name, c.relrowsecurity as guarded, pg_get_expr(c.relpartbound, c.oid) as bound
  from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent in ('public.events'::regclass, 'public.dead_letters'::regclass);

select is((select count(*) from parts where kept like '%' || t), 15::bigint, t || ' has a partition for 14 months, and a default one') from unnest(array['events', 'dead_letters']) t;
select ok(bool_and(guarded), 'row-level security is on in every one') from parts;
select is(tableoid::regclass::text, 'private.events_' || to_char(now() at time zone 'UTC', 'YYYY_MM'), 'an event lies in its month') from public.events limit 1;
select is(tableoid::regclass::text, 'private.dead_letters_' || to_char(now() at time zone 'UTC', 'YYYY_MM'), 'a dead letter lies in its month') from public.dead_letters limit 1;

-- Coming ones
select lives_ok('select private.create_partitions()', 'made twice is made once');
select is((select count(*) from parts), 30::bigint, 'none is there twice');
select private.create_partitions(14);
select is((select count(*) from parts), 34::bigint, 'two months more are two partitions more of each');
insert into public.events (at, organisation_id, kind) values (date_trunc('month', now()) + interval '16 months', 'a0000000-0000-0000-0000-000000000001', 'early');
select lives_ok('select private.create_partitions(17)', 'a month whose rows lie in the default partition does not stop the others');
select is((select count(*) from parts where kept like '%events'), 19::bigint, 'it goes without one of its own');
select is((select count(*) from parts where kept like '%dead_letters'), 20::bigint, 'which is none of dead letters'' business');
select is((select count(*) from public.events where kind = 'early'), 1::bigint, 'and the row is still there');
select set_eq($$select tgname::text from pg_trigger where tgrelid = ('private.events_' || to_char(now() at time zone 'UTC' + interval '14 months', 'YYYY_MM'))::regclass and not tgisinternal$$,
  array['a_unchanged', 'b_untruncated'], 'a new partition of events is append-only as well');

-- Old ones
create temporary table old as select date_trunc('month', now()) - interval '15 months' as month;
select lives_ok(format('create table private.events_%s partition of public.events for values from (%L) to (%L)', to_char(month, 'YYYY_MM'), month, month + interval '1 month'), 'an old partition') from old;
select lives_ok(format('create table private.dead_letters_%s partition of public.dead_letters for values from (%L) to (%L)', to_char(month, 'YYYY_MM'), month, month + interval '1 month'), 'and one of dead letters') from old;
insert into public.events (at, organisation_id, kind) select month + interval '1 day', 'a0000000-0000-0000-0000-000000000001', 'old' from old;
insert into public.dead_letters select month + interval '1 day', 'old', 1, 'x', 'a0000000-0000-0000-0000-000000000001', 'old' from old;
insert into public.dead_letters select month - interval '20 months', 'old', 2, 'x', 'a0000000-0000-0000-0000-000000000001', 'older than any partition' from old;
select lives_ok('select private.drop_partitions()', 'old partitions are dropped');
select is_empty($$select * from public.events where kind = 'old'$$, 'with the events of that month');
select is_empty($$select * from public.dead_letters where reason = 'old'$$, 'and the dead letters');
select is_empty($$select * from public.dead_letters where reason like 'older%'$$, 'a default partition goes when all in it is old');
select isnt_empty($$select * from public.events where kind = 'early'$$, 'and stays where something is not');
select isnt_empty($$select * from public.events where request_id = 'running'$$, 'what is not old stays');
select isnt_empty($$select * from public.dead_letters where request_id = 'running'$$, 'dead letters too');
select is((select count(*) from parts where bound = 'DEFAULT'), 2::bigint, 'there is still a default partition of each');
select ok(bool_and(guarded), 'row-level security is on in every one') from parts;
update private.retention set kept = '100 years' where what = 'events';
select throws_ok($$update private.retention set kept = '-1 day' where what = 'events'$$, '23514', null, 'nothing is kept for less than no time');

-- Uploads that never came
update public.bulk_requests set created_at = now() - interval '2 days' where id in ('waiting', 'submitted', 'running');
select is(private.cancel_uploads(), 1, 'one upload never came');
select results_eq($$select status, error, finished_at is not null from public.bulk_requests where id = 'waiting'$$, $$values ('cancelled'::text, 'its file was not uploaded in time'::text, true)$$, 'its request is cancelled and says why');
select is((select count(*) from public.bulk_requests where status = 'cancelled'), 1::bigint, 'no other one is, be it old or awaited');
select results_eq($$select data from public.events where request_id = 'waiting' and kind = 'status'$$, $$values ('{"from": "awaiting_upload", "to": "cancelled"}'::jsonb)$$, 'an event tells of it');
select is(private.cancel_uploads(), 0, 'and no other the next time');

-- Files that nobody needs
select is_empty($$select * from private.leftover_uploads('', 100)$$, 'no file, no leftover');
insert into public.bulk_requests (id, organisation_id, created_by, input_sha256, input_bytes)
  select id, 'a0000000-0000-0000-0000-000000000001', pg_temp.person('member'), repeat('a', 64), 5
  from unnest(array['longer', 'right', 'unmeasured', 'planned', 'over', 'just-over', 'ending', 'failed', 'cancelled']) id;
insert into storage.objects (bucket_id, name, metadata) select 'inputs', input_path, case id when 'longer' then '{"size": 6}' when 'unmeasured' then null else '{"size": 5}' end::jsonb
  from public.bulk_requests where input_path like 'a0000000-0000-0000-0000-000000000001/%';
insert into storage.objects (bucket_id, name, created_at) values
  ('inputs', 'a0000000-0000-0000-0000-000000000001/gone', now() - interval '2 days'), ('inputs', 'a0000000-0000-0000-0000-000000000001/just-gone', now() - interval '23 hours'),
  ('inputs', 'd0000000-0000-0000-0000-000000000001/founded-and-ended', now() - interval '2 days'),
  ('inputs', '.emptyFolderPlaceholder', now() - interval '2 days'), ('inputs', '/a0000000-0000-0000-0000-000000000001/right', now() - interval '2 days'),
  ('inputs', 'a0000000-0000-0000-0000-000000000001/right/below', now() - interval '2 days'), (null, 'a0000000-0000-0000-0000-000000000001/elsewhere', now() - interval '2 days');
update public.bulk_requests set status = 'planning', created_at = now() - interval '9 days' where id = 'planned';
update public.bulk_requests set status = 'completed', finished_at = now() - interval '25 hours' where id = 'over';
update public.bulk_requests set status = 'completed', finished_at = now() - interval '23 hours' where id = 'just-over';
update public.bulk_requests set status = 'cancelled' where id = 'ending';
update public.bulk_requests set status = id, finished_at = now() - interval '25 hours' where id in ('failed', 'cancelled');
update public.bulk_requests set finished_at = now() - interval '25 hours' where id = 'waiting';
create temporary table leftovers as select split_part(path, '/', 2) as name, why from private.leftover_uploads('', 100);
select results_eq('select name, why from leftovers order by name', $$values ('cancelled'::text, 'its request is over'::text), ('failed', 'its request is over'),
  ('founded-and-ended', 'its request is gone'), ('gone', 'its request is gone'), ('longer', 'it is not as long as it was declared'), ('over', 'its request is over'), ('waiting', 'its request is over')$$,
  'files of what is over, gone or declared otherwise are left over, and no others');
select results_eq($$select split_part(path, '/', 2) from private.leftover_uploads('', 2)$$, array['cancelled', 'failed'], 'as many as are asked for');
select results_eq($$select split_part(path, '/', 2) from private.leftover_uploads('a0000000-0000-0000-0000-000000000001/failed', 2)$$, array['gone', 'longer'], 'and where those end the next ones begin');
update private.retention set kept = '1 hour' where what = 'uploads';
select set_eq($$select split_part(path, '/', 2) from private.leftover_uploads('', 100)$$,
  array['cancelled', 'failed', 'founded-and-ended', 'gone', 'just-gone', 'just-over', 'longer', 'over', 'waiting'], 'how long they are kept is the operator''s to say');
select set_config('role', 'headgate_bridge', true);
select isnt_empty($$select * from private.leftover_uploads('', 1)$$, 'the bridge is told which they are');
select throws_ok('select * from storage.objects', '42501', null, 'and sees nothing else of Storage');
select pg_temp.owner();

-- What the bridge has done
update private.inbox set done_at = now() - interval '8 days' where request_id = 'running';
update private.inbox set done_at = now() - interval '1 day' where request_id = 'submitted';
select is(private.forget_done(), 2, 'what was done a week ago is forgotten');
select set_eq('select request_id from private.inbox', array['submitted', 'foreign'], 'what is newer or not done is not');
update private.inbox set done_at = now() - interval '8 days', recorded_at = now() - interval '8 days' where request_id = 'submitted';
select is(private.forget_done(), 0, 'a recorded command is not, however old, while nobody knows what came of it');
update private.inbox set recorded_at = null where request_id = 'submitted';
select is(private.forget_done(), 1, 'once that is known it is');

select lives_ok('select private.retain()', 'all that is due, at once');

select * from finish();
rollback;
