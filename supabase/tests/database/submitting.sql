-- Submitting a request: who may, what a caller decides, and what becomes of it.
begin;
\ir seed.psql
select no_plan();

-- Who ------------------------------------------------------------------------------------------------------------

create function pg_temp.submit(extra text default '', value text default '', organisation text default 'a0000000-0000-0000-0000-000000000001')
returns text language sql as $$
  select format('insert into public.bulk_requests (organisation_id, operations%s) values (%L, ''{"id": "r1"}''%s)', extra, organisation, value)
$$;
create temporary table before as select count(*) from private.inbox;
grant select on before to public;

select pg_temp.acts('member');
select lives_ok(pg_temp.submit(), 'those who may submit do so in their own name: yes, a member submits');
select is((select count(*) from public.bulk_requests where created_by = pg_temp.person('member')), 3::bigint, 'in the member''s own name');
select throws_ok(pg_temp.submit(organisation => 'b0000000-0000-0000-0000-000000000001'), '42501', 'you may not submit requests for this organisation',
  'those who may submit do so in their own name: no, not for a foreign organisation');
select throws_ok(pg_temp.submit(organisation => 'd0000000-0000-0000-0000-000000000001'), '42501', 'you may not submit requests for this organisation',
  'an unknown organisation is refused like a foreign one');
select pg_temp.acts('admin');
select lives_ok(pg_temp.submit(), 'those who may submit do so in their own name: yes, an admin submits');
select pg_temp.acts('viewer');
select throws_ok(pg_temp.submit(), '42501', 'you may not submit requests for this organisation',
  'those who may submit do so in their own name: no, a viewer does not');
select pg_temp.acts('nobody');
select throws_ok(pg_temp.submit(), '42501', null, 'those who may submit do so in their own name: no, nobody without a membership');
select pg_temp.claim('authenticated', '{}');
select throws_ok(pg_temp.submit(), '42501', null, 'those who may submit do so in their own name: no, nobody without a sub');
select pg_temp.claim('authenticated', '{"user_metadata": {"role": "admin"}, "app_metadata": {"role": "service_role"}}');
select throws_ok(pg_temp.submit(), '42501', null, 'those who may submit do so in their own name: no, not by forged claims');
select pg_temp.claim('anon', jsonb_build_object('sub', pg_temp.person('member')));
select throws_ok(pg_temp.submit(), '42501', 'permission denied for table bulk_requests', 'anon submits nothing');
select pg_temp.claim('service_role', '{}');
select lives_ok(pg_temp.submit(), 'a server of the operator''s submits');
select pg_temp.owner();

-- The policy holds even where the trigger is gone.
alter table public.bulk_requests disable trigger a_may_submit;
select pg_temp.acts('viewer');
select throws_ok(pg_temp.submit(), '42501', 'new row violates row-level security policy for table "bulk_requests"',
  'those who may submit do so in their own name: no, the policy alone refuses a viewer');
select pg_temp.acts('stranger');
select throws_ok(pg_temp.submit(), '42501', 'new row violates row-level security policy for table "bulk_requests"',
  'those who may submit do so in their own name: no, the policy alone refuses a stranger');
select pg_temp.owner();
alter table public.bulk_requests enable trigger a_may_submit;

-- Mass assignment: every column that is not a caller's -------------------------------------------------------------

create temporary table columns as
  select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type,
    a.attname in ('organisation_id', 'name', 'idempotency_key', 'content_sha256', 'input_sha256', 'input_bytes', 'operations',
      'priority', 'ordering', 'stop_after', 'grow') as callers
  from pg_attribute a where a.attrelid = 'public.bulk_requests'::regclass and a.attnum > 0 and not a.attisdropped;
grant select on columns to public;
select is((select count(*) from columns where callers), 11::bigint, 'eleven columns are a caller''s');
select is((select count(*) from columns where not callers), 24::bigint, 'and twenty-four are not');

