/** What the front door speaks of, as its answers spell it. Instants are ISO 8601 in UTC. */

export type Status =
  | "awaiting_upload"
  | "submitted"
  | "planning"
  | "running"
  | "waiting"
  | "paused"
  | "completed"
  | "cancelled"
  | "failed";
export type Priority = "urgent" | "normal" | "low";
export type CommandKind = "pause" | "resume" | "reprioritise" | "cancel" | "retry_failed";
export type Role = "viewer" | "member" | "admin";

export interface Organisation {
  id: string;
  name: string;
  role: Role;
}

export interface BulkRequest {
  id: string;
  organisation: string;
  name: string;
  status: Status;
  priority: Priority;
  order: "lane" | "strict";
  version: number;
  revision: number;
  operations: { total: number; succeeded: number; failed: number; unprocessed: number };
  calls: { planned: number; made: number; retried: number };
  rate_per_minute: number;
  eta_at: string | null;
  waiting: { reason: string; cause: string; until: string | null };
  failures: Record<string, number>;
  results_location: string | null;
  error: string | null;
  created_at: string;
  updated_at: string;
  finished_at: string | null;
  created_by: string | null;
}

export interface Command {
  id: string;
  request: string;
  command: CommandKind | "finalize";
  to: string | null;
  sequence: number;
  status: "pending" | "accepted" | "refused" | "failed";
  answer: string | null;
}

/** One entry of the audit. */
export interface Entry {
  id: number | string;
  at: string;
  actor: string | null;
  actor_name: string;
  kind: string;
  data: Record<string, unknown>;
}

export interface DeadLetter {
  line: number;
  id: string;
  reason: string;
  applied: "yes" | "no" | "unknown";
}

export interface Wish {
  name: string;
  priority: Priority;
  order: "lane" | "strict";
  stop_after: number;
  grow: boolean;
}

/** How the live connection is. */
export type Link = "joining" | "live" | "broken";
