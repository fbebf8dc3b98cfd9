-- What is broadcast, and who may listen.
begin;
\ir seed.psql
select no_plan();

-- What is said ----------------------------------------------------------------------------------------------------

create temporary table heard as select id from realtime.messages;
create temporary view said as select topic, event, payload, private, extension from realtime.messages m where not exists (select from heard h where h.id = m.id);
create function pg_temp.listen() returns void language sql as $$
  insert into heard select id from realtime.messages m where not exists (select from heard h where h.id = m.id)
$$;

insert into public.bulk_requests (id, organisation_id, created_by, name, operations)
  values ('new', 'a0000000-0000-0000-0000-000000000001', pg_temp.person('member'), 'fresh', 'x');
select results_eq('select topic, event, payload, private, extension from said', $$values ('org:a0000000-0000-0000-0000-000000000001'::text, 'request'::text,
  '{"id": "new", "name": "fresh", "status": "submitted", "priority": "normal", "revision": 1, "version": 0}'::jsonb, true, 'broadcast'::text)$$, 'the organisation hears of a new request, in private');
select pg_temp.listen();

update public.bulk_requests set version = 4, operations_total = 10, operations_succeeded = 3, rate_per_minute = 60.5, waiting_reason = 'quota' where id = 'new';
select results_eq('select topic, event from said', $$values ('request:new'::text, 'progress'::text)$$, 'counts are told to those who watch the request alone');
select is(payload - 'created_at' - 'updated_at', jsonb_build_object(
  'id', 'new', 'organisation', 'a0000000-0000-0000-0000-000000000001', 'status', 'submitted', 'priority', 'normal', 'order', 'lane', 'version', 4, 'revision', 2,
  'operations', '{"total": 10, "succeeded": 3, "failed": 0, "unprocessed": 0}'::jsonb, 'calls', '{"planned": 0, "made": 0, "retried": 0}'::jsonb,
  'rate_per_minute', 60.5, 'eta_at', null, 'waiting', '{"reason": "quota", "cause": "", "until": null}'::jsonb, 'results_location', null, 'error', null, 'finished_at', null),
  'with all that a bar shows, and no names') from said;
select pg_temp.listen();

update public.bulk_requests set status = 'running' where id = 'new';
update public.bulk_requests set priority = 'urgent' where id = 'new';
select results_eq($$select topic, event, payload ->> 'revision', payload ->> 'status', payload ->> 'priority' from said order by payload ->> 'revision', event$$, $$values
  ('request:new'::text, 'progress'::text, '3'::text, 'running'::text, 'normal'::text), ('org:a0000000-0000-0000-0000-000000000001', 'request', '3', 'running', 'normal'),
  ('request:new', 'progress', '4', 'running', 'urgent'), ('org:a0000000-0000-0000-0000-000000000001', 'request', '4', 'running', 'urgent')$$,
  'status and priority are told to both; each revision once');
select pg_temp.listen();

update public.bulk_requests set status = 'waiting' where id = 'new';
update public.bulk_requests set status = 'running' where id = 'new';
select results_eq($$select topic, payload ->> 'status' from said order by payload ->> 'revision', event$$, $$values
  ('request:new'::text, 'waiting'::text), ('org:a0000000-0000-0000-0000-000000000001', 'waiting'), ('request:new', 'running'), ('org:a0000000-0000-0000-0000-000000000001', 'running')$$,
  'a turn in the line is told, although it is no event');
select pg_temp.listen();

insert into public.commands (id, request_id, kind, argument, created_by) values ('e0000000-0000-0000-0000-000000000001', 'new', 'reprioritise', 'low', pg_temp.person('member'));
select private.command_answered('e0000000-0000-0000-0000-000000000001', 'accepted', 'low from now on');
select set_eq('select topic, event, payload from said', $$values
  ('request:new'::text, 'command'::text, '{"id": "e0000000-0000-0000-0000-000000000001", "command": "reprioritise", "to": "low", "sequence": 1, "status": "pending", "answer": null}'::jsonb),
  ('request:new', 'command', '{"id": "e0000000-0000-0000-0000-000000000001", "command": "reprioritise", "to": "low", "sequence": 1, "status": "accepted", "answer": "low from now on"}')$$,
  'a command is told, and its answer');

