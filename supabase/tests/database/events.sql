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

-- But its turns in the line; what keeps it from its turn is told, and that nothing does any more.
create function pg_temp.becomes(status text, cause text, told jsonb[], why text) returns text language plpgsql as $$
declare
  seen bigint := (select coalesce(max(id), 0) from public.events);
begin
  update public.bulk_requests b set status = becomes.status, waiting_cause = becomes.cause where id = 'running';
  return is(array(select data from public.events where id > seen and request_id = 'running' and kind = 'status' order by id), told, why);
end $$;
select pg_temp.becomes('waiting', 'quota', array['{"from": "paused", "to": "running"}'::jsonb], 'that it goes on is told, be it in the line');
select pg_temp.becomes('running', '', '{}', 'that it runs and waits in turns is not');
select pg_temp.becomes('waiting', cause, '{}', 'nor is waiting for ' || cause) from unnest(array['quota', 'used_by_others', 'spacing', 'behind', 'throttled', 'retries', '']) cause;
select pg_temp.becomes('waiting', 'project_paused', array['{"from": "running", "to": "waiting", "cause": "project_paused"}'::jsonb], 'a project that is stopped is told');
select pg_temp.becomes('waiting', 'project_paused', '{}', 'once');
select pg_temp.becomes('running', 'project_paused', '{}', 'also while its last calls end');
select pg_temp.becomes('waiting', 'circuit', array['{"from": "waiting", "to": "waiting", "cause": "circuit"}'::jsonb], 'another cause is told');
select pg_temp.becomes('waiting', 'quota', array['{"from": "waiting", "to": "running"}'::jsonb], 'in the line again, it is told as running');
select pg_temp.becomes('running', cause, array[told::jsonb], 'what is out of the line is told, and its end: ' || told) from (values
  ('quiet', '{"from": "running", "to": "waiting", "cause": "quiet"}'), ('', '{"from": "waiting", "to": "running"}'),
  ('no_worker', '{"from": "running", "to": "waiting", "cause": "no_worker"}'), ('behind', '{"from": "waiting", "to": "running"}')) cases (cause, told);
select pg_temp.becomes('paused', 'paused', array['{"from": "running", "to": "paused"}'::jsonb], 'the cause of a status that says it itself is not told');
select pg_temp.becomes('waiting', 'circuit', array['{"from": "paused", "to": "waiting", "cause": "circuit"}'::jsonb], 'what it comes back to is told');
select pg_temp.becomes('completed', '', array['{"from": "waiting", "to": "completed"}'::jsonb], 'so is its end');
select pg_temp.becomes('planning', 'planning', array['{"from": "completed", "to": "planning"}'::jsonb], 'planning is told by its name alone');
select pg_temp.becomes('waiting', 'behind', array['{"from": "planning", "to": "running"}'::jsonb], 'who is planned and in the line runs, by the last word as well');
select pg_temp.becomes('running', '', '{}', 'which stays the last one');

-- Whatever the time, there is room.
select lives_ok(format($$insert into public.events (at, organisation_id, kind) values (now() + interval %L, 'a0000000-0000-0000-0000-000000000001', 'test')$$, away), 'an event finds room: now + ' || away)
  from unnest(array['0', '11 months', '13 months', '50 years', '-2 months', '-50 years']) away;
select lives_ok(format($$insert into public.dead_letters values (now() + interval %L, 'running', 7, 'x', 'a0000000-0000-0000-0000-000000000001', 'test')$$, away), 'a dead letter finds room: now + ' || away)
  from unnest(array['0', '11 months', '13 months', '50 years', '-2 months', '-50 years']) away;

select * from finish();
rollback;
