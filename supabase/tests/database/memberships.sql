-- Who belongs where: admins decide for their own organisation, nobody else, and every change is told.
begin;
\ir seed.psql
select no_plan();

create function pg_temp.add(who text, role text, organisation text default 'a0000000-0000-0000-0000-000000000001') returns text language sql as $$
  select format('insert into public.memberships (organisation_id, user_id, role) values (%L, %L, %L)', organisation, pg_temp.person(who), role)
$$;

select pg_temp.acts('admin');
select lives_ok(pg_temp.add('nobody', 'viewer'), 'admins add members: yes, to their own organisation');
select throws_ok(pg_temp.add('nobody', 'admin', 'b0000000-0000-0000-0000-000000000001'), '42501', 'new row violates row-level security policy for table "memberships"',
  'admins add members: no, not to a foreign organisation');
select throws_ok(pg_temp.add('admin', 'admin', 'b0000000-0000-0000-0000-000000000001'), '42501', null, 'admins add members: no, not themselves to a foreign organisation');
select throws_ok(pg_temp.add('stranger', 'owner'), '23514', null, 'an unknown role is refused');
select throws_ok(pg_temp.add('stranger', $$admin'; drop table public.memberships; --$$), '23514', null, 'SQL as a role is refused');

-- How many rows a statement met; -1 for one that was refused.
create function pg_temp.met(how text) returns bigint language plpgsql as $$
declare
  met bigint;
begin
  execute how;
  get diagnostics met = row_count;
  return met;
exception when others then
  return -1;
end $$;
select is(pg_temp.met($$update public.memberships set role = 'member' where user_id = pg_temp.person('nobody')$$), 1::bigint, 'admins change roles: yes, in their own organisation');
update public.memberships set role = role where user_id = pg_temp.person('nobody'); -- which changes nothing, and is told by no event
select is(pg_temp.met($$update public.memberships set role = 'viewer' where organisation_id = 'b0000000-0000-0000-0000-000000000001'$$), 0::bigint, 'admins change roles: no, not in a foreign one');
select is(pg_temp.met($$delete from public.memberships where organisation_id = 'b0000000-0000-0000-0000-000000000001'$$), 0::bigint, 'admins remove members: no, not of a foreign organisation');
select throws_ok(format('update public.memberships set %I = %I', c, c), '42501', 'permission denied for table memberships', 'nobody changes ' || c)
  from unnest(array['organisation_id', 'user_id', 'created_at']) c;
select throws_ok($$insert into public.memberships (organisation_id, user_id, role, created_at) values ('a0000000-0000-0000-0000-000000000001', pg_temp.person('stranger'), 'viewer', now())$$,
  '42501', 'permission denied for table memberships', 'nor gives created_at');

create temporary table told as select pg_temp.person('nobody') as id;
select pg_temp.owner();
select results_eq($$select actor, data from public.events where kind = 'membership' and data ->> 'user' = pg_temp.person('nobody')::text order by id$$,
  $$values (pg_temp.person('admin'), jsonb_build_object('user', pg_temp.person('nobody'), 'from', null, 'to', 'viewer')),
           (pg_temp.person('admin'), jsonb_build_object('user', pg_temp.person('nobody'), 'from', 'viewer', 'to', 'member'))$$, 'events tell who let whom in as what');

-- Members and viewers decide nothing, least of all about themselves.
create function pg_temp.meddle(who text, how text) returns bigint language plpgsql as $$
declare
  met bigint;
begin
  perform pg_temp.acts(who);
  met := pg_temp.met(how);
  perform pg_temp.owner();
  return met;
end $$;
select is(pg_temp.meddle(who, 'update public.memberships set role = ''admin'''), 0::bigint, 'admins change roles: no, a ' || who || ' changes none') from unnest(array['viewer', 'member']) who;
select is(pg_temp.meddle(who, 'delete from public.memberships'), 0::bigint, 'admins remove members: no, a ' || who || ' removes nobody') from unnest(array['viewer', 'member']) who;
select pg_temp.acts('member');
select throws_ok(pg_temp.add('stranger', 'viewer'), '42501', null, 'admins add members: no, a member adds nobody');
select throws_ok(pg_temp.add('member', 'admin') || ' on conflict (organisation_id, user_id) do update set role = ''admin''', '42501', null, 'admins change roles: no, not by an upsert');
select pg_temp.acts('viewer');
select throws_ok(pg_temp.add('stranger', 'viewer'), '42501', null, 'admins add members: no, a viewer adds nobody');
select pg_temp.claim('authenticated', jsonb_build_object('sub', pg_temp.person('viewer'), 'app_metadata', jsonb_build_object('role', 'admin')));
select throws_ok(pg_temp.add('stranger', 'viewer'), '42501', null, 'admins add members: no, not by forged claims');
select pg_temp.claim('anon', jsonb_build_object('sub', pg_temp.person('admin')));
select throws_ok(pg_temp.add('stranger', 'viewer'), '42501', 'permission denied for table memberships', 'anon adds nobody');

select pg_temp.acts('admin');
select is(pg_temp.met($$delete from public.memberships where user_id = pg_temp.person('nobody')$$), 1::bigint, 'admins remove members: yes, of their own organisation');
select pg_temp.owner();

-- The last admin stays one.
create function pg_temp.last_one(what text) returns text language sql as $$
  select throws_ok(format(what, pg_temp.person('admin')), 'PT409', 'the organisation would be left without an admin', 'the last admin stays: ' || what)
$$;
select pg_temp.acts('admin');
select pg_temp.last_one(what) from unnest(array['delete from public.memberships where user_id = %L', 'delete from public.memberships',
  'update public.memberships set role = ''member'' where user_id = %L', 'update public.memberships set role = ''viewer''']) what;
select lives_ok($$update public.memberships set role = 'admin' where user_id = pg_temp.person('admin')$$, 'who stays an admin may say so');
select lives_ok($$update public.memberships set role = case user_id when pg_temp.person('admin') then 'member' else 'admin' end
  where user_id in (pg_temp.person('admin'), pg_temp.person('colleague'))$$, 'an admin hands over in one statement');
select pg_temp.acts('colleague');
select lives_ok($$update public.memberships set role = 'admin' where user_id = pg_temp.person('admin')$$, 'of two admins');
select lives_ok($$delete from public.memberships where user_id = pg_temp.person('colleague')$$, 'one may leave');
select pg_temp.acts('admin');
select pg_temp.last_one('delete from public.memberships where user_id = %L');
select lives_ok($$delete from public.memberships where user_id = pg_temp.person('viewer')$$, 'others may be removed by the last one');
select pg_temp.owner();
select is(role, 'admin', 'who is still there') from public.memberships where user_id = pg_temp.person('admin');
select results_eq($$select data ->> 'from', data ->> 'to' from public.events where kind = 'membership' and data ->> 'user' = pg_temp.person('admin')::text order by id offset 1$$,
  $$values ('admin'::text, 'member'::text), ('member', 'admin')$$, 'events tell of what was done, not of what was refused');
savepoint gone;
select lives_ok($$delete from auth.users where id = pg_temp.person('admin')$$, 'a person whose account ends is no admin of anything');
select is(count(*), 0::bigint, 'be it the last one') from public.memberships where organisation_id = 'a0000000-0000-0000-0000-000000000001' and role = 'admin';
rollback to gone;
select pg_temp.claim('service_role', '{}');
select lives_ok($$delete from public.memberships where user_id = pg_temp.person('admin')$$, 'the operator''s servers remove whom they will');
select lives_ok($$delete from public.organisations where id = 'b0000000-0000-0000-0000-000000000001'$$, 'and end an organisation, with its admins');
select pg_temp.owner();

-- The operator's servers found organisations.
select pg_temp.claim('service_role', '{}');
select lives_ok($$insert into public.organisations (id, name) values ('d0000000-0000-0000-0000-000000000001', 'New')$$, 'a server founds an organisation');
select lives_ok(pg_temp.add('nobody', 'admin', 'd0000000-0000-0000-0000-000000000001'), 'and names its first admin');
select lives_ok($$update public.organisations set name = 'Newer' where name = 'New'$$, 'renames it');
select lives_ok($$delete from public.organisations where name = 'Newer'$$, 'and ends it');
select pg_temp.owner();

select * from finish();
rollback;
