-- Who belongs where, as it changes.
--
-- 1. Every change is told by an event, unless it changes nothing.
-- 2. An organisation that has an admin keeps one, whatever its admins do to each other and to themselves.
-- 3. That binds whom row-level security binds. What goes by cascade, with an organisation or with a person's account, goes.
--    The operator's servers found organisations without an admin, and mend what is wrong with them: nothing holds them up.

create function private.membership_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and new.role = old.role then
    return null;  -- or the audit could be filled with nothing
  end if;
  perform private.record(coalesce(new.organisation_id, old.organisation_id), null, 'membership',
    jsonb_build_object('user', coalesce(new.user_id, old.user_id), 'from', old.role, 'to', new.role));
  return null;
end $$;

create function private.keep_an_admin() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- Those who go at once go one after the other: each sees who is left by the one before. A lock of the organisation's
  -- row would do that too, and would wait for its deletion, which waits for us.
  perform pg_advisory_xact_lock(hashtextextended('admins of ' || old.organisation_id, 0));
  if not exists (select from public.memberships m where m.organisation_id = old.organisation_id and m.role = 'admin') then
    perform private.refuse('PT409', 'the organisation would be left without an admin', 'make somebody else an admin first');
  end if;
  return null;
end $$;

create trigger a_changed after insert or update or delete on public.memberships for each row
  execute function private.membership_changed();
create trigger b_keep_an_admin after update or delete on public.memberships for each row
  when (old.role = 'admin' and row_security_active('public.memberships')) execute function private.keep_an_admin();

revoke execute on function private.membership_changed(), private.keep_an_admin() from public;
