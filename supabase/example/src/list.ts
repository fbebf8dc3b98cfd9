/** The requests of an organisation, newest first, with bars that move. */

import { Bar } from "./bar.ts";
import { arrange, choice, el, mark, say, shown } from "./dom.ts";
import type { Door } from "./door.ts";
import { type BulkRequest, isOver, type Organisation } from "./model.ts";
import { maySubmit } from "./rights.ts";
import type { Shell } from "./shell.ts";
import { ago, ahead, count, STATES } from "./words.ts";

const FILTERS = [["", "All"], ["open", "Open"], ["over", "Over"]] as const;

/** What a request is called: its name, else the start of its id, and which retry it is. */
export function titleOf(request: BulkRequest): string {
  const retry = /\.retry(\d+)$/.exec(request.id)?.[1];
  return request.name || `${retry ? `Retry ${retry} of request` : "Request"} ${request.id.slice(0, 8)}`;
}

class Row {
  readonly element: HTMLLIElement;
  private readonly bar = new Bar();
  private readonly name = el("a", { class: "name" });
  private readonly state = el("span");
  private readonly priority = el("span", { class: "priority" });
  private readonly counts = el("span", { class: "counts" });
  private readonly note = el("span", { class: "note" });
  private readonly age = el("time", { class: "age" });

  constructor(public request: BulkRequest) {
    this.name.href = `#/requests/${encodeURIComponent(request.id)}`;
    this.element = el(
      "li",
      { class: "row" },
      el("div", { class: "head" }, this.name, this.priority, this.state, this.age),
      this.bar.element,
      el("div", { class: "foot" }, this.counts, this.note),
    );
    this.show(request);
  }

  show(request: BulkRequest): void {
    this.request = request;
    const { total, succeeded, failed, unprocessed } = request.operations;
    mark(this.element, "data-request", request.id);
    say(this.name, titleOf(request));
    mark(this.name, "title", titleOf(request));
    mark(this.state, "class", `state ${request.status}`);
    say(this.state, STATES[request.status]);
    mark(this.priority, "data-priority", request.priority);
    say(this.priority, request.priority);
    shown(request.priority !== "normal", this.priority);
    say(
      this.counts,
      total ? `${count(succeeded + failed + unprocessed)} of ${count(total)}${failed ? ` · ${count(failed)} failed` : ""}` : "",
    );
    this.bar.show(request, `Progress of ${titleOf(request)}`);
    this.tick();
  }

  /** What changes by the clock alone. */
  tick(): void {
    const { request } = this;
    mark(this.age, "datetime", request.created_at);
    say(this.age, ago(request.created_at));
    const waits = request.waiting.reason &&
      `${request.waiting.reason}${request.waiting.until ? `, ${ahead(request.waiting.until)}` : ""}`;
    const ready = request.eta_at && !isOver(request) && request.status !== "paused" ? `ready ${ahead(request.eta_at)}` : "";
    say(this.note, isOver(request) ? (request.error ?? "") : waits || ready);
  }
}

/** Shows the page; the answer ends its live connection. */
export function listPage(shell: Shell, door: Door, organisation: Organisation): () => void {
  const rows = new Map<string, Row>();
  let filter = "";
  const list = el("ol", { class: "rows", "aria-label": "Bulk requests" });
  const empty = el("p", { class: "empty" }, "Reading…");
  const more = el(
    "button",
    { type: "button", hidden: true, onclick: () => void watching.more().catch(shell.complain) },
    "Show older ones",
  );
  const pick = choice(FILTERS, filter, {
    id: "show",
    "aria-label": "Show",
    onchange: (event: Event) => {
      filter = (event.target as HTMLSelectElement).value;
      render();
    },
  });

  function render(): void {
    const wanted = [...rows.values()]
      .filter(({ request }) => !filter || (filter === "over") === isOver(request))
      .sort((a, b) => b.request.created_at.localeCompare(a.request.created_at) || b.request.id.localeCompare(a.request.id));
    arrange(list, wanted.map(({ element }) => element));
    shown(wanted.length === 0, empty);
    say(
      empty,
      filter
        ? "None of the requests here is like that."
        : maySubmit(organisation)
        ? "Nothing has been submitted yet. Hand over your first file."
        : "Nothing has been submitted yet.",
    );
  }

  const watching = door.watchOrganisation(organisation.id, {
    requests(requests, older) {
      for (const request of requests) {
        const row = rows.get(request.id);
        if (row) row.show(request);
        else rows.set(request.id, new Row(request));
      }
      shown(older, more);
      render();
    },
    link: (link) => shell.link(link),
    trouble: (thrown) => shell.complain(thrown, true),
    well: () => shell.calm(),
  });
  const clock = setInterval(() => rows.forEach((row) => row.tick()), 1000);
  const heading = el("h1", { tabindex: -1 }, "Bulk requests");
  shell.main.replaceChildren(
    el(
      "div",
      { class: "title" },
      heading,
      el("span", { class: "space" }),
      pick,
      maySubmit(organisation) && el("a", { class: "button primary", href: "#/new" }, "New request"),
    ),
    list,
    empty,
    more,
  );
  document.title = `Bulk requests · ${organisation.name} · headgate`;
  heading.focus();
  return () => {
    clearInterval(clock);
    watching.stop();
  };
}
