-- Who sees what, table by table. Descriptions begin with the policy that they are about, then `yes` or `no`.
begin;
\ir seed.psql
select no_plan();

create temporary table seen (what text, who text, ours bigint, theirs bigint);
grant all on seen to public;
create function pg_temp.look(who text) returns void language sql as $$
  insert into seen
  select 'organisations', who, count(*) filter (where id = 'a0000000-0000-0000-0000-000000000001'),
    count(*) filter (where id = 'b0000000-0000-0000-0000-000000000001') from public.organisations
  union all select 'memberships', who, count(*) filter (where organisation_id = 'a0000000-0000-0000-0000-000000000001'),
    count(*) filter (where organisation_id = 'b0000000-0000-0000-0000-000000000001') from public.memberships
  union all select 'requests', who, count(*) filter (where organisation_id = 'a0000000-0000-0000-0000-000000000001'),
    count(*) filter (where organisation_id = 'b0000000-0000-0000-0000-000000000001') from public.bulk_requests
  union all select 'commands', who, count(*) filter (where organisation_id = 'a0000000-0000-0000-0000-000000000001'),
    count(*) filter (where organisation_id = 'b0000000-0000-0000-0000-000000000001') from public.commands
  union all select 'events', who, count(*) filter (where organisation_id = 'a0000000-0000-0000-0000-000000000001'),
    count(*) filter (where organisation_id = 'b0000000-0000-0000-0000-000000000001') from public.events
  union all select 'dead letters', who, count(*) filter (where organisation_id = 'a0000000-0000-0000-0000-000000000001'),
    count(*) filter (where organisation_id = 'b0000000-0000-0000-0000-000000000001') from public.dead_letters
$$;

-- What there is, counted by the owner, whom row-level security does not bind.
select pg_temp.look('owner');
select ok(bool_and(ours > 0 and theirs > 0), 'there is something of both organisations to be seen in every table') from seen;

select pg_temp.acts('viewer'); select pg_temp.look('viewer');
select pg_temp.acts('member'); select pg_temp.look('member');
select pg_temp.acts('admin'); select pg_temp.look('admin');
select pg_temp.acts('stranger'); select pg_temp.look('stranger');
select pg_temp.acts('nobody'); select pg_temp.look('nobody');
-- A signed token whose claims say more than the memberships do.
select pg_temp.claim('authenticated', jsonb_build_object('sub', gen_random_uuid())); select pg_temp.look('unknown sub');
select pg_temp.claim('authenticated', '{}'); select pg_temp.look('no sub');
select pg_temp.claim('authenticated', jsonb_build_object('sub', pg_temp.person('nobody'),
  'user_role', 'admin', 'organisation_id', 'a0000000-0000-0000-0000-000000000001', 'email', 'admin@example.org',
  'user_metadata', jsonb_build_object('role', 'service_role', 'organisation_id', 'a0000000-0000-0000-0000-000000000001'),
  'app_metadata', jsonb_build_object('role', 'admin', 'organisations', jsonb_build_array('a0000000-0000-0000-0000-000000000001'))));
select pg_temp.look('forged claims');
select set_config('request.jwt.claims', '', true), set_config('role', 'authenticated', true); select pg_temp.look('no claims');
-- The claim alone makes nobody a server: the role of the session is what counts.
select set_config('request.jwt.claims', '{"role": "service_role"}', true), set_config('role', 'authenticated', true);
select pg_temp.look('role claimed');
select pg_temp.claim('service_role', '{}'); select pg_temp.look('service_role');
select pg_temp.owner();

create temporary view policies as select * from (values
  ('organisations', 'members see their organisations'),
  ('memberships', 'members see who belongs to their organisations'),
  ('requests', 'members see their organisations'' requests'),
  ('commands', 'members see their organisations'' commands'),
  ('events', 'members see their organisations'' events'),
  ('dead letters', 'members see their organisations'' dead letters')) p (what, policy);

select is(s.ours, o.ours, policy || ': yes, a ' || s.who || ' sees all of ours')
  from seen s join seen o on o.what = s.what and o.who = 'owner' join policies p on p.what = s.what
  where s.who in ('viewer', 'member', 'admin') order by s.what, s.who;
select is(s.theirs, 0::bigint, policy || ': no, a ' || s.who || ' sees nothing of theirs')
  from seen s join policies p on p.what = s.what where s.who in ('viewer', 'member', 'admin') order by s.what, s.who;
select is(s.theirs, o.theirs, policy || ': yes, a stranger sees all of theirs')
  from seen s join seen o on o.what = s.what and o.who = 'owner' join policies p on p.what = s.what where s.who = 'stranger' order by s.what;
select is(s.ours, 0::bigint, policy || ': no, a stranger sees nothing of ours')
  from seen s join policies p on p.what = s.what where s.who = 'stranger' order by s.what;
select is(s.ours + s.theirs, 0::bigint, policy || ': no, nothing is seen with ' || s.who)
  from seen s join policies p on p.what = s.what
  where s.who in ('nobody', 'unknown sub', 'no sub', 'forged claims', 'no claims', 'role claimed') order by s.what, s.who;
select is(s.ours + s.theirs, o.ours + o.theirs, 'the operator''s servers see all ' || s.what)
  from seen s join seen o on o.what = s.what and o.who = 'owner' where s.who = 'service_role' order by s.what;

-- A `sub` that is no id is refused, not read as anybody.
select pg_temp.claim('authenticated', '{"sub": "'' or true --"}');
select throws_ok('select * from public.bulk_requests', '22P02', null, 'a sub that is no id is refused');
select throws_ok('select * from public.organisations', '22P02', null, 'a sub that is no id is refused of organisations too');
select pg_temp.owner();

-- Anonymous: nothing at all.
select pg_temp.claim('anon', '{}');
select throws_ok('select * from public.' || t, '42501', 'permission denied for table ' || t, 'anon may not read ' || t)
  from unnest(array['organisations', 'memberships', 'bulk_requests', 'commands', 'events', 'dead_letters']) t;
select throws_ok('insert into public.' || t || ' default values', '42501', 'permission denied for table ' || t, 'anon may not write ' || t)
  from unnest(array['organisations', 'memberships', 'bulk_requests', 'commands', 'events', 'dead_letters']) t;
-- A token of anon's with somebody's sub in it stays anonymous.
select pg_temp.claim('anon', jsonb_build_object('sub', pg_temp.person('admin')));
select throws_ok('select * from public.bulk_requests', '42501', null, 'anon with the sub of an admin may not read requests');
select pg_temp.owner();

-- A membership that ends, ends at once.
delete from public.memberships where user_id = pg_temp.person('viewer');
select pg_temp.acts('viewer');
select is_empty('select * from public.bulk_requests', 'who was removed sees no request any more');
select is_empty('select * from public.organisations', 'who was removed sees no organisation any more');
select pg_temp.owner();

-- A deleted user's memberships are gone with them, an organisation's rows with it; its events stay.
delete from public.organisations where name = 'Theirs';
select is_empty($$select id from public.bulk_requests where id like 'foreign%'$$, 'requests go with their organisation');
select isnt_empty($$select id from public.events where request_id = 'foreign'$$, 'events outlive their organisation');

select * from finish();
rollback;
