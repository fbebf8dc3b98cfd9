-- What the bridge says back. Each of these may be said twice: the second time changes nothing.

-- The workflow is there: the request plans, and its input lies in the store.
create function private.request_started(request_id text) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  update public.bulk_requests b set status = 'planning'
    where b.id = request_started.request_id and b.status = 'submitted' and b.version = 0;
  delete from private.inputs i where i.request_id = request_started.request_id;
end $$;

-- The request cannot be started, ever: it fails, and with it what was said to it.
create function private.request_rejected(request_id text, why text) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  organisation uuid;
begin
  if not exists (select from public.bulk_requests b where b.id = request_rejected.request_id) then
    return;
  end if;
  -- A command that comes meanwhile either is here already, or finds the request failed.
  perform private.take_turn(request_rejected.request_id, 0);
  update public.bulk_requests b set status = 'failed', error = why, finished_at = clock_timestamp()
    where b.id = request_rejected.request_id and b.version = 0 and b.status in ('submitted', 'planning')
    returning b.organisation_id into organisation;
  if organisation is null then
    return;
  end if;
  perform private.record(organisation, request_rejected.request_id, 'rejected', jsonb_build_object('why', why));
  update private.inbox i set done_at = clock_timestamp(), last_error = coalesce(i.last_error, why)
    where i.request_id = request_rejected.request_id and i.done_at is null;
  update public.commands c set status = 'failed', answer = why, answered_at = clock_timestamp()
    where c.request_id = request_rejected.request_id and c.status = 'pending';
  delete from private.inputs i where i.request_id = request_rejected.request_id;
end $$;

-- What became of a command: accepted, refused or failed. The first answer stays, unless it was that the command is recorded.
create function private.command_answered(command_id uuid, status text, answer text) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  if command_answered.status not in ('accepted', 'refused', 'failed') then
    raise exception using errcode = '22023', message = 'a command is answered accepted, refused or failed';
  end if;
  update public.commands c
    set status = command_answered.status, answer = command_answered.answer, answered_at = clock_timestamp()
    where c.id = command_answered.command_id and (c.status = 'pending' or (
      (c.status, c.answer) is distinct from (command_answered.status, command_answered.answer)
      and exists (
        select from private.inbox i
        where i.request_id = c.request_id and i.sequence = c.sequence and i.command_id = c.id and i.recorded_at is not null)));
end $$;

-- A request that is over in Temporal and could not say so itself. What its last word did not count stays as it was told last.
create function private.request_ended(request_id text, status text, why text,
  total bigint default null, succeeded bigint default null, failed bigint default null, unprocessed bigint default null) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  organisation uuid;
begin
  if request_ended.status not in ('completed', 'cancelled', 'failed') then
    raise exception using errcode = '22023', message = 'a request ends completed, cancelled or failed';
  end if;
  update public.bulk_requests b set status = request_ended.status, error = why, finished_at = clock_timestamp(),
      waiting_reason = '', waiting_cause = '', waiting_until = null, eta_at = null, rate_per_minute = 0,
      operations_total = coalesce(total, b.operations_total),
      operations_succeeded = coalesce(succeeded, b.operations_succeeded),
      operations_failed = coalesce(request_ended.failed, b.operations_failed),
      operations_unprocessed = coalesce(unprocessed, b.operations_unprocessed)
    where b.id = request_ended.request_id and b.finished_at is null and b.status <> 'awaiting_upload'
    returning b.organisation_id into organisation;
  if organisation is null then
    return;
  end if;
  perform private.record(organisation, request_ended.request_id, 'ended', jsonb_build_object('status', request_ended.status, 'why', why));
  delete from private.inputs i where i.request_id = request_ended.request_id;
end $$;

revoke execute on function private.request_started(text), private.request_rejected(text, text),
  private.command_answered(uuid, text, text),
  private.request_ended(text, text, text, bigint, bigint, bigint, bigint) from public, anon, authenticated, service_role;
grant execute on function private.request_started(text), private.request_rejected(text, text),
  private.command_answered(uuid, text, text),
  private.request_ended(text, text, text, bigint, bigint, bigint, bigint) to headgate_bridge;
