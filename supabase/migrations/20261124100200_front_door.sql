-- What happens when a request or a command comes in.
--
-- 1. Row, event and inbox row are one transaction: what is answered is kept, and what is kept is done.
-- 2. Who has no right to a request is told the same whether it exists or not.
-- 3. Rights come before everything else, then replays, then budgets: a repeated submit costs nothing.
-- 4. Per request, sequences follow the order of commits without a gap: a row lock is held from number to commit.
-- 5. Rows with a version above 0 are told by Temporal (retries): they need no bridge.
-- 6. Events are never changed, by nobody. They tell what somebody did or should know of, not each turn in the line.

-- Raises in PostgREST's words: PTnnn is the HTTP status. ---------------------------------------------------------

create function private.refuse(code text, why text, what_to_do text default null) returns void
language plpgsql security invoker set search_path = '' as $$
begin
  if what_to_do is null then
    raise exception using errcode = code, message = why;
  end if;
  raise exception using errcode = code, message = why, hint = what_to_do;
end $$;

-- The person behind a change, by name: the e-mail address, else the id, else the database role of a server.
create function private.actor_name() returns text
language sql stable security definer set search_path = '' as $$
  select coalesce(
    (select coalesce(nullif(u.email, ''), u.id::text) from auth.users u where u.id = (select auth.uid())),
    (select auth.uid())::text,
    nullif(current_setting('role', true), 'none'),
    session_user::text)
$$;

create function private.record(organisation uuid, request text, kind text, data jsonb) returns void
language sql volatile security definer set search_path = '' as $$
  insert into public.events (organisation_id, request_id, actor, actor_name, kind, data)
  values (organisation, request, (select auth.uid()), private.actor_name(), kind, data)
$$;

-- A token bucket holds as many as a minute allows, and is refilled evenly.
create function private.refilled(tokens double precision, at timestamptz, per_minute double precision) returns double precision
language sql volatile security invoker set search_path = '' as $$
  select least(per_minute, tokens + greatest(0, extract(epoch from clock_timestamp() - at)) * per_minute / 60)
$$;

create function private.refuse_beyond(left_over double precision, per_minute double precision, why text) returns void
language plpgsql security invoker set search_path = '' as $$
begin
  if left_over < 0 then
    perform private.refuse('PT429', why, greatest(1, ceil(-left_over * 60 / per_minute))::text);
  end if;
end $$;

-- Takes one from the caller's bucket and one from the organisation's, or refuses with the seconds to wait as the hint.
-- The caller's comes first: who is beyond it never waits for the organisation's, nor keeps others waiting for that.
-- Who has nobody to share with has the whole of it.
create function private.spend(organisation uuid, kind text) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  per_minute double precision;
  members_own double precision;
  left_over double precision;
begin
  select p.per_minute, case when p.member_share < 1 then greatest(1, p.per_minute * p.member_share) end into per_minute, members_own
    from (
      select case spend.kind when 'submit' then a.submits_per_minute else a.commands_per_minute end as per_minute, a.member_share
      from private.accounts a where a.organisation_id = spend.organisation) p;
  if per_minute is null then
    perform private.refuse('PT403', 'this organisation has no account', 'ask the operator to give it a project');
  end if;
  begin
    insert into private.member_budgets as b (organisation_id, user_id, kind, tokens, refilled_at)
      select m.organisation_id, m.user_id, spend.kind, members_own - 1, clock_timestamp()
      from public.memberships m where m.organisation_id = spend.organisation and m.user_id = (select auth.uid()) and members_own is not null
        and exists (
          select from public.memberships o where o.organisation_id = m.organisation_id and o.user_id <> m.user_id and o.role <> 'viewer')
      on conflict on constraint member_budgets_pkey do update set
        tokens = private.refilled(b.tokens, b.refilled_at, members_own) - 1, refilled_at = clock_timestamp()
      returning b.tokens into left_over;
  exception when foreign_key_violation then
    -- The membership ended while we came: this is their first call, and there is nobody left to hold a bucket.
    perform private.refuse('42501', 'you do not belong to this organisation any more');
  end;
  perform private.refuse_beyond(left_over, members_own,
    case spend.kind when 'submit' then 'too many requests submitted by you' else 'too many commands of yours' end);
  insert into private.budgets as b (organisation_id, kind, tokens, refilled_at)
    values (spend.organisation, spend.kind, per_minute - 1, clock_timestamp())
    on conflict on constraint budgets_pkey do update set
      tokens = private.refilled(b.tokens, b.refilled_at, per_minute) - 1, refilled_at = clock_timestamp()
    returning b.tokens into left_over;
  perform private.refuse_beyond(left_over, per_minute,
    case spend.kind when 'submit' then 'too many requests submitted' else 'too many commands' end);
end $$;

-- Requests -------------------------------------------------------------------------------------------------------

