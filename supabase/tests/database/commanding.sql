-- Commands: who may say what, their numbers, and what becomes of them.
begin;
\ir seed.psql
select no_plan();

create function pg_temp.say(kind text, request text default 'running', argument text default null) returns text language sql as $$
  select format('insert into public.commands (request_id, kind, argument) values (%L, %L, %L)', request, kind, argument)
$$;

create function pg_temp.submit() returns text language sql as $$
  select 'insert into public.bulk_requests (organisation_id, operations) values (''a0000000-0000-0000-0000-000000000001'', ''x'')'
$$;

-- Who may say what, cell by cell -----------------------------------------------------------------------------------

create temporary table cells (who text, kind text, request text, allowed boolean);
grant select on cells to public;
insert into cells
  select who, kind, request, case
      when who in ('viewer', 'nobody', 'stranger') then false
      when kind = 'cancel' and who = 'member' then request = 'running'
      when kind = 'cancel' and who = 'colleague' then request = 'submitted'
      else true end
  from unnest(array['viewer', 'member', 'colleague', 'admin', 'stranger', 'nobody']) who,
    unnest(array['pause', 'resume', 'retry_failed', 'reprioritise', 'cancel']) kind,
    unnest(array['running', 'submitted']) request;

create function pg_temp.try(who text, kind text, request text) returns text language plpgsql as $$
begin
  perform pg_temp.acts(who);
  begin
    execute pg_temp.say(kind, request, case kind when 'reprioritise' then 'low' end);
  exception when others then
    perform pg_temp.owner();
    return sqlstate || ' ' || sqlerrm;
  end;
  perform pg_temp.owner();
  return 'said';
end $$;
select is(pg_temp.try(who, kind, request), case when allowed then 'said' else '42501 you may not say this to this request, or there is no such request' end,
    'those who may command do so in their own name: ' || case when allowed then 'yes' else 'no' end || ', ' || who || ' ' || kind || ' ' || request)
  from cells order by who, kind, request;

-- No oracle: what is foreign and what is not there sound the same.
select is(pg_temp.try('member', kind, 'foreign'), pg_temp.try('member', kind, 'there-is-none'), 'a foreign request and none sound alike: ' || kind)
  from unnest(array['pause', 'resume', 'retry_failed', 'reprioritise', 'cancel', 'finalize']) kind;
select is(pg_temp.try('member', 'finalize', 'foreign-waiting'), pg_temp.try('member', 'finalize', 'there-is-none'), 'so does one that awaits its upload');
select pg_temp.claim('anon', jsonb_build_object('sub', pg_temp.person('member')));
select throws_ok(pg_temp.say('pause'), '42501', 'permission denied for table commands', 'anon commands nothing');
select pg_temp.claim('authenticated', '{"app_metadata": {"role": "admin"}}');
select throws_ok(pg_temp.say('pause'), '42501', null, 'those who may command do so in their own name: no, not by forged claims');
select pg_temp.owner();
alter table public.commands disable trigger a_may_command;
select pg_temp.acts('viewer');
select throws_ok(pg_temp.say('pause'), '42501', 'new row violates row-level security policy for table "commands"',
  'those who may command do so in their own name: no, the policy alone refuses a viewer');
select pg_temp.acts('stranger');
select throws_ok(pg_temp.say('pause'), '42501', 'new row violates row-level security policy for table "commands"',
  'those who may command do so in their own name: no, the policy alone refuses a stranger');
select pg_temp.acts('colleague');
select throws_ok(pg_temp.say('cancel'), '42501', 'new row violates row-level security policy for table "commands"',
  'those who may command do so in their own name: no, the policy alone keeps a colleague from another''s request');
select pg_temp.owner();
alter table public.commands enable trigger a_may_command;
-- The operator decides, and at once.
delete from private.rights where role = 'member' and kind = 'pause';
select is(pg_temp.try('member', 'pause', 'running'), '42501 you may not say this to this request, or there is no such request', 'private.rights is what counts: taken away');
insert into private.rights (role, kind) values ('viewer', 'pause');
select is(pg_temp.try('viewer', 'pause', 'running'), 'said', 'private.rights is what counts: given');
delete from private.rights where role = 'viewer';
insert into private.rights (role, kind) values ('member', 'pause');

-- Mass assignment -------------------------------------------------------------------------------------------------

create temporary table columns as
  select a.attname::text as name, a.attname in ('id', 'request_id', 'kind', 'argument') as callers
  from pg_attribute a where a.attrelid = 'public.commands'::regclass and a.attnum > 0 and not a.attisdropped;
grant select on columns to public;
select is((select count(*) from columns where not callers), 7::bigint, 'seven columns are not a caller''s');
select pg_temp.acts('member');
select throws_ok(format('insert into public.commands (request_id, kind, %I) values (''running'', ''pause'', null)', name), '42501', 'permission denied for table commands', 'a caller may not give ' || name)
  from columns where not callers order by name;
select throws_ok(format('update public.commands set %I = %I', name, name), '42501', 'permission denied for table commands', 'a caller may not change ' || name) from columns order by name;
select throws_ok(verb || ' public.commands', '42501', 'permission denied for table commands', verb || ' is refused') from unnest(array['delete from', 'truncate']) verb;

