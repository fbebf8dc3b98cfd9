-- Who may see and do what.
--
-- 1. Nothing is anybody's by default: every grant is written here, whatever the project gives to new tables.
-- 2. A grant says which columns, a policy says which rows. Both hold for PostgREST and for the Edge Functions alike,
--    which come with the user's own token.
-- 3. Membership is what `public.memberships` says now; of a token's claims only `sub` counts.
-- 4. Functions that see more than their caller live in `private`, have no search path and are nobody's unless granted.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'headgate_bridge') then
    create role headgate_bridge nologin noinherit;
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'headgate_projector') then
    create role headgate_projector nologin noinherit;
  end if;
  execute format('grant temporary on database %I to headgate_projector', current_database());
end $$;

revoke all on schema private from public, anon, authenticated, service_role;
revoke all on all tables in schema private from public, anon, authenticated, service_role;
revoke all on all sequences in schema private from public, anon, authenticated, service_role;
revoke all on public.organisations, public.memberships, public.bulk_requests, public.commands, public.events, public.dead_letters
  from public, anon, authenticated, service_role;

alter table public.organisations enable row level security;
alter table public.memberships enable row level security;
alter table public.bulk_requests enable row level security;
alter table public.commands enable row level security;
alter table public.events enable row level security;
alter table public.dead_letters enable row level security;
alter table private.accounts enable row level security;
alter table private.rights enable row level security;
alter table private.inputs enable row level security;
alter table private.sequences enable row level security;
alter table private.inbox enable row level security;
alter table private.budgets enable row level security;
alter table private.member_budgets enable row level security;

-- What the policies ask ------------------------------------------------------------------------------------------

-- An array, so that a policy compares a column with it by index, once per statement.
create function private.my_organisations() returns uuid[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(m.organisation_id), '{}') from public.memberships m where m.user_id = (select auth.uid())
$$;

create function private.my_administered_organisations() returns uuid[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(m.organisation_id), '{}') from public.memberships m
  where m.user_id = (select auth.uid()) and m.role = 'admin'
$$;

-- Whether the caller's role in an organisation carries a right: `submit`, or a kind of command.
-- `creator` is who made the request; a right to one's own requests needs it to be the caller.
create function private.may(organisation uuid, kind text, creator uuid default null) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from public.memberships m
    join private.rights r on r.role = m.role
    where m.organisation_id = may.organisation and m.user_id = (select auth.uid()) and r.kind = may.kind
      and (not r.own or may.creator = m.user_id))
$$;

-- Whether the caller may say this to that request; false for a request that is unknown, foreign or another's own matter.
create function private.may_command(request text, kind text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from public.bulk_requests b
    where b.id = may_command.request and private.may(b.organisation_id, may_command.kind, b.created_by))
$$;

revoke execute on all functions in schema private from public, anon, authenticated, service_role;
-- Granted for the policies' sake; without usage of the schema nobody can name them in a query of his own.
grant execute on function private.my_organisations(), private.my_administered_organisations(),
  private.may(uuid, text, uuid), private.may_command(text, text) to authenticated;

-- Clients --------------------------------------------------------------------------------------------------------

grant select on public.organisations, public.memberships, public.bulk_requests, public.commands, public.events, public.dead_letters
  to authenticated;
grant insert (organisation_id, user_id, role), update (role), delete on public.memberships to authenticated;
grant insert (organisation_id, name, idempotency_key, content_sha256, input_sha256, input_bytes, operations,
  priority, ordering, stop_after, grow) on public.bulk_requests to authenticated;
grant insert (id, request_id, kind, argument) on public.commands to authenticated;

create policy "members see their organisations" on public.organisations for select to authenticated
  using (id = any ((select private.my_organisations())::uuid[]));

create policy "members see who belongs to their organisations" on public.memberships for select to authenticated
  using (organisation_id = any ((select private.my_organisations())::uuid[]));
create policy "admins add members" on public.memberships for insert to authenticated
  with check (organisation_id = any ((select private.my_administered_organisations())::uuid[]));
