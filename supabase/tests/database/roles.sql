-- What the roles may touch: the whole list of grants, and what our two services do with theirs.
begin;
\ir seed.psql
select no_plan();

-- Every grant there is, to the word: a new one must be written here too --------------------------------------------

create temporary view granted as
  select case a.grantee when 0 then 'public' else a.grantee::regrole::text end || ' ' || lower(a.privilege_type) || ' ' || n.nspname || '.' || c.relname as grant
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  cross join aclexplode(c.relacl) a
  where n.nspname in ('public', 'private') and a.grantee <> c.relowner and c.relname not like 'pg\_%'
  union all
  select case a.grantee when 0 then 'public' else a.grantee::regrole::text end || ' ' || lower(a.privilege_type) || ' ' || n.nspname || '.' || c.relname
    || ' (' || string_agg(t.attname, ', ' order by t.attname) || ')'
  from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace
  cross join aclexplode(t.attacl) a
  where n.nspname in ('public', 'private') group by a.grantee, a.privilege_type, n.nspname, c.relname;

select set_eq('select "grant" from granted', array[
  'authenticated select public.organisations', 'authenticated select public.memberships', 'authenticated select public.bulk_requests',
  'authenticated select public.commands', 'authenticated select public.events', 'authenticated select public.dead_letters',
  'authenticated insert public.memberships (organisation_id, role, user_id)', 'authenticated update public.memberships (role)', 'authenticated delete public.memberships',
  'authenticated insert public.bulk_requests (content_sha256, grow, idempotency_key, input_bytes, input_sha256, name, operations, ordering, organisation_id, priority, stop_after)',
  'authenticated insert public.commands (argument, id, kind, request_id)',
  'service_role select public.organisations', 'service_role select public.memberships', 'service_role select public.bulk_requests',
  'service_role select public.commands', 'service_role select public.events', 'service_role select public.dead_letters',
  'service_role insert public.organisations (id, name)', 'service_role update public.organisations (name)', 'service_role delete public.organisations',
  'service_role insert public.memberships (organisation_id, role, user_id)', 'service_role update public.memberships (role)', 'service_role delete public.memberships',
  'service_role insert public.bulk_requests (content_sha256, grow, idempotency_key, input_bytes, input_sha256, name, operations, ordering, organisation_id, priority, stop_after)',
  'service_role insert public.commands (argument, id, kind, request_id)',
  'headgate_bridge select private.inbox', 'headgate_bridge select private.accounts', 'headgate_bridge select private.inputs', 'headgate_bridge select public.bulk_requests',
  'headgate_bridge update private.inbox (attempts, done_at, last_error, not_before, recorded_at)',
  'headgate_projector select public.bulk_requests', 'headgate_projector select public.dead_letters', 'headgate_projector insert public.dead_letters',
  'headgate_projector insert public.bulk_requests (calls_made, calls_planned, calls_retried, created_at, created_by, error, eta_at, failures, finished_at, grow, id, name, operations_failed, operations_succeeded, operations_total, operations_unprocessed, ordering, organisation_id, priority, rate_per_minute, results_location, status, stop_after, version, waiting_cause, waiting_reason, waiting_until)',
  'headgate_projector update public.bulk_requests (calls_made, calls_planned, calls_retried, error, eta_at, failures, finished_at, operations_failed, operations_succeeded, operations_total, operations_unprocessed, priority, rate_per_minute, results_location, status, version, waiting_cause, waiting_reason, waiting_until)'
  ], 'these are all grants on tables and sequences');

select set_eq($$select a.grantee::regrole || ' ' || p.proname from pg_proc p
    cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where p.pronamespace = 'private'::regnamespace and a.grantee <> p.proowner$$, array[
  'authenticated my_organisations', 'authenticated my_administered_organisations', 'authenticated may', 'authenticated may_command',
  'authenticated may_listen', 'authenticated may_upload',
  'headgate_bridge request_started', 'headgate_bridge request_rejected', 'headgate_bridge request_ended', 'headgate_bridge command_answered', 'headgate_bridge leftover_uploads'], 'these are all grants on functions: nothing is everybody''s');
