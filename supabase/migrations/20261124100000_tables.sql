-- What the front door keeps. Temporal is the truth while a request is open; `bulk_requests` is what people read of it.
-- Ids of requests are texts: those of retries, which the workflows draw, are not UUIDs.

create schema if not exists private;

create table public.organisations (
  id uuid primary key default gen_random_uuid(),
  name text not null check (length(name) between 1 and 200),
  created_at timestamptz not null default now()
);

create table public.memberships (
  organisation_id uuid not null references public.organisations on delete cascade,
  user_id uuid not null references auth.users on delete cascade,
  role text not null check (role in ('viewer', 'member', 'admin')),
  created_at timestamptz not null default now(),
  primary key (organisation_id, user_id)
);
create index memberships_by_user on public.memberships (user_id, organisation_id);

-- Operators alone: whose quota pays, and which credentials an organisation's lines may name.
create table private.accounts (
  organisation_id uuid primary key references public.organisations on delete cascade,
  project text not null check (project ~ '^[A-Za-z0-9_.@-]{1,128}$'),
  default_user text not null check (default_user ~ '^[A-Za-z0-9_.@-]{1,128}$'),
  users text[] not null default '{}',
  submits_per_minute integer not null default 60 check (submits_per_minute > 0),
  commands_per_minute integer not null default 120 check (commands_per_minute > 0),
  -- What one member may use up of either; 1 lets one use up all.
  member_share double precision not null default 0.5 check (member_share > 0 and member_share <= 1)
);

create table public.bulk_requests (
  id text primary key default gen_random_uuid()::text check (id ~ '^[A-Za-z0-9_.@-]{1,128}$'),
  organisation_id uuid not null references public.organisations on delete cascade,
  created_by uuid references auth.users on delete set null,
  name text not null default '' check (length(name) <= 200),
  idempotency_key text check (length(idempotency_key) between 1 and 200),
  content_sha256 text check (content_sha256 ~ '^[0-9a-f]{64}$'),
  input_sha256 text check (input_sha256 ~ '^[0-9a-f]{64}$'),
  input_bytes bigint check (input_bytes between 1 and 1073741824),
  input_path text,
  -- Given by a caller and moved to `private.inputs` as it arrives.
  operations text check (operations is null),
  priority text not null default 'normal' check (priority in ('urgent', 'normal', 'low')),
  ordering text not null default 'lane' check (ordering in ('lane', 'strict')),
  stop_after integer not null default 0 check (stop_after between 0 and 1000000),
  grow boolean not null default false,
  status text not null default 'submitted' check (status in (
    'awaiting_upload', 'submitted', 'planning', 'running', 'waiting', 'paused', 'completed', 'cancelled', 'failed')),
  version bigint not null default 0,
  revision bigint not null default 1,
  operations_total bigint not null default 0,
  operations_succeeded bigint not null default 0,
  operations_failed bigint not null default 0,
  operations_unprocessed bigint not null default 0,
  calls_planned bigint not null default 0,
  calls_made bigint not null default 0,
  calls_retried bigint not null default 0,
  rate_per_minute double precision not null default 0,
  eta_at timestamptz,
  waiting_reason text not null default '',
  waiting_cause text not null default '',
  waiting_until timestamptz,
  failures jsonb not null default '{}',
  results_location text,
  error text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  finished_at timestamptz,
  unique (organisation_id, idempotency_key)
);
create index bulk_requests_by_age on public.bulk_requests (organisation_id, created_at desc);
create index bulk_requests_by_status on public.bulk_requests (organisation_id, status);
create index bulk_requests_by_creator on public.bulk_requests (created_by);
create index bulk_requests_by_input on public.bulk_requests (input_path) where input_path is not null;

create table public.commands (
  id uuid primary key default gen_random_uuid(),
  request_id text not null references public.bulk_requests on delete cascade,
  organisation_id uuid not null references public.organisations on delete cascade,
  kind text not null check (kind in ('pause', 'resume', 'reprioritise', 'cancel', 'retry_failed', 'finalize')),
  argument text check ((kind = 'reprioritise') = (argument is not null) and argument in ('urgent', 'normal', 'low')),
  created_by uuid references auth.users on delete set null,
  created_at timestamptz not null default now(),
  sequence integer not null,
  status text not null default 'pending' check (status in ('pending', 'accepted', 'refused', 'failed')),
  answer text,
  answered_at timestamptz,
  unique (request_id, sequence)
);
create index commands_by_organisation on public.commands (organisation_id, created_at desc);
create index commands_by_creator on public.commands (created_by);

