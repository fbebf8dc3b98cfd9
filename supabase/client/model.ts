/** What the front door speaks of, spelt as in its answers. Instants are ISO 8601 in UTC. */

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

export interface BulkRequest {
  id: string;
  organisation: string;
  name: string;
  status: Status;
  priority: Priority;
  order: "lane" | "strict";
  /** Temporal's: grows with what the workflow says of itself. */
  version: number;
  /** The row's: grows by 1 with each change. */
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
  command: CommandKind | "finalize";
  to: Priority | null;
  sequence: number;
  status: "pending" | "accepted" | "refused" | "failed";
  answer: string | null;
}

export interface HistoryEvent {
  id: number;
  at: string;
  /** The user's id; null: headgate itself. */
  actor: string | null;
  actor_name: string;
  kind: string;
  data: Record<string, unknown>;
}

export interface DeadLetter {
  line: number;
  /** The operation's. */
  id: string;
  reason: string;
  /** Whether it took effect all the same. */
  applied: "yes" | "no" | "unknown";
}

export interface RequestPage {
  requests: BulkRequest[];
  /** Give it as `before` for what comes after; null: that was all. */
  next: string | null;
}

export interface History {
  request: BulkRequest;
  events: HistoryEvent[];
  commands: Command[];
  dead_letters: DeadLetter[];
  next: string | null;
}

/** What is to be done: either `operations` (at most 1 MiB as JSON Lines), or a `file` of JSON Lines to upload. */
export interface Submission {
  organisation: string;
  name?: string;
  /** One per intended request: with it a repeated call is the same request. Drawn, if you give none. */
  idempotency_key?: string;
  priority?: Priority;
  order?: "lane" | "strict";
  stop_after?: number;
  grow?: boolean;
  operations?: readonly object[] | string;
  file?: Blob | Uint8Array | string;
}

/** Whether nothing more will happen to a request: a cancelled one is over once its last calls have ended, and its counts stand. */
export function isOver(request: { finished_at: string | null }): boolean {
  return request.finished_at !== null;
}