select set_eq($$select a.grantee::regrole || ' ' || lower(a.privilege_type) from pg_namespace n cross join aclexplode(n.nspacl) a
    where n.nspname = 'private' and a.grantee <> n.nspowner$$, array['headgate_bridge usage'], 'private is nobody''s but the bridge''s');
select is_empty($$select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'private') and c.relkind in ('r', 'p') and not c.relrowsecurity$$, 'row-level security is on everywhere');
select is_empty($$select proname from pg_proc where pronamespace in ('private'::regnamespace, 'public'::regnamespace)
    and not proconfig @> array['search_path=""'] and proname not like 'pg\_%'
    and not exists (select from pg_depend d where d.objid = pg_proc.oid and d.deptype = 'e')$$, 'no function of ours has a search path');
select is_empty($$select polname from pg_policy where polroles = '{0}' and polrelid::regclass::text !~ '^(auth|storage|realtime)\.'$$, 'every policy names its roles');
select is((select bool_or(rolbypassrls or rolsuper or rolcreaterole or rolcreatedb or rolreplication) from pg_roles where rolname like 'headgate\_%'), false, 'our services have no powers');
select is_empty($$select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.member where r.rolname like 'headgate\_%'$$, 'and belong to no other role');

-- private is out of reach: its tables and its functions --------------------------------------------------------------

create temporary table hidden as
  select c.relname::text as name from pg_class c where c.relnamespace = 'private'::regnamespace and c.relkind in ('r', 'p');
create temporary table callable as
  select format('select private.%I(%s)', p.proname, (select string_agg(format('null::%s', format_type(t, null)), ', ' order by o) from unnest(p.proargtypes) with ordinality x (t, o))) as call
  from pg_proc p where p.pronamespace = 'private'::regnamespace;
grant select on hidden, callable to public;
select isnt_empty('select * from hidden', 'there is something to hide');

create function pg_temp.peeks(who text) returns setof text language sql as $$
  select throws_ok(format(verb, name), '42501', 'permission denied for schema private', who || ': ' || format(verb, name))
    from hidden, unnest(array['select * from private.%I', 'delete from private.%I', 'insert into private.%I default values', 'truncate private.%I']) verb
    where name !~ '[0-9]{4}' or verb like 'select%'
  union all
  select throws_ok(call, '42501', 'permission denied for schema private', who || ': ' || call) from callable
$$;
select pg_temp.acts('admin'); select pg_temp.peeks('an admin');
select pg_temp.claim('anon', '{}'); select pg_temp.peeks('anon');
select pg_temp.claim('service_role', '{}'); select pg_temp.peeks('service_role');
select set_config('role', 'headgate_projector', true); select pg_temp.peeks('headgate_projector');
select pg_temp.acts('member');
select throws_ok('select nextval(''private.event_ids'')', '42501', null, 'a member draws no number of an event');
select throws_ok('select private.may(''a0000000-0000-0000-0000-000000000001'', ''submit'')', '42501', null, 'a member cannot ask the policies'' questions');
select pg_temp.owner();

-- The bridge ------------------------------------------------------------------------------------------------------

select set_config('role', 'headgate_bridge', true);
select ok(count(*) >= 5, 'the bridge reads its inbox: yes, of all organisations') from private.inbox;
select ok(count(*) >= 2, 'the bridge reads accounts: yes, of all organisations') from private.accounts;
select ok(count(*) >= 3, 'the bridge reads inputs: yes, of all organisations') from private.inputs;
select ok(count(*) >= 5, 'the bridge reads requests: yes, of all organisations') from public.bulk_requests;
select lives_ok($$update private.inbox set attempts = attempts + 1, last_error = 'x', not_before = now() where request_id = 'running'$$, 'the bridge keeps its inbox: yes, it counts attempts');
select is((select max(attempts) from private.inbox where request_id = 'running'), 1, 'the bridge keeps its inbox: yes, and finds them again');
select throws_ok(format('update private.inbox set %I = %I', c, c), '42501', 'permission denied for table inbox', 'the bridge keeps its inbox: no, not ' || c)
  from unnest(array['request_id', 'sequence', 'kind', 'command_id', 'data', 'created_at']) c;