-- Which role may say what; of its own requests alone, where `own` is set.
create table private.rights (
  role text not null check (role in ('viewer', 'member', 'admin')),
  kind text not null,
  own boolean not null default false,
  primary key (role, kind)
);
insert into private.rights (role, kind, own) values
  ('member', 'submit', false), ('member', 'pause', false), ('member', 'resume', false),
  ('member', 'reprioritise', false), ('member', 'retry_failed', false),
  ('member', 'cancel', true), ('member', 'finalize', true),
  ('admin', 'submit', false), ('admin', 'pause', false), ('admin', 'resume', false),
  ('admin', 'reprioritise', false), ('admin', 'retry_failed', false),
  ('admin', 'cancel', false), ('admin', 'finalize', true);

-- Append-only; an identity column of a partitioned table would need Postgres 17.
create sequence private.event_ids as bigint;
create table public.events (
  id bigint not null default nextval('private.event_ids'),
  at timestamptz not null default now(),
  organisation_id uuid not null,
  request_id text,
  actor uuid,
  actor_name text not null default '',
  kind text not null,
  data jsonb not null default '{}',
  primary key (at, id)
) partition by range (at);
create index events_by_request on public.events (request_id, at);
create index events_by_organisation on public.events (organisation_id, at desc);

-- Kept by the age of the request, so that the same one projected twice is the same row.
create table public.dead_letters (
  submitted_at timestamptz not null,
  request_id text not null,
  line integer not null,
  operation_id text not null,
  organisation_id uuid not null,
  reason text not null,
  applied text not null default 'no' check (applied in ('yes', 'no', 'unknown')),
  primary key (submitted_at, request_id, line, operation_id)
) partition by range (submitted_at);
create index dead_letters_by_request on public.dead_letters (request_id, line);
create index dead_letters_by_organisation on public.dead_letters (organisation_id);

-- Inline input, until the bridge has put it into the store.
-- Written before its request is (the trigger that takes it away from the row comes first), hence checked at commit.
create table private.inputs (
  request_id text primary key references public.bulk_requests on delete cascade deferrable initially deferred,
  content text not null check (octet_length(content) between 1 and 1048576)
);

-- The last number given to a command of a request; 0 is the start.
create table private.sequences (
  request_id text primary key references public.bulk_requests on delete cascade,
  last integer not null default 0
);

-- What the bridge has to do. Per request the lowest `sequence` that is not done goes first.
create table private.inbox (
  id bigint generated always as identity primary key,
  request_id text not null references public.bulk_requests on delete cascade,
  sequence integer not null,
  kind text not null check (kind in ('start', 'pause', 'resume', 'reprioritise', 'cancel', 'retry_failed')),
  command_id uuid,
  data jsonb not null default '{}',
  created_at timestamptz not null default now(),
  not_before timestamptz not null default now(),
  attempts integer not null default 0,
  last_error text,
  done_at timestamptz,
  -- A command that Temporal holds and no worker has answered yet: its person is told that, its row is done, and the bridge goes
  -- on asking. Since when that is so, until what came of it has replaced the first answer.
  recorded_at timestamptz,
  unique (request_id, sequence)
);
create index inbox_recorded on private.inbox (not_before, id) where recorded_at is not null;
create index inbox_open on private.inbox (not_before, id) where done_at is null;
create index inbox_open_by_request on private.inbox (request_id, sequence) where done_at is null;

-- How much each organisation may still submit and command: a token bucket each.
create table private.budgets (
  organisation_id uuid not null references public.organisations on delete cascade,
  kind text not null check (kind in ('submit', 'command')),
  tokens double precision not null,
  refilled_at timestamptz not null default now(),
  primary key (organisation_id, kind)
);

-- The same for each member; it goes with the membership.
create table private.member_budgets (
  organisation_id uuid not null,
  user_id uuid not null,
  kind text not null check (kind in ('submit', 'command')),
  tokens double precision not null,
  refilled_at timestamptz not null default now(),
  primary key (organisation_id, user_id, kind),
  foreign key (organisation_id, user_id) references public.memberships on delete cascade
);
