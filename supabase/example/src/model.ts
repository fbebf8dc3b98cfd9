/** What the page speaks of: the client's words, and who belongs where. */

export {
  type BulkRequest,
  type Command,
  type CommandKind,
  type DeadLetter,
  type History,
  type HistoryEvent,
  isOver,
  type Priority,
  type RequestPage,
  type Status,
} from "../../client/model.ts";
export type { Link } from "../../client/topics.ts";

export type Role = "viewer" | "member" | "admin";

export interface Organisation {
  id: string;
  name: string;
  role: Role;
}

/** What is asked for besides the operations. */
export interface Wish {
  name: string;
  priority: "urgent" | "normal" | "low";
  order: "lane" | "strict";
  stop_after: number;
  grow: boolean;
}
