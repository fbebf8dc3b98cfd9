/** The audit of a request, told as a timeline. */

import { el } from "./dom.ts";
import type { HistoryEvent, Status } from "./model.ts";
import { instant, STATES } from "./words.ts";

const ASKED: Readonly<Record<string, string>> = {
  pause: "asked to pause",
  resume: "asked to resume",
  cancel: "asked to cancel",
  retry_failed: "asked to retry what failed",
  finalize: "said that the file has arrived",
};

/** What keeps a request from its turn, by the event's `cause`. */
const MEANWHILE: Readonly<Record<string, string>> = {
  circuit: "while the API fails",
  quiet: "until it is known how much of the quota is used",
  project_paused: "while the project is paused",
  no_worker: "for a worker",
};

function text(value: unknown): string {
  return typeof value === "string" ? value : value === null || value === undefined ? "" : JSON.stringify(value);
}

function state(value: unknown): string {
  return (STATES[text(value) as Status] ?? text(value)).toLowerCase();
}

/** Who did it, what happened, and a sentence more where there is one. */
export function told(entry: HistoryEvent): { who: string; what: string; more: string } {
  const { kind, data } = entry;
  const who = entry.actor_name || (entry.actor ? "A member" : "headgate");
  switch (kind) {
    case "submitted":
      return { who, what: "submitted the request", more: "" };
    case "status": {
      const after = data.from && data.from !== data.to ? `after ${state(data.from)}` : "";
      return { who: "", what: `It is ${state(data.to)}`, more: MEANWHILE[text(data.cause)] ?? after };
    }
    case "command":
      return {
        who,
        what: data.command === "reprioritise"
          ? `asked for priority ${text(data.to)}`
          : (ASKED[text(data.command)] ?? text(data.command)),
        more: "",
      };
    case "answered":
      return { who: "headgate", what: `${text(data.status)} the command`, more: text(data.answer) };
    case "rejected":
      return { who: "headgate", what: "could not take the request", more: text(data.why) };
    default:
      return { who, what: kind.replaceAll("_", " "), more: "" };
  }
}

/** One entry of the list. */
export function timelineItem(entry: HistoryEvent): HTMLElement {
  const { who, what, more } = told(entry);
  const kind = entry.kind === "status" ? `state-${text(entry.data.to)}` : entry.kind;
  return el(
    "li",
    { class: `event ${/^[a-z_-]+$/.test(kind) ? kind : ""}` },
    el("time", { datetime: entry.at }, instant(entry.at)),
    el("p", {}, who && el("b", {}, who), who ? " " : null, what, more && el("span", { class: "more" }, more)),
  );
}