-- What becomes of it ----------------------------------------------------------------------------------------------

select lives_ok($$insert into public.commands (id, request_id, kind, argument) values ('e0000000-0000-0000-0000-000000000001', 'running', 'reprioritise', 'urgent')$$, 'a member reprioritises');
select results_eq($$select organisation_id, created_by, status, answer, answered_at is null from public.commands where id = 'e0000000-0000-0000-0000-000000000001'$$,
  $$values ('a0000000-0000-0000-0000-000000000001'::uuid, pg_temp.person('member'), 'pending'::text, null::text, true)$$, 'the server says whose it is, and that it is pending');
select throws_ok($$insert into public.commands (id, request_id, kind) values ('e0000000-0000-0000-0000-000000000001', 'running', 'pause')$$, '23505', 'a command with this id exists', 'an id is good for one command');
select throws_ok($$insert into public.commands (id, request_id, kind) values (null, 'running', 'pause')$$, '23502', null, 'a command has an id');
select pg_temp.owner();
select results_eq($$select i.sequence = c.sequence, i.kind, i.data from private.inbox i join public.commands c on c.id = i.command_id where c.id = 'e0000000-0000-0000-0000-000000000001'$$,
  $$values (true, 'reprioritise'::text, '{"to": "urgent", "by": "member@example.org"}'::jsonb)$$, 'private.inbox has it under its number, with who says it');
select results_eq($$select kind, actor_name, data - 'sequence' from public.events where data ->> 'id' = 'e0000000-0000-0000-0000-000000000001'$$,
  $$values ('command'::text, 'member@example.org'::text, '{"command": "reprioritise", "to": "urgent", "id": "e0000000-0000-0000-0000-000000000001"}'::jsonb)$$, 'an event tells who said it');
select results_eq($$select sequence from public.commands where request_id = 'running' order by sequence$$,
  $$select generate_series(1, (select count(*)::integer from public.commands where request_id = 'running'))$$, 'numbers have no gaps, in spite of all that was refused');
select is((select last from private.sequences where request_id = 'running'), (select max(sequence) from public.commands where request_id = 'running'), 'private.sequences knows the last one');