select pg_temp.acts('member');
select throws_ok(pg_temp.submit(', ' || name, ', null'), '42501', 'permission denied for table bulk_requests', 'a caller may not give ' || name)
  from columns where not callers order by name;
select throws_ok(format('update public.bulk_requests set %I = %I', name, name), '42501', 'permission denied for table bulk_requests', 'a caller may not change ' || name)
  from columns order by name;
select throws_ok('delete from public.bulk_requests', '42501', 'permission denied for table bulk_requests', 'a caller may not delete');
select throws_ok('truncate public.bulk_requests', '42501', 'permission denied for table bulk_requests', 'a caller may not truncate');
select throws_ok($$insert into public.bulk_requests (organisation_id, operations, idempotency_key)
    values ('a0000000-0000-0000-0000-000000000001', 'x', 'k') on conflict (organisation_id, idempotency_key) do update set name = 'y'$$,
  '42501', 'permission denied for table bulk_requests', 'an upsert changes nothing either');
select throws_ok('insert into public.' || t || ' select * from public.' || t, '42501', 'permission denied for table ' || t, 'a caller writes no ' || t)
  from unnest(array['organisations', 'events', 'dead_letters']) t;
select throws_ok(verb || t, '42501', 'permission denied for table ' || t, verb || t || ' is refused')
  from unnest(array['organisations', 'events', 'dead_letters']) t, unnest(array['delete from public.', 'truncate public.']) verb;
select throws_ok('update public.organisations set name = ''x''', '42501', null, 'a caller renames no organisation');
select throws_ok('update public.events set kind = ''x''', '42501', null, 'a caller changes no event');
select throws_ok('update public.dead_letters set reason = ''x''', '42501', null, 'a caller changes no dead letter');
select pg_temp.owner();

-- What becomes of it: inline --------------------------------------------------------------------------------------

select pg_temp.acts('member');
insert into public.bulk_requests (organisation_id, name, operations, idempotency_key, content_sha256, priority, ordering, stop_after, grow)
  values ('a0000000-0000-0000-0000-000000000001', 'inline', '{"id": "ä"}', 'key-1', repeat('c', 64), 'urgent', 'strict', 7, true);
create temporary table made as select * from public.bulk_requests where name = 'inline';
grant select on made to public;
select is(status, 'submitted', 'an inline request is submitted at once') from made;
select is(operations, null, 'its operations leave the row') from made;
select is(input_path, null, 'it has no path') from made;
select is(input_sha256, encode(sha256(convert_to('{"id": "ä"}', 'UTF8')), 'hex'), 'its hash is the server''s') from made;
select is(input_bytes, 12::bigint, 'its size is counted in bytes') from made;
select is(version, 0::bigint, 'Temporal has not spoken') from made;
select is(revision, 1::bigint, 'it is the first revision') from made;
select is(created_by, pg_temp.person('member'), 'its creator is the caller') from made;
select matches(id, '^[0-9a-f]{8}-[0-9a-f-]{27}$', 'its id is the server''s') from made;
select is(row(priority, ordering, stop_after, grow), row('urgent'::text, 'strict'::text, 7, true), 'what a caller decides is kept') from made;
select pg_temp.owner();
select is((select content from private.inputs where request_id = made.id), '{"id": "ä"}', 'private.inputs holds the content') from made;
select results_eq('select sequence, kind, command_id, data from private.inbox join made on made.id = request_id',
  $$values (0, 'start'::text, null::uuid, '{}'::jsonb)$$, 'private.inbox has its start');
select results_eq('select kind, actor, actor_name, data from public.events join made on made.id = request_id',
  $$values ('submitted'::text, pg_temp.person('member'), 'member@example.org'::text, '{"name": "inline", "status": "submitted"}'::jsonb)$$,
  'an event tells who submitted it');

-- By upload
select pg_temp.acts('member');
insert into public.bulk_requests (organisation_id, name, input_sha256, input_bytes)
  values ('a0000000-0000-0000-0000-000000000001', 'uploaded', repeat('d', 64), 9);
