-- Commands that Temporal holds and no worker has answered yet.
--
-- 1. Where no worker runs a command is recorded in Temporal, and its person is told that. Its row is done: nothing waits for it.
-- 2. The row says since when it is recorded, until the bridge has heard what came of it. That replaces the first answer.
-- 3. What was answered by the request itself stays.

alter table private.inbox add column recorded_at timestamptz;
create index inbox_recorded on private.inbox (not_before, id) where recorded_at is not null;
grant update (recorded_at) on private.inbox to headgate_bridge;

-- What became of a command: accepted, refused or failed. The first answer stays, unless it was that the command is recorded.
create or replace function private.command_answered(command_id uuid, status text, answer text) returns void
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

drop trigger d_answered on public.commands;
create trigger d_answered after update on public.commands for each row
  when (old.status <> new.status or old.answer is distinct from new.answer)
  execute function private.command_answered_in_row();