create function private.check_submit() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not private.may(new.organisation_id, 'submit') then
    perform private.refuse('42501', 'you may not submit requests for this organisation');
  end if;
  return new;
end $$;

create function private.receive_request() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.idempotency_key is not null and exists (
    select from public.bulk_requests b
    where b.organisation_id = new.organisation_id and b.idempotency_key = new.idempotency_key)
  then
    perform private.refuse('23505', 'a request with this idempotency key exists');
  end if;
  perform private.spend(new.organisation_id, 'submit');
  new.created_by := coalesce(new.created_by, (select auth.uid()));
  if new.operations is not null then
    if octet_length(new.operations) not between 1 and 1048576 then
      perform private.refuse('23514', 'operations take 1 byte to 1 MiB', 'upload a larger file');
    end if;
    if new.input_sha256 <> encode(sha256(convert_to(new.operations, 'UTF8')), 'hex') or new.input_bytes <> octet_length(new.operations) then
      perform private.refuse('23514', 'input_sha256 and input_bytes are not those of operations');
    end if;
    new.input_sha256 := encode(sha256(convert_to(new.operations, 'UTF8')), 'hex');
    new.input_bytes := octet_length(new.operations);
    new.input_path := null;
    new.status := 'submitted';
    insert into private.inputs (request_id, content) values (new.id, new.operations);
    new.operations := null;
  else
    if new.input_sha256 is null or new.input_bytes is null then
      perform private.refuse('23514', 'a request has operations, or input_sha256 and input_bytes of a file to upload');
    end if;
    new.input_path := new.organisation_id || '/' || new.id;
    new.status := 'awaiting_upload';
  end if;
  return new;
end $$;

create function private.request_received() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform private.record(new.organisation_id, new.id, 'submitted', jsonb_build_object('status', new.status, 'name', new.name));
  if new.version = 0 and new.status = 'submitted' then
    perform private.enqueue(new.id, 0, 'start', null, '{}');
  end if;
  return null;
end $$;

create function private.enqueue(request text, sequence integer, kind text, command uuid, data jsonb) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  insert into private.inbox (request_id, sequence, kind, command_id, data) values (request, sequence, kind, command, data);
  -- A hint that there is something to do; the bridge looks by itself as well.
  perform pg_notify('headgate_inbox', '');
end $$;

create function private.request_changes() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.revision := old.revision + 1;
  new.updated_at := clock_timestamp();
  return new;
end $$;

-- What keeps a request from its turn. A cause that only says that it stands in the line is none: its turn comes, and the
-- next one's, up to once a second for days. The same causes as `IN_THE_LINE` in headgate/projections.py.
create function private.held_up_by(status text, cause text) returns text
language sql immutable security invoker set search_path = '' as $$
  select case when held_up_by.status in ('running', 'waiting')
    and held_up_by.cause not in ('', 'quota', 'used_by_others', 'spacing', 'behind', 'throttled', 'retries')
    then held_up_by.cause else '' end
$$;

-- Between `running` and `waiting` only a cause makes the difference: whoever stands in the line is told as running.
create function private.status_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  was_held_by text := private.held_up_by(old.status, old.waiting_cause);
  is_held_by text := private.held_up_by(new.status, new.waiting_cause);
  was text := case when was_held_by <> '' then 'waiting' when old.status = 'waiting' then 'running' else old.status end;
  becomes text := case when is_held_by <> '' then 'waiting' when new.status = 'waiting' then 'running' else new.status end;
begin
  if (was, was_held_by) <> (becomes, is_held_by) then
    perform private.record(new.organisation_id, new.id, 'status',
      jsonb_strip_nulls(jsonb_build_object('from', was, 'to', becomes, 'cause', nullif(is_held_by, ''))));
  end if;
  return null;
end $$;

-- Triggers fire in the order of their names. Rights are asked of those whom row-level security binds.
create trigger a_may_submit before insert on public.bulk_requests for each row
  when (new.version = 0 and row_security_active('public.bulk_requests')) execute function private.check_submit();
create trigger b_receive before insert on public.bulk_requests for each row
  when (new.version = 0) execute function private.receive_request();
create trigger c_received after insert on public.bulk_requests for each row
  execute function private.request_received();
create trigger d_changes before update on public.bulk_requests for each row
  execute function private.request_changes();
create trigger e_status after update on public.bulk_requests for each row
  when ((old.status, old.waiting_cause) <> (new.status, new.waiting_cause))
  execute function private.status_changed();

-- Commands -------------------------------------------------------------------------------------------------------

create function private.check_command() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not private.may_command(new.request_id, new.kind) then
    perform private.refuse('42501', 'you may not say this to this request, or there is no such request');
  end if;
  return new;
end $$;

