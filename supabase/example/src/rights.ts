/**
 * Which buttons make sense, for whom and when. The database decides; this only spares people a press that would be refused.
 */

import type { BulkRequest, CommandKind, Organisation } from "./model.ts";

const UNDER_WAY: ReadonlySet<string> = new Set(["submitted", "planning", "running", "waiting"]);
const OPEN: ReadonlySet<string> = new Set([...UNDER_WAY, "paused"]);

/** Whether this person may hand over requests in this organisation. */
export function maySubmit(organisation: Organisation): boolean {
  return organisation.role !== "viewer";
}

/** Whether this person may say this of this request, as it is now. */
export function mayCommand(kind: CommandKind, request: BulkRequest, organisation: Organisation, user: string): boolean {
  if (organisation.role === "viewer") return false;
  switch (kind) {
    case "pause":
      return UNDER_WAY.has(request.status);
    case "resume":
      return request.status === "paused";
    case "reprioritise":
      return OPEN.has(request.status);
    case "retry_failed":
      return request.operations.failed > 0 && request.status !== "awaiting_upload";
    case "cancel":
      return (OPEN.has(request.status) || request.status === "awaiting_upload") &&
        (organisation.role === "admin" || request.created_by === user);
  }
}