select is(status, 'awaiting_upload', 'without operations a request awaits its upload') from public.bulk_requests where name = 'uploaded';
select is(input_path, organisation_id || '/' || id, 'at a path that the server chose') from public.bulk_requests where name = 'uploaded';
select pg_temp.owner();
select is_empty($$select * from private.inbox i join public.bulk_requests b on b.id = i.request_id where b.name = 'uploaded'$$, 'and private.inbox has nothing of it');

-- What is refused -------------------------------------------------------------------------------------------------

select pg_temp.acts('member');
select throws_ok(format('insert into public.bulk_requests (organisation_id, %s) values (''a0000000-0000-0000-0000-000000000001'', %s)', c, v), '23514', null, why)
  from (values
    ('name', $$'x'$$, 'neither operations nor an upload'),
    ('input_bytes', '5', 'an upload without a hash'),
    ('input_sha256', $$repeat('a', 64)$$, 'an upload without a size'),
    ('input_sha256, input_bytes', $$repeat('a', 64), 0$$, 'an empty upload'),
    ('input_sha256, input_bytes', $$repeat('a', 64), -1$$, 'a negative size'),
    ('input_sha256, input_bytes', $$repeat('a', 64), 1073741825$$, 'more than 1 GiB'),
    ('input_sha256, input_bytes', $$repeat('A', 64), 5$$, 'a hash in capitals'),
    ('input_sha256, input_bytes', $$'../../etc/passwd', 5$$, 'a hash that is a path'),
    ('operations', $$''$$, 'no operations'),
    ('operations', $$repeat('x', 1048577)$$, 'more than 1 MiB'),
    ('operations', $$repeat('ä', 524289)$$, 'more than 1 MiB of two-byte characters'),
    ('operations, input_sha256', $$'x', repeat('a', 64)$$, 'operations of another hash'),
    ('operations, input_bytes', $$'x', 2$$, 'operations of another size'),
    ('operations, priority', $$'x', 'now'$$, 'an unknown priority'),
    ('operations, ordering', $$'x', 'none'$$, 'an unknown order'),
    ('operations, stop_after', $$'x', -1$$, 'a negative stop_after'),
    ('operations, name', $$'x', repeat('n', 201)$$, 'a name of 201 characters'),
    ('operations, idempotency_key', $$'x', ''$$, 'an empty idempotency key'),
    ('operations, idempotency_key', $$'x', repeat('k', 201)$$, 'an idempotency key of 201 characters'),
    ('operations, content_sha256', $$'x', 'abc'$$, 'a content hash that is none')) refused (c, v, why);
select lives_ok(pg_temp.submit(', name', $$, repeat('n', 200)$$), 'a name of 200 characters is one');
select lives_ok($$insert into public.bulk_requests (organisation_id, operations) values ('a0000000-0000-0000-0000-000000000001', repeat('x', 1048576))$$, '1 MiB is within bounds');

-- Idempotency keys
select throws_ok(pg_temp.submit(', idempotency_key', ', ''key-1'''), '23505', 'a request with this idempotency key exists', 'a key is good for one request');
select pg_temp.acts('admin');
select throws_ok(pg_temp.submit(', idempotency_key', ', ''key-1'''), '23505', null, 'of the whole organisation');
select throws_ok(pg_temp.submit(', idempotency_key', ', ''key-1''') || ' on conflict do nothing', '23505', null, 'and says so to whom wants to hear nothing');
select pg_temp.acts('stranger');
select lives_ok(pg_temp.submit(', idempotency_key', ', ''key-1''', 'b0000000-0000-0000-0000-000000000001'), 'another organisation has keys of its own');
select throws_ok(pg_temp.submit(', idempotency_key', ', ''key-1'''), '42501', null, 'and learns nothing of ours');

-- SQL in every string: kept as it is, or refused by a check; never run.
select pg_temp.acts('member');
create temporary table evil as select $sql$'; drop table public.bulk_requests; --$sql$::text as text;
grant select on evil to public;
insert into public.bulk_requests (organisation_id, name, operations, idempotency_key)
  select 'a0000000-0000-0000-0000-000000000001', text, text, text from evil;
