-- Events: append-only for everybody, the owner included; never without a partition.
begin;
\ir seed.psql
select no_plan();

create function pg_temp.tries(who text) returns setof text language plpgsql as $$
declare
  change text;
begin
  foreach change in array array[
    $sql$update public.events set kind = 'forged'$sql$,
    $sql$update public.events set data = '{}' where request_id = 'running'$sql$,
    $sql$delete from public.events$sql$,
    $sql$truncate public.events$sql$,
    $sql$truncate public.events, public.dead_letters cascade$sql$]
  loop
    return next throws_ok(change, '42501', null, who || ': ' || change || ' is refused');
  end loop;
end $$;

select pg_temp.tries('the owner');
select throws_ok($$delete from public.events where request_id = 'running'$$, '42501', 'events are never changed', 'and says why');
create temporary table parts as select distinct tableoid::regclass::text as name from public.events;
select throws_ok(format(change, name), '42501', 'events are never changed', 'the owner: ' || format(change, 'a partition') || ' is refused') from parts,
  unnest(array['truncate %s', 'delete from %s', 'update %s set kind = ''forged''']) change;
select is(count(*), count(*) filter (where t.tgname is not null), 'every partition refuses to be truncated')
  from pg_inherits i left join pg_trigger t on t.tgrelid = i.inhrelid and t.tgname = 'b_untruncated' and t.tgenabled = 'O'
  where i.inhparent = 'public.events'::regclass;
select pg_temp.claim('service_role', '{}'); select pg_temp.tries('service_role');
select throws_ok($$insert into public.events (organisation_id, kind) values ('a0000000-0000-0000-0000-000000000001', 'forged')$$, '42501', null, 'service_role adds none of its own');
select pg_temp.acts('admin'); select pg_temp.tries('an admin');
select throws_ok($$insert into public.events (organisation_id, kind) values ('a0000000-0000-0000-0000-000000000001', 'forged')$$, '42501', null, 'an admin adds none of their own');
select set_config('role', 'headgate_bridge', true); select pg_temp.tries('headgate_bridge');
select set_config('role', 'headgate_projector', true); select pg_temp.tries('headgate_projector');
select pg_temp.owner();
select isnt_empty($$select * from public.events where request_id = 'running'$$, 'all events are still there');

-- Every change of a status is one, by whoever made it.
update public.bulk_requests set status = 'paused' where id = 'running';
update public.bulk_requests set operations_succeeded = 5 where id = 'running';
select results_eq($$select data from public.events where request_id = 'running' and kind = 'status' order by id$$,
  $$values ('{"from": "submitted", "to": "running"}'::jsonb), ('{"from": "running", "to": "paused"}')$$, 'a status is told once, a count is not');

-- But its turns in the line.
create temporary table before as select count(*) as told from public.events where kind = 'status';
update public.bulk_requests set status = 'waiting' where id = 'running';
update public.bulk_requests set status = 'running' where id = 'running';
update public.bulk_requests set status = 'waiting' where id = 'running';
select is(count(*) - (select told from before), 1::bigint, 'that it goes on is told, that it runs and waits in turns is not') from public.events where kind = 'status';
update public.bulk_requests set status = 'paused' where id = 'running';
update public.bulk_requests set status = 'running' where id = 'running';
update public.bulk_requests set status = 'completed' where id = 'running';
update public.bulk_requests set status = 'waiting' where id = 'running';
select results_eq($$select data ->> 'from', data ->> 'to' from public.events where request_id = 'running' and kind = 'status' order by id offset 2$$,
  $$values ('paused'::text, 'waiting'::text), ('waiting', 'paused'), ('paused', 'running'), ('running', 'completed'), ('completed', 'waiting')$$,
  'every other change is told, with the status that it was and is');

-- Whatever the time, there is room.
select lives_ok(format($$insert into public.events (at, organisation_id, kind) values (now() + interval %L, 'a0000000-0000-0000-0000-000000000001', 'test')$$, away), 'an event finds room: now + ' || away)
  from unnest(array['0', '11 months', '13 months', '50 years', '-2 months', '-50 years']) away;
select lives_ok(format($$insert into public.dead_letters values (now() + interval %L, 'running', 7, 'x', 'a0000000-0000-0000-0000-000000000001', 'test')$$, away), 'a dead letter finds room: now + ' || away)
  from unnest(array['0', '11 months', '13 months', '50 years', '-2 months', '-50 years']) away;

select * from finish();
rollback;