select throws_ok(what, '42501', null, policy || ': no, ' || what) from (values
  ('the bridge reads its inbox', 'delete from private.inbox'),
  ('the bridge reads its inbox', $$insert into private.inbox (request_id, sequence, kind) values ('running', 99, 'start')$$),
  ('the bridge reads accounts', 'update private.accounts set project = ''x'''),
  ('the bridge reads accounts', 'insert into private.accounts default values'),
  ('the bridge reads inputs', 'delete from private.inputs'),
  ('the bridge reads requests', 'update public.bulk_requests set status = ''failed'''),
  ('the bridge reads requests', $$insert into public.bulk_requests (organisation_id) values ('a0000000-0000-0000-0000-000000000001')$$),
  ('the bridge reads requests', 'select * from public.commands'),
  ('the bridge reads requests', 'select * from public.events'),
  ('the bridge reads requests', 'select * from public.memberships'),
  ('the bridge reads requests', 'select * from public.dead_letters'),
  ('the bridge reads requests', 'select * from auth.users'),
  ('the bridge reads requests', 'select * from private.rights'),
  ('the bridge reads requests', 'select private.record(null, null, null, null)')) refused (policy, what);
select pg_temp.owner();

-- What it says back
select set_config('role', 'headgate_bridge', true);
select lives_ok($$select private.request_started('submitted')$$, 'the bridge says that a request has started');
select lives_ok($$select private.request_started('submitted')$$, 'twice');
select lives_ok($$select private.request_started('running')$$, 'and of one that runs already');
select lives_ok($$select private.request_started('there-is-none')$$, 'and of one that is gone');
select pg_temp.owner();
select results_eq($$select id, status, revision from public.bulk_requests where id in ('submitted', 'running') order by id$$,
  $$values ('running'::text, 'running'::text, 2::bigint), ('submitted', 'planning', 2)$$, 'then it plans, and one that ran already goes on running');
select is_empty($$select * from private.inputs where request_id in ('submitted', 'running')$$, 'and its input is the store''s');
select is((select count(*) from public.events where request_id = 'submitted' and kind = 'status'), 1::bigint, 'which is told once');

select set_config('role', 'headgate_bridge', true);
select lives_ok($$select private.request_rejected('foreign', 'the file is no JSON')$$, 'the bridge says that a request can never start');
select lives_ok($$select private.request_rejected('foreign', 'again')$$, 'twice');
select lives_ok($$select private.request_rejected('running', 'too late')$$, 'and of one that runs, which is not true');
select lives_ok($$select private.request_rejected('there-is-none', 'gone')$$, 'and of one that is gone');
select pg_temp.owner();
select results_eq($$select status, error, finished_at is not null from public.bulk_requests where id = 'foreign'$$, $$values ('failed'::text, 'the file is no JSON'::text, true)$$, 'then it has failed, and says why');
select is(status, 'running', 'one that runs goes on running') from public.bulk_requests where id = 'running';
select is_empty($$select * from private.inbox where request_id = 'foreign' and done_at is null$$, 'nothing of it is left to do');
select results_eq($$select status, answer from public.commands where request_id = 'foreign'$$, $$values ('failed'::text, 'the file is no JSON'::text)$$, 'what was said to it has failed too');
select results_eq($$select kind, data from public.events where request_id = 'foreign' and kind = 'rejected'$$, $$values ('rejected'::text, '{"why": "the file is no JSON"}'::jsonb)$$, 'which is told once');
select is_empty($$select * from private.inputs where request_id = 'foreign'$$, 'and its input is gone');
select pg_temp.acts('stranger');
select throws_ok($$insert into public.commands (request_id, kind) values ('foreign', 'resume')$$, 'PT409', 'this request was over before it began', 'it takes no command any more');
select pg_temp.owner();