select is((select name from public.bulk_requests, evil where idempotency_key = text), text, 'SQL in a name is a name') from evil;
select throws_ok(format('insert into public.bulk_requests (organisation_id, operations, %I) values (''a0000000-0000-0000-0000-000000000001'', ''x'', %L)', c, text),
  '23514', null, 'SQL in ' || c || ' is refused') from evil, unnest(array['content_sha256', 'input_sha256', 'priority', 'ordering']) c;
select throws_ok(format('insert into public.bulk_requests (organisation_id, operations, %I) values (''a0000000-0000-0000-0000-000000000001'', ''x'', %L)', c, text),
  '22P02', null, 'SQL in ' || c || ' is refused') from evil, unnest(array['stop_after', 'grow', 'input_bytes']) c;
select throws_ok(format('insert into public.bulk_requests (organisation_id, operations) values (%L, ''x'')', text), '22P02', null, 'SQL for an organisation is refused') from evil;
select pg_temp.owner();
select is((select content from private.inputs i join public.bulk_requests b on b.id = i.request_id where b.idempotency_key = text), text, 'SQL in operations is content') from evil;

-- Accounts and budgets --------------------------------------------------------------------------------------------

delete from private.accounts where project = 'their-project';
select pg_temp.acts('stranger');
select throws_ok(pg_temp.submit(organisation => 'b0000000-0000-0000-0000-000000000001'), 'PT403', 'this organisation has no account', 'no account, no request');
select pg_temp.acts('nobody');
select throws_ok(pg_temp.submit(organisation => 'b0000000-0000-0000-0000-000000000001'), '42501', null, 'which only its members hear');
select pg_temp.owner();

update private.accounts set submits_per_minute = 3, member_share = 1 where project = 'our-project';
update private.budgets set tokens = 3, refilled_at = clock_timestamp() where organisation_id = 'a0000000-0000-0000-0000-000000000001' and kind = 'submit';
select pg_temp.acts('member');
select lives_ok(pg_temp.submit(), 'within the budget: ' || n) from generate_series(1, 3) n;
select throws_ok(pg_temp.submit(), 'PT429', 'too many requests submitted', 'beyond the budget');
create function pg_temp.hint() returns text language plpgsql as $$
declare
  hint text;
begin
  execute pg_temp.submit();
  return null;
exception when others then
  get stacked diagnostics hint = pg_exception_hint;
  return hint;
