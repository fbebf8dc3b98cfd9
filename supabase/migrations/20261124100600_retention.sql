-- How long things are kept.
--
-- 1. Events and dead letters lie in a partition for each month, made a year ahead; what fits none goes to a default
--    partition, so that nothing ever fails for want of one.
-- 2. They go by the month, never row by row.
-- 3. Partitions lie in `private`: only the whole table is anybody's to read.

-- Makes the partitions of this month, the one before and the coming ones, as far as they are missing.
create function private.create_partitions(months integer default 12) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  kept text;
  month date;
  part text;
begin
  foreach kept in array array['events', 'dead_letters'] loop
    for month in
      select generate_series(date_trunc('month', now()) - interval '1 month', date_trunc('month', now()) + make_interval(months => months), interval '1 month')
    loop
      part := kept || '_' || to_char(month, 'YYYY_MM');
      continue when to_regclass(format('private.%I', part)) is not null;
      begin
        execute format('create table private.%I partition of public.%I for values from (%L) to (%L)',
          part, kept, month::timestamptz, (month + interval '1 month')::timestamptz);
      exception when check_violation then
        -- Rows of that month are in the default partition already: there they stay, and the month's others with them.
        continue;
      end;
      perform private.guard_partition(kept, part);
    end loop;
  end loop;
end $$;

create function private.guard_partition(kept text, part text) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  execute format('alter table private.%I enable row level security', part);
  execute format('revoke all on private.%I from public, anon, authenticated, service_role', part);
  if kept = 'events' then
    execute format('create trigger b_untruncated before truncate on private.%I for each statement execute function private.refuse_change()', part);
  end if;
end $$;

create table private.events_default partition of public.events default;
create table private.dead_letters_default partition of public.dead_letters default;
select private.guard_partition('events', 'events_default'), private.guard_partition('dead_letters', 'dead_letters_default');
select private.create_partitions();

revoke execute on all functions in schema private from public;