-- A message that cannot be sent keeps nothing back.
-- Tried where we may break Realtime's own table, which is no hosted project.
select pg_has_role(current_user, 'supabase_realtime_admin', 'member') as breakable \gset
\if :breakable
savepoint broken;
alter table realtime.messages rename to elsewhere;
select lives_ok($$update public.bulk_requests set status = 'paused' where id = 'new'$$, 'what cannot be told is kept all the same');
rollback to broken;
\endif

-- Who may listen --------------------------------------------------------------------------------------------------

-- As Realtime asks at a join: a message on the topic, seen by the one who joins or not.
insert into realtime.messages (topic, extension, event, payload, private) select t, e, 'probe', '{}', true
  from unnest(array['request:running', 'request:foreign', 'request:there-is-none', 'org:a0000000-0000-0000-0000-000000000001', 'org:b0000000-0000-0000-0000-000000000001']) t,
    unnest(array['broadcast', 'presence']) e;
create function pg_temp.hears(topic text, extension text default 'broadcast') returns boolean language plpgsql as $$
begin
  perform set_config('realtime.topic', topic, true);
  return exists (select from realtime.messages m where m.event = 'probe' and m.extension = hears.extension);
end $$;
create temporary table topics as select * from (values
  ('request:running', true), ('org:a0000000-0000-0000-0000-000000000001', true),
  ('request:foreign', false), ('org:b0000000-0000-0000-0000-000000000001', false), ('request:there-is-none', false),
  -- Guessed, malformed and mangled ones: refused without an error.
  ('request:', false), ('org:', false), ('request', false), ('org', false), (':', false), ('', false), (null, false),
  ('org:not-a-uuid', false), ('org:00000000-0000-0000-0000-000000000000', false), ('ORG:a0000000-0000-0000-0000-000000000001', false),
  ('org:a0000000-0000-0000-0000-000000000001 ', false), (' org:a0000000-0000-0000-0000-000000000001', false), ('org:a0000000-0000-0000-0000-000000000001:x', false),
  ('org:A0000000-0000-0000-0000-000000000001', false), ('org:a0000000000000000000000000000001', false),
  ('request:running/', false), ('request:running%', false), ('request:%', false), ('request:*', false), ('request:request:running', false), ('running', false),
  ('request:'' or true --', false), ('org:'' or true --', false), ('request:running'' union select 1 --', false),
  ('realtime:request:running', false), ('request::running', false), (repeat('x', 100000), false), (E'request:running\n', false)) t (topic, member);
grant select on topics to public;

select pg_temp.acts('viewer');
select is(pg_temp.hears(topic), member, 'members hear of their organisations and requests: ' || case when member then 'yes' else 'no' end || ', a viewer and ' || coalesce(quote_literal(left(topic, 60)), 'no topic'))
  from topics;
select pg_temp.acts('member');
select is(pg_temp.hears(topic), member, 'members hear of their organisations and requests: ' || case when member then 'yes' else 'no' end || ', a member and ' || coalesce(quote_literal(left(topic, 60)), 'no topic'))
  from topics;
select pg_temp.acts('nobody');
select is(pg_temp.hears(topic), false, 'members hear of their organisations and requests: no, nobody and ' || coalesce(quote_literal(left(topic, 60)), 'no topic'))
  from topics;
select pg_temp.acts('stranger');
select is(pg_temp.hears('request:running'), false, 'members hear of their organisations and requests: no, a stranger not of ours');
select is(pg_temp.hears('request:foreign'), true, 'members hear of their organisations and requests: yes, a stranger of theirs');
select pg_temp.acts('member');
select is(pg_temp.hears('request:running', 'presence'), false, 'members hear of their organisations and requests: no, not who else is there');
select pg_temp.claim('anon', jsonb_build_object('sub', pg_temp.person('member')));
select is(pg_temp.hears('request:running'), false, 'members hear of their organisations and requests: no, anon hears nothing');
select pg_temp.claim('authenticated', '{"app_metadata": {"organisations": ["a0000000-0000-0000-0000-000000000001"]}}');
select is(pg_temp.hears('request:running'), false, 'members hear of their organisations and requests: no, not by forged claims');

-- Nobody sends.
select pg_temp.acts('admin');
select throws_ok($$insert into realtime.messages (topic, extension, event, payload, private) values ('request:running', 'broadcast', 'progress', '{"status": "completed"}', true)$$,
  '42501', null, 'a client sends nothing on a topic that it may hear');
select pg_temp.hears('request:running');
with changed as (update realtime.messages set payload = '{"status": "completed"}' returning 1) select is(count(*), 0::bigint, 'nor changes what was said') from changed;
select pg_temp.owner();

select * from finish();
rollback;