create policy "admins change roles" on public.memberships for update to authenticated
  using (organisation_id = any ((select private.my_administered_organisations())::uuid[]))
  with check (organisation_id = any ((select private.my_administered_organisations())::uuid[]));
create policy "admins remove members" on public.memberships for delete to authenticated
  using (organisation_id = any ((select private.my_administered_organisations())::uuid[]));

create policy "members see their organisations' requests" on public.bulk_requests for select to authenticated
  using (organisation_id = any ((select private.my_organisations())::uuid[]));
create policy "those who may submit do so in their own name" on public.bulk_requests for insert to authenticated
  with check (created_by = (select auth.uid()) and private.may(organisation_id, 'submit'));

create policy "members see their organisations' commands" on public.commands for select to authenticated
  using (organisation_id = any ((select private.my_organisations())::uuid[]));
create policy "those who may command do so in their own name" on public.commands for insert to authenticated
  with check (created_by = (select auth.uid()) and private.may_command(request_id, kind));

create policy "members see their organisations' events" on public.events for select to authenticated
  using (organisation_id = any ((select private.my_organisations())::uuid[]));

create policy "members see their organisations' dead letters" on public.dead_letters for select to authenticated
  using (organisation_id = any ((select private.my_organisations())::uuid[]));

-- Servers of the operator's, by the project's secret key: what clients may do, for every organisation, and who belongs where.
grant select on public.organisations, public.memberships, public.bulk_requests, public.commands, public.events, public.dead_letters
  to service_role;
grant insert (id, name), update (name), delete on public.organisations to service_role;
grant insert (organisation_id, user_id, role), update (role), delete on public.memberships to service_role;
grant insert (organisation_id, name, idempotency_key, content_sha256, input_sha256, input_bytes, operations,
  priority, ordering, stop_after, grow) on public.bulk_requests to service_role;
grant insert (id, request_id, kind, argument) on public.commands to service_role;

-- The bridge -----------------------------------------------------------------------------------------------------

grant usage on schema private, public to headgate_bridge;
grant select on private.inbox, private.accounts, private.inputs, public.bulk_requests to headgate_bridge;
grant update (attempts, last_error, not_before, done_at, recorded_at) on private.inbox to headgate_bridge;

create policy "the bridge reads its inbox" on private.inbox for select to headgate_bridge using (true);
create policy "the bridge keeps its inbox" on private.inbox for update to headgate_bridge using (true) with check (true);
create policy "the bridge reads accounts" on private.accounts for select to headgate_bridge using (true);
create policy "the bridge reads inputs" on private.inputs for select to headgate_bridge using (true);
create policy "the bridge reads requests" on public.bulk_requests for select to headgate_bridge using (true);

-- The projector --------------------------------------------------------------------------------------------------

grant usage on schema public to headgate_projector;
grant select on public.bulk_requests, public.dead_letters to headgate_projector;
grant insert (id, organisation_id, created_by, name, priority, ordering, stop_after, grow, status, version,
  operations_total, operations_succeeded, operations_failed, operations_unprocessed,
  calls_planned, calls_made, calls_retried, rate_per_minute, eta_at, waiting_reason, waiting_cause, waiting_until,
  failures, results_location, error, created_at, finished_at) on public.bulk_requests to headgate_projector;
grant update (priority, status, version,
  operations_total, operations_succeeded, operations_failed, operations_unprocessed,
  calls_planned, calls_made, calls_retried, rate_per_minute, eta_at, waiting_reason, waiting_cause, waiting_until,
  failures, results_location, error, finished_at) on public.bulk_requests to headgate_projector;
grant insert on public.dead_letters to headgate_projector;

create policy "the projector reads requests" on public.bulk_requests for select to headgate_projector using (true);
create policy "the projector adds requests that run already" on public.bulk_requests for insert to headgate_projector
  with check (version > 0);
create policy "the projector keeps requests up to date" on public.bulk_requests for update to headgate_projector
  using (true) with check (true);
create policy "the projector reads dead letters" on public.dead_letters for select to headgate_projector using (true);
create policy "the projector adds dead letters" on public.dead_letters for insert to headgate_projector with check (true);
