/** Rows of the read model, and what the API makes of them. Columns are named, so a new one is not told by accident. */

import type { z } from "zod";
import type { CommandAnswer, DeadLetterAnswer, EventAnswer, RequestAnswer } from "./shapes.ts";

export const REQUEST_COLUMNS = "id,organisation_id,name,status,priority,ordering,version,revision," +
  "operations_total,operations_succeeded,operations_failed,operations_unprocessed," +
  "calls_planned,calls_made,calls_retried,rate_per_minute,eta_at,waiting_reason,waiting_cause,waiting_until," +
  "failures,results_location,error,created_at,updated_at,finished_at,created_by";
/** What submit reads besides: whether a replay is the same, and where its file goes. */
export const SUBMIT_COLUMNS = `${REQUEST_COLUMNS},content_sha256,input_sha256,input_bytes,input_path`;
export const COMMAND_COLUMNS = "id,request_id,kind,argument,sequence,status,answer,created_at,answered_at,created_by";
export const EVENT_COLUMNS = "id,at,actor,actor_name,kind,data";
export const DEAD_LETTER_COLUMNS = "line,operation_id,reason,applied";

type Request = z.infer<typeof RequestAnswer>;
type Command = z.infer<typeof CommandAnswer>;

export interface RequestRow {
  id: string;
  organisation_id: string;
  name: string;
  status: Request["status"];
  priority: Request["priority"];
  ordering: Request["order"];
  version: number;
  revision: number;
  operations_total: number;
  operations_succeeded: number;
  operations_failed: number;
  operations_unprocessed: number;
  calls_planned: number;
  calls_made: number;
  calls_retried: number;
  rate_per_minute: number;
  eta_at: string | null;
  waiting_reason: string;
  waiting_cause: string;
  waiting_until: string | null;
  failures: Record<string, number>;
  results_location: string | null;
  error: string | null;
  created_at: string;
  updated_at: string;
  finished_at: string | null;
  created_by: string | null;
}

export interface SubmittedRow extends RequestRow {
  content_sha256: string | null;
  input_sha256: string | null;
  input_bytes: number | null;
  input_path: string | null;
}

export interface CommandRow {
  id: string;
  request_id: string;
  kind: Command["command"];
  argument: Command["to"];
  sequence: number;
  status: Command["status"];
  answer: string | null;
  created_at: string;
  answered_at: string | null;
  created_by: string | null;
}

export type EventRow = z.infer<typeof EventAnswer>;

export interface DeadLetterRow {
  line: number;
  operation_id: string;
  reason: string;
  applied: z.infer<typeof DeadLetterAnswer>["applied"];
}

/** An instant as RFC 3339 has it, to the microsecond; some servers write it as Postgres prints it. */
export function instantOf(printed: string): string {
  return printed.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
}

const instantOrNull = (printed: string | null) => printed === null ? null : instantOf(printed);

export function requestOf(row: RequestRow): Request {
  return {
    id: row.id,
    organisation: row.organisation_id,
    name: row.name,
    status: row.status,
    priority: row.priority,
    order: row.ordering,
    version: row.version,
    revision: row.revision,
    operations: {
      total: row.operations_total,
      succeeded: row.operations_succeeded,
      failed: row.operations_failed,
      unprocessed: row.operations_unprocessed,
    },
    calls: { planned: row.calls_planned, made: row.calls_made, retried: row.calls_retried },
    rate_per_minute: row.rate_per_minute,
    eta_at: instantOrNull(row.eta_at),
    waiting: { reason: row.waiting_reason, cause: row.waiting_cause, until: instantOrNull(row.waiting_until) },
    failures: row.failures,
    results_location: row.results_location,
    error: row.error,
    created_at: instantOf(row.created_at),
    updated_at: instantOf(row.updated_at),
    finished_at: instantOrNull(row.finished_at),
    created_by: row.created_by,
  };
}

export function commandOf(row: CommandRow): Command {
  return {
    id: row.id,
    request: row.request_id,
    command: row.kind,
    to: row.argument,
    sequence: row.sequence,
    status: row.status,
    answer: row.answer,
    created_at: instantOf(row.created_at),
    answered_at: instantOrNull(row.answered_at),
    created_by: row.created_by,
  };
}

export function eventOf(row: EventRow): EventRow {
  return { ...row, at: instantOf(row.at) };
}

export function deadLetterOf(row: DeadLetterRow): z.infer<typeof DeadLetterAnswer> {
  return { line: row.line, id: row.operation_id, reason: row.reason, applied: row.applied };
}