-- Whether the file of a request lies in Storage, as long as it was declared where Storage says how long it is.
create function private.is_uploaded(path text, bytes bigint) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from storage.objects o
    where o.bucket_id = 'inputs' and o.name = is_uploaded.path
      and case when o.metadata ->> 'size' ~ '^[0-9]{1,18}$' then (o.metadata ->> 'size')::bigint = is_uploaded.bytes else true end)
$$;

-- The last number of a request, moved on by `step`. The row stays locked until commit: whoever comes next, for a number
-- or for the request's state before it runs, finds the request as we leave it.
create function private.take_turn(request text, step integer) returns integer
language sql volatile security definer set search_path = '' as $$
  insert into private.sequences as s (request_id, last) values (request, step)
  on conflict on constraint sequences_pkey do update set last = s.last + step returning s.last
$$;

create function private.receive_command() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  request public.bulk_requests;
begin
  select b.organisation_id into new.organisation_id from public.bulk_requests b where b.id = new.request_id;
  if new.organisation_id is null then
    perform private.refuse('42501', 'you may not say this to this request, or there is no such request');
  end if;
  if exists (select from public.commands c where c.id = new.id) then
    perform private.refuse('23505', 'a command with this id exists');
  end if;
  perform private.spend(new.organisation_id, 'command');
  -- Who says the same meanwhile waits, and is told so: a row that `on conflict do nothing` skips would take a number with it.
  perform pg_advisory_xact_lock(hashtextextended(new.id::text, 0));
  if exists (select from public.commands c where c.id = new.id) then
    perform private.refuse('23505', 'a command with this id exists');
  end if;
  new.created_by := coalesce(new.created_by, (select auth.uid()));
  new.sequence := private.take_turn(new.request_id, 1);
  select * into request from public.bulk_requests b where b.id = new.request_id;
  if new.kind = 'finalize' then
    if request.status <> 'awaiting_upload' then
      perform private.refuse('PT409', 'this request awaits no upload');
    end if;
    if not private.is_uploaded(request.input_path, request.input_bytes) then
      perform private.refuse('PT409', 'the file is not there, or not as long as it was declared', 'upload it, then finalize again');
    end if;
    new.status := 'accepted';
  elsif request.status = 'awaiting_upload' then
    if new.kind <> 'cancel' then
      perform private.refuse('PT409', 'this request still awaits its upload', 'finalize or cancel it');
    end if;
    new.status := 'accepted';
  elsif request.version = 0 and request.status in ('cancelled', 'failed') then
    perform private.refuse('PT409', 'this request was over before it began');
  end if;
  if new.status = 'accepted' then
    new.answered_at := clock_timestamp();
  end if;
  return new;
end $$;

create function private.command_received() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform private.record(new.organisation_id, new.request_id, 'command',
    jsonb_strip_nulls(jsonb_build_object('command', new.kind, 'to', new.argument, 'id', new.id, 'sequence', new.sequence)));
  if new.status = 'pending' then
    perform private.enqueue(new.request_id, new.sequence, new.kind, new.id,
      jsonb_build_object('to', new.argument, 'by', private.actor_name()));
  else
    -- Of several rows of one statement each was checked before the first one took effect here.
    update public.bulk_requests b
      set status = case new.kind when 'finalize' then 'submitted' else 'cancelled' end,
        finished_at = case new.kind when 'cancel' then clock_timestamp() end
      where b.id = new.request_id and b.status = 'awaiting_upload';
    if not found then
      perform private.refuse('PT409', 'this request awaits no upload', 'say one thing at a time');
    end if;
    if new.kind = 'finalize' then
      perform private.enqueue(new.request_id, 0, 'start', null, '{}');
    end if;
    perform private.record(new.organisation_id, new.request_id, 'answered',
      jsonb_build_object('id', new.id, 'status', new.status, 'answer', new.answer));
  end if;
  return null;
end $$;

create function private.command_answered_in_row() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform private.record(new.organisation_id, new.request_id, 'answered',
    jsonb_build_object('id', new.id, 'status', new.status, 'answer', new.answer));
  return null;
end $$;

create trigger a_may_command before insert on public.commands for each row
  when (row_security_active('public.commands')) execute function private.check_command();
create trigger b_receive before insert on public.commands for each row execute function private.receive_command();
create trigger c_received after insert on public.commands for each row execute function private.command_received();
create trigger d_answered after update on public.commands for each row
  when (old.status <> new.status or old.answer is distinct from new.answer)
  execute function private.command_answered_in_row();

-- Events ---------------------------------------------------------------------------------------------------------

create function private.refuse_change() returns trigger
language plpgsql security invoker set search_path = '' as $$
begin
  raise exception using errcode = '42501', message = 'events are never changed', hint = 'they go with their partition, when its time is over';
end $$;

create trigger a_unchanged before update or delete on public.events for each row execute function private.refuse_change();
create trigger b_untruncated before truncate on public.events for each statement execute function private.refuse_change();

revoke execute on all functions in schema private from public;