create temporary table said as select id from public.commands where request_id = 'running';
grant select on said to public;
select set_config('role', 'headgate_bridge', true);
select lives_ok('select private.command_answered(id, ''accepted'', ''paused'') from said', 'the bridge answers a command');
select lives_ok('select private.command_answered(id, ''refused'', ''too late'') from said', 'twice');
select throws_ok('select private.command_answered(id, ''pending'', '''') from said', '22023', null, 'pending is no answer');
select throws_ok($$select private.command_answered(gen_random_uuid(), '''; drop table public.commands; --', '')$$, '22023', null, 'nor is SQL');
select pg_temp.owner();
select results_eq('select status, answer, answered_at is not null from public.commands join said using (id)', $$values ('accepted'::text, 'paused'::text, true)$$, 'the first answer stays');
select results_eq($$select data - 'id' from public.events where kind = 'answered' and request_id = 'running'$$, $$values ('{"status": "accepted", "answer": "paused"}'::jsonb)$$, 'and is told once');

select set_config('role', 'headgate_bridge', true);
update private.inbox set done_at = now(), recorded_at = now() where command_id = (select id from said);
select lives_ok('select private.command_answered(id, ''refused'', ''nothing to pause'') from said', 'of one that is recorded the bridge hears later');
select lives_ok('select private.command_answered(id, ''refused'', ''nothing to pause'') from said', 'twice');
update private.inbox set recorded_at = null where command_id = (select id from said);
select lives_ok('select private.command_answered(id, ''accepted'', ''paused'') from said', 'and after that nothing');
select pg_temp.owner();
select results_eq('select status, answer from public.commands join said using (id)', $$values ('refused'::text, 'nothing to pause'::text)$$, 'what came of it replaces the first answer');
select is((select count(*) from public.events where kind = 'answered' and request_id = 'running'), 2::bigint, 'and is told once as well');

-- What is over in Temporal without a word of its own
insert into public.bulk_requests (id, organisation_id, status, version, finished_at) values
  ('cut-off', 'a0000000-0000-0000-0000-000000000001', 'cancelled', 3, null), ('ended', 'a0000000-0000-0000-0000-000000000001', 'cancelled', 3, now());
select set_config('role', 'headgate_bridge', true);
select throws_ok($$select private.request_ended('running', 'running', '')$$, '22023', null, 'running is no end');
select lives_ok($$select private.request_ended('submitted', 'failed', 'terminated', 10, 4, 1, 5)$$, 'the bridge says that a request is over');
select lives_ok($$select private.request_ended('submitted', 'completed', 'again')$$, 'twice');
select lives_ok($$select private.request_ended('waiting', 'failed', 'no file')$$, 'and of one that Temporal never had');
select lives_ok($$select private.request_ended('cut-off', 'failed', 'terminated')$$, 'and of one that was shown as cancelled while its last calls went');
select lives_ok($$select private.request_ended('ended', 'failed', 'terminated')$$, 'and of one that has ended');
select pg_temp.owner();
select results_eq($$select id, status, error, finished_at is not null from public.bulk_requests where id in ('cut-off', 'ended') order by id$$,
  $$values ('cut-off'::text, 'failed'::text, 'terminated'::text, true), ('ended', 'cancelled', null, true)$$, 'what has no end gets one, and what has one keeps it');
select results_eq($$select status, error, operations_total, operations_succeeded, operations_failed, operations_unprocessed, finished_at is not null from public.bulk_requests where id = 'submitted'$$,
  $$values ('failed'::text, 'terminated'::text, 10::bigint, 4::bigint, 1::bigint, 5::bigint, true)$$, 'then it is over, and the first word stays');
select results_eq($$select data from public.events where request_id = 'submitted' and kind = 'ended'$$, $$values ('{"status": "failed", "why": "terminated"}'::jsonb)$$, 'which is told once');
select is(status, 'awaiting_upload', 'one that awaits its upload goes on waiting') from public.bulk_requests where id = 'waiting';

-- The projector ---------------------------------------------------------------------------------------------------

select set_config('role', 'headgate_projector', true);
select ok(count(*) >= 5, 'the projector reads requests: yes, of all organisations') from public.bulk_requests;
select lives_ok($$update public.bulk_requests set version = 2, status = 'running', operations_total = 10, operations_succeeded = 4, failures = '{"NotFound": 1}' where id = 'running' and version < 2$$,
  'the projector keeps requests up to date: yes, what Temporal says');
select is(row(version, operations_succeeded, revision), row(2::bigint, 4::bigint, 3::bigint), 'the projector keeps requests up to date: yes, and a revision counts it') from public.bulk_requests where id = 'running';
select throws_ok(format('update public.bulk_requests set %I = %I', c, c), '42501', 'permission denied for table bulk_requests', 'the projector keeps requests up to date: no, not ' || c)
  from unnest(array['id', 'organisation_id', 'created_by', 'name', 'idempotency_key', 'content_sha256', 'input_sha256', 'input_bytes', 'input_path', 'operations', 'revision', 'created_at', 'updated_at']) c;
select lives_ok($$insert into public.bulk_requests (id, organisation_id, name, status, version) values ('running.retry1', 'a0000000-0000-0000-0000-000000000001', 'prices', 'running', 3)$$,
  'the projector adds requests that run already: yes, a retry');
select throws_ok($$insert into public.bulk_requests (id, organisation_id, name, status, version) values ('new', 'a0000000-0000-0000-0000-000000000001', 'x', 'running', 0)$$, '42501', null,
  'the projector adds requests that run already: no, none that Temporal does not know');
select throws_ok($$insert into public.bulk_requests (id, organisation_id, operations, version) values ('new', 'a0000000-0000-0000-0000-000000000001', 'x', 1)$$, '42501', null,
  'the projector adds requests that run already: no, none with operations');
select lives_ok($$insert into public.dead_letters values (now(), 'running', 2, 'r2', 'a0000000-0000-0000-0000-000000000001', 'no such sheet', 'no') on conflict do nothing$$, 'the projector adds dead letters: yes');
select is((select count(*) from public.dead_letters), 3::bigint, 'the projector reads dead letters: yes, of all organisations');
select lives_ok('create temporary table staged (like public.dead_letters)', 'the projector has temporary tables');
select throws_ok(what, '42501', null, policy || ': no, ' || what) from (values
  ('the projector reads requests', 'delete from public.bulk_requests'),
  ('the projector reads requests', 'select * from public.commands'),
  ('the projector reads requests', 'select * from public.events'),
  ('the projector reads requests', 'select * from public.memberships'),
  ('the projector reads requests', 'select * from public.organisations'),
  ('the projector reads requests', 'select * from auth.users'),
  ('the projector reads dead letters', 'update public.dead_letters set reason = ''x'''),
  ('the projector adds dead letters', 'delete from public.dead_letters')) refused (policy, what);
select pg_temp.owner();
select is_empty($$select * from private.inbox where request_id = 'running.retry1'$$, 'a retry needs no bridge');
select results_eq($$select kind from public.events where request_id = 'running.retry1'$$, $$values ('submitted'::text)$$, 'but an event tells of it');
select pg_temp.acts('viewer');
select isnt_empty($$select * from public.bulk_requests where id = 'running.retry1'$$, 'and members see it');
select pg_temp.owner();

-- Policies that let our services see everything let nobody else.
select pg_temp.acts('stranger');
select is_empty($$select * from public.bulk_requests where organisation_id = 'a0000000-0000-0000-0000-000000000001'$$, 'what the services may see, strangers may not');
select pg_temp.owner();

select * from finish();
rollback;
