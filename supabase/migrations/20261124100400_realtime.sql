-- What is told as it happens: broadcasts on private topics, `request:<id>` and `org:<organisation id>`.
--
-- 1. A message is a hint: `realtime.send` may lose one without a word. It carries the row's revision, by which a
--    client notices a gap and reads the row again.
-- 2. One message for each revision of a request; the organisation's topic hears of new ones, and of status and priority.
-- 3. Members listen, nobody else; nobody sends but these triggers.

-- Ids never meet a cast: a topic of any other shape is nobody's.
create function private.may_listen(topic text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from public.memberships m
    where m.user_id = (select auth.uid()) and may_listen.topic = 'org:' || m.organisation_id
  ) or exists (
    select from public.bulk_requests b
    join public.memberships m on m.organisation_id = b.organisation_id
    where m.user_id = (select auth.uid()) and starts_with(may_listen.topic, 'request:') and b.id = substr(may_listen.topic, 9))
$$;
revoke execute on function private.may_listen(text) from public, anon, service_role;
grant execute on function private.may_listen(text) to authenticated;

create policy "members hear of their organisations and requests" on realtime.messages for select to authenticated
  using (extension = 'broadcast' and (select private.may_listen((select realtime.topic()))));

create function private.tell_of_request() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' then
    perform realtime.send(
      jsonb_build_object(
        'id', new.id, 'organisation', new.organisation_id, 'status', new.status,
        'priority', new.priority, 'order', new.ordering, 'version', new.version, 'revision', new.revision,
        'operations', jsonb_build_object('total', new.operations_total, 'succeeded', new.operations_succeeded,
          'failed', new.operations_failed, 'unprocessed', new.operations_unprocessed),
        'calls', jsonb_build_object('planned', new.calls_planned, 'made', new.calls_made, 'retried', new.calls_retried),
        'rate_per_minute', new.rate_per_minute, 'eta_at', new.eta_at,
        'waiting', jsonb_build_object('reason', new.waiting_reason, 'cause', new.waiting_cause, 'until', new.waiting_until),
        'results_location', new.results_location, 'error', new.error,
        'created_at', new.created_at, 'updated_at', new.updated_at, 'finished_at', new.finished_at),
      'progress', 'request:' || new.id, true);
    if old.status = new.status and old.priority = new.priority then
      return null;
    end if;
  end if;
  perform realtime.send(
    jsonb_build_object('id', new.id, 'name', new.name, 'status', new.status, 'priority', new.priority,
      'revision', new.revision, 'version', new.version),
    'request', 'org:' || new.organisation_id, true);
  return null;
end $$;

create function private.tell_of_command() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object('id', new.id, 'command', new.kind, 'to', new.argument, 'sequence', new.sequence,
      'status', new.status, 'answer', new.answer),
    'command', 'request:' || new.request_id, true);
  return null;
end $$;

create trigger f_tell after insert or update on public.bulk_requests for each row execute function private.tell_of_request();
create trigger f_tell after insert or update on public.commands for each row execute function private.tell_of_command();

revoke execute on function private.tell_of_request(), private.tell_of_command() from public, anon, authenticated, service_role;