end $$;
select is(pg_temp.hint(), '20', 'the hint is the seconds until the next one');
select throws_ok(pg_temp.submit(', idempotency_key', ', ''key-1'''), '23505', null, 'a replay is told so, budget or not');
select pg_temp.acts('admin');
select throws_ok(pg_temp.submit(), 'PT429', null, 'the budget is the organisation''s');
select pg_temp.owner();
update private.budgets set refilled_at = refilled_at - interval '20 seconds' where kind = 'submit';
select pg_temp.acts('member');
select lives_ok(pg_temp.submit(), 'after that time there is one more');
select throws_ok(pg_temp.submit(), 'PT429', null, 'and no second one');
select pg_temp.owner();
update private.budgets set refilled_at = refilled_at - interval '1 day' where kind = 'submit';
select pg_temp.acts('member');
select lives_ok(pg_temp.submit(), 'a day saves up no more than a minute: ' || n) from generate_series(1, 3) n;
select throws_ok(pg_temp.submit(), 'PT429', null, 'a day saves up no more than a minute');
-- Each member's own, inside the organisation's
select pg_temp.owner();
update private.accounts set submits_per_minute = 4, member_share = 0.5 where project = 'our-project';
update private.budgets set tokens = 4, refilled_at = clock_timestamp() where organisation_id = 'a0000000-0000-0000-0000-000000000001' and kind = 'submit';
update private.member_budgets set tokens = 2, refilled_at = clock_timestamp() where kind = 'submit';
select pg_temp.acts('member');
select lives_ok(pg_temp.submit(), 'within a member''s budget: ' || n) from generate_series(1, 2) n;
select throws_ok(pg_temp.submit(), 'PT429', 'too many requests submitted by you', 'beyond a member''s budget, while the organisation''s has more');
select is(pg_temp.hint(), '30', 'the hint is the seconds until the member''s next one');
select throws_ok(pg_temp.submit(', idempotency_key', ', ''key-1'''), '23505', null, 'a replay is told so, whosever budget is spent');
select pg_temp.acts('colleague');
select lives_ok(pg_temp.submit(), 'which leaves a colleague theirs: ' || n) from generate_series(1, 2) n;
select pg_temp.acts('admin');
select throws_ok(pg_temp.submit(), 'PT429', 'too many requests submitted', 'an admin with a budget left is bound by the organisation''s');
select pg_temp.owner();
update private.budgets set tokens = 4 where kind = 'submit';
select pg_temp.claim('service_role', '{}');
select lives_ok(pg_temp.submit(), 'a server of the operator''s is no member, and has the organisation''s budget alone: ' || n) from generate_series(1, 4) n;
select throws_ok(pg_temp.submit(), 'PT429', 'too many requests submitted', 'and no more than that');
select pg_temp.owner();
update private.budgets set tokens = 4 where kind = 'submit';
update private.member_budgets set refilled_at = refilled_at - interval '30 seconds' where kind = 'submit';
select pg_temp.acts('member');
select lives_ok(pg_temp.submit(), 'a member''s budget is refilled evenly');
select throws_ok(pg_temp.submit(), 'PT429', 'too many requests submitted by you', 'and not beyond that');
select pg_temp.owner();
update private.member_budgets set refilled_at = refilled_at - interval '1 day' where kind = 'submit';
update private.accounts set submits_per_minute = 1 where project = 'our-project';
update private.budgets set tokens = 1 where kind = 'submit';
select pg_temp.acts('member');
select lives_ok(pg_temp.submit(), 'whatever the share, a member has one a minute');
select pg_temp.owner();
delete from public.memberships where user_id = pg_temp.person('colleague');
select is_empty($$select * from private.member_budgets where user_id = pg_temp.person('colleague')$$, 'a budget goes with the membership');
delete from public.memberships where organisation_id = 'a0000000-0000-0000-0000-000000000001' and role <> 'viewer' and user_id <> pg_temp.person('member');
update private.accounts set submits_per_minute = 4 where project = 'our-project';
update private.budgets set tokens = 4, refilled_at = clock_timestamp() where kind = 'submit';
update private.member_budgets set tokens = 2, refilled_at = clock_timestamp() where kind = 'submit';
select pg_temp.acts('member');
select lives_ok(pg_temp.submit(), 'whom nobody but viewers is left beside has all of the organisation''s: ' || n) from generate_series(1, 4) n;
select throws_ok(pg_temp.submit(), 'PT429', 'too many requests submitted', 'and no more than that');
select pg_temp.owner();
select throws_ok('update private.accounts set member_share = ' || share, '23514', null, 'a share is none of ' || share) from unnest(array[0, -1, 1.5]) share;
select pg_temp.acts('member');
select throws_ok('select * from private.member_budgets', '42501', 'permission denied for schema private', 'a caller cannot read private.member_budgets');
select throws_ok('select * from private.budgets', '42501', 'permission denied for schema private', 'a caller cannot read private.budgets');
select pg_temp.owner();

-- Revisions -------------------------------------------------------------------------------------------------------

update public.bulk_requests set name = name where id = 'running';
update public.bulk_requests set name = name, revision = 1000 where id = 'running';
select is(revision, 4::bigint, 'every change is one revision, whatever the change says') from public.bulk_requests where id = 'running';
select throws_ok($$update public.bulk_requests set operations = 'x' where id = 'running'$$, '23514', null, 'operations are never kept in the row');

select * from finish();
rollback;
