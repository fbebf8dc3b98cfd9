/** One request: how far it is, what it waits for, what failed, who did what, and the buttons to steer it. */

import { Bar } from "./bar.ts";
import { arrange, el, mark, say, shown } from "./dom.ts";
import type { Door } from "./door.ts";
import { titleOf } from "./list.ts";
import { type BulkRequest, type DeadLetter, type HistoryEvent, isOver, type Organisation, type Status } from "./model.ts";
import type { Shell } from "./shell.ts";
import { Steering } from "./steering.ts";
import { timelineItem } from "./timeline.ts";
import { ago, ahead, begun, count, counted, duration, instant, STATES } from "./words.ts";

/** Between running and waiting it may go back and forth: that is seen, but not called out. */
const CALLED_OUT: ReadonlySet<Status> = new Set(["paused", "completed", "cancelled", "failed"]);
const APPLIED: Readonly<Record<string, string>> = { yes: "yes", no: "no", unknown: "nobody can tell" };

function fact(label: string): readonly [HTMLElement, HTMLElement] {
  const value = el("dd");
  return [el("div", { class: "fact" }, el("dt", {}, label), value), value];
}

/** Shows the page; the answer ends its live connection. */
export function requestPage(shell: Shell, door: Door, organisation: Organisation, user: string, id: string): () => void {
  let request: BulkRequest | null = null;
  const bar = new Bar();
  const steering = new Steering(shell, door, organisation, user);
  const heading = el("h1", { tabindex: -1 }, "Reading…");
  const state = el("span", { class: "state" });
  const priority = el("span", { class: "priority" });
  const by = el("p", { class: "by" });
  const waiting = el("p", { class: "waits", hidden: true });
  const error = el("p", { class: "problem", hidden: true });
  const [done, doneSaid] = fact("Succeeded");
  const [failed, failedSaid] = fact("Failed");
  const [left, leftSaid] = fact("Not sent");
  const [calls, callsSaid] = fact("Calls");
  const [rate, rateSaid] = fact("Rate");
  const [eta, etaSaid] = fact("Ready");
  const reasons = el("ul", { class: "reasons" });
  const letters = el("tbody");
  const moreLetters = el(
    "button",
    { type: "button", hidden: true, onclick: () => void watching.more().catch(shell.complain) },
    "Show more",
  );
  const failures = el(
    "section",
    { class: "card", hidden: true, "aria-labelledby": "failures" },
    el("h2", { id: "failures" }, "What failed"),
    reasons,
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Dead letters" },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el("tr", {}, ...["Line", "Operation", "Reason", "Applied"].map((name) => el("th", { scope: "col" }, name))),
        ),
        letters,
      ),
    ),
    moreLetters,
  );
  const events = el("ol", { class: "timeline" });
  const moreEvents = el(
    "button",
    { type: "button", hidden: true, onclick: () => void watching.more().catch(shell.complain) },
    "Show older ones",
  );
  const timeline = el(
    "section",
    { class: "card", "aria-labelledby": "events" },
    el("h2", { id: "events" }, "What happened"),
    events,
    moreEvents,
  );
  const known = new Map<string, HTMLElement>();
  const page = el(
    "div",
    { class: "request", hidden: true },
    el(
      "div",
      { class: "card main" },
      bar.element,
      waiting,
      error,
      el("dl", { class: "facts" }, done, failed, left, calls, rate, eta),
      steering.element,
    ),
    failures,
    timeline,
  );

  function show(now: BulkRequest): void {
    const before = request;
    request = now;
    shown(true, page);
    const { total, succeeded, failed: bad, unprocessed } = now.operations;
    say(heading, titleOf(now));
    document.title = `${titleOf(now)} · headgate`;
    mark(state, "class", `state ${now.status}`);
    say(state, STATES[now.status]);
    mark(priority, "data-priority", now.priority);
    say(priority, now.priority);
    bar.show(now, "Progress");
    say(doneSaid, total ? `${count(succeeded)} of ${count(total)}` : "–");
    say(failedSaid, count(bad));
    say(leftSaid, count(isOver(now) ? unprocessed : Math.max(0, total - succeeded - bad - unprocessed)));
    say(
      callsSaid,
      `${count(now.calls.made)} of ${count(Math.max(now.calls.planned, now.calls.made))}${
        now.calls.retried ? `, ${counted(now.calls.retried, "retry").replace("retrys", "retries")}` : ""
      }`,
    );
    say(rateSaid, isOver(now) || now.status === "paused" ? "–" : `${count(now.rate_per_minute)} a minute`);
    say(error, now.error ?? "");
    shown(Boolean(now.error), error);
    const kinds = Object.entries(now.failures);
    arrange(reasons, kinds.map(([why, number]) => el("li", {}, el("b", {}, count(number)), " ", why)));
    shown(bad > 0 || letters.childElementCount > 0, failures);
    steering.show(now);
    tick();
    if (before && before.status !== now.status && CALLED_OUT.has(now.status)) {
      shell.tell(`${titleOf(now)} is ${STATES[now.status].toLowerCase()}.`);
    }
  }

  /** What changes by the clock alone. */
  function tick(): void {
    if (!request) return;
    const { waiting: why, status, eta_at: ready, finished_at: end, created_at: since } = request;
    const waits = why.reason && !isOver(request)
      ? `${begun(why.reason)}${why.until ? `, until ${instant(why.until)} – ${ahead(why.until)}` : ""}`
      : "";
    say(
      waiting,
      status === "awaiting_upload" ? "Its file has not arrived. Submit it again with the same file, or cancel it." : waits,
    );
    shown(Boolean(waiting.textContent), waiting);
    say(
      etaSaid,
      end
        ? `${instant(end)}, after ${duration((Date.parse(end) - Date.parse(since)) / 1000)}`
        : ready && status !== "paused"
        ? ahead(ready)
        : "–",
    );
    say(by, `Submitted ${ago(since)}${request.order === "strict" ? ", strictly in order" : ""}`);
  }

  function tell(entries: readonly HistoryEvent[], older: boolean): void {
    for (const entry of entries) {
      const id = `${entry.at}/${entry.id}`;
      if (!known.has(id)) known.set(id, timelineItem(entry));
    }
    // By the numbers that they were given: entries of one transaction share their instant.
    const place = (id: string) => Number(id.slice(id.indexOf("/") + 1));
    arrange(events, [...known].sort(([a], [b]) => place(b) - place(a)).map(([, item]) => item));
    shown(older, moreEvents);
  }

  function list(dead: readonly DeadLetter[], further: boolean): void {
    letters.replaceChildren(
      ...dead.map((letter) =>
        el(
          "tr",
          {},
          el("td", { class: "number" }, count(letter.line)),
          el("td", {}, letter.id),
          el("td", {}, letter.reason),
          el("td", {}, APPLIED[letter.applied] ?? letter.applied),
        )
      ),
    );
    shown(dead.length > 0 || (request?.operations.failed ?? 0) > 0, failures);
    shown(further, moreLetters);
  }

  const watching = door.watchRequest(id, {
    request: show,
    command: (command) => steering.heard(command),
    events: tell,
    letters: list,
    link: (link) => shell.link(link),
    trouble: (thrown) => shell.complain(thrown, true),
    gone(thrown) {
      shell.complain(thrown);
      shell.link(null);
      if (!request) say(heading, "This request cannot be shown");
    },
    well: () => shell.calm(),
  });
  const clock = setInterval(tick, 1000);
  const parent = /^(.*)\.retry\d+$/.exec(id)?.[1];
  shell.main.replaceChildren(
    el(
      "nav",
      { class: "trail", "aria-label": "Trail" },
      el("a", { href: "#/" }, "Bulk requests"),
      parent ? el("a", { href: `#/requests/${encodeURIComponent(parent)}` }, "The request whose failures this retries") : null,
    ),
    el("div", { class: "title" }, heading, state, priority),
    by,
    page,
  );
  heading.focus();
  return () => {
    clearInterval(clock);
    watching.stop();
  };
}