select pg_temp.acts('member');
select throws_ok(pg_temp.say('reprioritise'), '23514', null, 'a reprioritise without a priority');
select throws_ok(pg_temp.say('reprioritise', argument => 'now'), '23514', null, 'an unknown priority');
select throws_ok(pg_temp.say('pause', argument => 'low'), '23514', null, 'a pause with an argument');
select throws_ok(pg_temp.say('start'), '42501', null, 'start is nothing to say');
select throws_ok(pg_temp.say('submit'), '23514', null, 'submit is nothing to say to a request');
select throws_ok(pg_temp.say($$'; drop table public.commands; --$$), '42501', null, 'SQL as a kind');
select throws_ok(pg_temp.say('pause', $$' or true; --$$), '42501', null, 'SQL as a request');
select throws_ok(pg_temp.say('reprioritise', argument => $$'; drop table public.commands; --$$), '23514', null, 'SQL as an argument');
select throws_ok($$insert into public.commands (id, request_id, kind) values ('1 or true', 'running', 'pause')$$, '22P02', null, 'SQL as an id');

-- Uploads ---------------------------------------------------------------------------------------------------------

select throws_ok(pg_temp.say(kind, 'waiting', case kind when 'reprioritise' then 'low' end), 'PT409', 'this request still awaits its upload', kind || ' must wait for the upload')
  from unnest(array['pause', 'resume', 'reprioritise', 'retry_failed']) kind;
select throws_ok(pg_temp.say('finalize', 'running'), 'PT409', 'this request awaits no upload', 'finalize is for those that await an upload');
select throws_ok(pg_temp.say('finalize', 'waiting'), 'PT409', 'the file is not there, or not as long as it was declared', 'finalize needs the file');
select pg_temp.acts('colleague');
select throws_ok(pg_temp.say('finalize', 'waiting'), '42501', null, 'a colleague does not finalize it');
select pg_temp.acts('admin');
select throws_ok(pg_temp.say('finalize', 'waiting'), '42501', null, 'nor does an admin');
select pg_temp.owner();
insert into storage.objects (bucket_id, name, metadata) values ('inputs', 'a0000000-0000-0000-0000-000000000001/waiting', '{"size": 6}');
select pg_temp.acts('member');
select throws_ok(pg_temp.say('finalize', 'waiting'), 'PT409', null, 'a file of another size is not the one');
select pg_temp.owner();
update storage.objects set metadata = '{"size": 5}', bucket_id = null where name = 'a0000000-0000-0000-0000-000000000001/waiting';
select pg_temp.acts('member');
select throws_ok(pg_temp.say('finalize', 'waiting'), 'PT409', null, 'nor is one in another bucket');
select pg_temp.owner();
update storage.objects set bucket_id = 'inputs' where name = 'a0000000-0000-0000-0000-000000000001/waiting';
select pg_temp.acts('member');
select lives_ok(pg_temp.say('finalize', 'waiting'), 'its creator finalizes it');
select is(status, 'submitted', 'then it is submitted') from public.bulk_requests where id = 'waiting';
select results_eq($$select status, answered_at is not null, sequence from public.commands where request_id = 'waiting'$$, $$values ('accepted'::text, true, 1)$$, 'the command is accepted at once');
select throws_ok(pg_temp.say('finalize', 'waiting'), 'PT409', 'this request awaits no upload', 'once');
select lives_ok(pg_temp.say('pause', 'waiting'), 'from then on it takes commands');
select pg_temp.owner();
select results_eq($$select sequence, kind from private.inbox where request_id = 'waiting' order by sequence$$, $$values (0, 'start'::text), (2, 'pause')$$, 'private.inbox has the start first');
select results_eq($$select kind, data ->> 'to' from public.events where request_id = 'waiting' order by id$$,
  $$values ('submitted'::text, null::text), ('command', null), ('status', 'submitted'), ('answered', null), ('command', null)$$, 'events tell it in order');

-- Cancelled before its file came
select pg_temp.acts('member');
insert into public.bulk_requests (organisation_id, name, input_sha256, input_bytes) values ('a0000000-0000-0000-0000-000000000001', 'second', repeat('a', 64), 5);
select pg_temp.acts('colleague');
select throws_ok(format('insert into public.commands (request_id, kind) select id, ''cancel'' from public.bulk_requests where name = ''second'''), '42501', null, 'a colleague does not cancel it');
select pg_temp.acts('member');
select lives_ok($$insert into public.commands (request_id, kind) select id, 'cancel' from public.bulk_requests where name = 'second'$$, 'its creator cancels it');
select results_eq($$select status, finished_at is not null from public.bulk_requests where name = 'second'$$, $$values ('cancelled'::text, true)$$, 'it is cancelled at once');
select throws_ok($$insert into public.commands (request_id, kind) select id, 'finalize' from public.bulk_requests where name = 'second'$$, 'PT409', null, 'and takes no file any more');
select throws_ok($$insert into public.commands (request_id, kind) select id, 'resume' from public.bulk_requests where name = 'second'$$, 'PT409', 'this request was over before it began', 'nor anything else');
select pg_temp.owner();
select is_empty($$select * from private.inbox i join public.bulk_requests b on b.id = i.request_id where b.name = 'second'$$, 'private.inbox never hears of it');

-- A size that Storage does not tell is not held against the file.
insert into public.bulk_requests (id, organisation_id, created_by, input_sha256, input_bytes) values ('third', 'a0000000-0000-0000-0000-000000000001', pg_temp.person('member'), repeat('a', 64), 5);
insert into storage.objects (bucket_id, name, metadata) values ('inputs', 'a0000000-0000-0000-0000-000000000001/third', '{"size": "?"}');
select pg_temp.acts('member');
select lives_ok(pg_temp.say('finalize', 'third'), 'a file of unknown size will do');
select pg_temp.owner();

-- Budgets ---------------------------------------------------------------------------------------------------------

update private.accounts set commands_per_minute = 2, member_share = 1 where project = 'our-project';
update private.budgets set tokens = 2, refilled_at = clock_timestamp() where kind = 'command';
select pg_temp.acts('member');
select lives_ok(pg_temp.say('pause'), 'within the budget: ' || n) from generate_series(1, 2) n;
select throws_ok(pg_temp.say('pause'), 'PT429', 'too many commands', 'beyond the budget');
select throws_ok($$insert into public.commands (id, request_id, kind, argument) values ('e0000000-0000-0000-0000-000000000001', 'running', 'reprioritise', 'urgent')$$, '23505', null, 'a replay is told so, budget or not');
select pg_temp.acts('viewer');
select throws_ok(pg_temp.say('pause'), '42501', null, 'who has no right hears of no budget');
select pg_temp.owner();
update private.accounts set commands_per_minute = 4, member_share = 0.5 where project = 'our-project';
update private.budgets set tokens = 4, refilled_at = clock_timestamp() where kind = 'command';
update private.member_budgets set tokens = 2, refilled_at = clock_timestamp() where kind = 'command';
select pg_temp.acts('member');
select lives_ok(pg_temp.say('pause'), 'within a member''s budget: ' || n) from generate_series(1, 2) n;
select throws_ok(pg_temp.say('pause'), 'PT429', 'too many commands of yours', 'beyond a member''s budget');
select lives_ok(pg_temp.submit(), 'which is none of what it submits');
select pg_temp.acts('colleague');
select lives_ok(pg_temp.say('pause'), 'a colleague still has theirs: ' || n) from generate_series(1, 2) n;
select pg_temp.acts('admin');
select throws_ok(pg_temp.say('pause'), 'PT429', 'too many commands', 'and an admin is bound by the organisation''s');
select pg_temp.owner();

select pg_temp.claim('service_role', '{}');
select throws_ok(pg_temp.say('pause', 'there-is-none'), '42501', null, 'a server of the operator''s is told of no such request');
select pg_temp.owner();

select * from finish();
rollback;
