/** Handing over a new request: a file or pasted lines. */

import { bytes, counted, PRIORITIES } from "./words.ts";
import { choice, el, field, mark, say, shown } from "./dom.ts";
import type { Door } from "./door.ts";
import type { Organisation, Priority, Wish } from "./model.ts";
import type { Shell } from "./shell.ts";
import { Trouble, troubleOf } from "./trouble.ts";

/** Up to here lines travel in the call itself. */
const INLINE = 900_000;
const EXAMPLE = '{"id": "o-1", "op": "append", "spreadsheet": "shop", "range": "Orders!A:C", "values": [["o-1", 12.5, true]]}';

/** Shows the page; `done` is told the new request's id. */
export function submitPage(shell: Shell, door: Door, organisation: Organisation, done: (id: string) => void): () => void {
  // Pressed twice, or sent again after a lost answer, it is the same request.
  const key = crypto.randomUUID();
  const name = el("input", { name: "name", maxlength: 200, autocomplete: "off" });
  const file = el("input", { type: "file", id: "file", accept: ".jsonl,.ndjson,.json,.txt", onchange: () => chosen() });
  const lines = el("textarea", { name: "lines", rows: 8, spellcheck: "false", placeholder: EXAMPLE });
  const drop = el("label", { class: "drop", for: "file" }, el("b", {}, "Choose a file"), " or drop it here");
  const which = el("span", { class: "which", role: "status" });
  const priority = choice(PRIORITIES, "normal", { name: "priority" });
  const order = choice([["lane", "As fast as possible"], ["strict", "Strictly in the order of the lines"]], "lane", {
    name: "order",
  });
  const stopAfter = el("input", { name: "stop_after", type: "number", min: 0, max: 1000000, value: 0 });
  const grow = el("input", { name: "grow", type: "checkbox" });
  const problem = el("div", { class: "problem", role: "alert" });
  const go = el("button", { type: "submit", class: "primary" }, "Submit");
  const track = el("div", {
    class: "track",
    role: "progressbar",
    "aria-label": "Upload",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
  }, el("span", { class: "part succeeded" }));
  const phase = el("span", { class: "percent", role: "status" });
  const sending = el("div", { class: "bar upload", hidden: true }, track, phase);
  let held: File | null = null;

  function chosen(dropped: File | null = null): void {
    held = dropped ?? file.files?.[0] ?? null;
    say(which, held ? `${held.name}, ${bytes(held.size)}` : "");
    if (held && !name.value) name.value = held.name.replace(/\.[a-z]+$/i, "").slice(0, 200);
    lines.disabled = held !== null;
    shown(held !== null, clear);
  }

  const clear = el("button", {
    type: "button",
    class: "plain",
    hidden: true,
    onclick: () => ((file.value = ""), chosen(), file.focus()),
  }, "Take it out");

  function progress(doing: string, part: number): void {
    shown(true, sending);
    say(phase, doing);
    mark(track, "aria-valuenow", String(Math.floor(100 * part)));
    (track.firstElementChild as HTMLElement).style.width = `${100 * part}%`;
  }

  async function hand(): Promise<string> {
    const wish: Wish = {
      name: name.value.trim(),
      priority: priority.value as Priority,
      order: order.value as Wish["order"],
      stop_after: Number(stopAfter.value) || 0,
      grow: grow.checked,
    };
    const text = lines.value.trim();
    if (!held && !text) throw new Trouble("There is nothing to submit.", "Choose a file, or paste lines.");
    const content = held ?? new Blob([`${text}\n`]);
    if (content.size === 0) throw new Trouble("The file is empty.", "Choose another one.");
    if (content.size <= INLINE) return (await door.submit(organisation.id, wish, key, await content.text())).id;
    return (await door.submitFile(organisation.id, wish, key, content, progress)).id;
  }

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    problem.replaceChildren();
    go.disabled = true;
    try {
      const id = await hand();
      shell.tell("Submitted.");
      done(id);
    } catch (thrown) {
      const trouble = troubleOf(thrown);
      problem.replaceChildren(el("b", {}, trouble.message), " ", trouble.advice);
      shown(false, sending);
    } finally {
      go.disabled = false;
    }
  }

  const heading = el("h1", { tabindex: -1 }, "New request");
  const form = el(
    "form",
    { class: "card wide", onsubmit: (event: Event) => void submit(event) },
    field("Name", name, "What your team will recognise it by."),
    el(
      "fieldset",
      {},
      el("legend", {}, "Operations"),
      el("div", { class: "take" }, file, drop, which, clear),
      field("or paste lines", lines, "One JSON object a line. A line that cannot be an operation is reported; the others go on."),
    ),
    el("div", { class: "columns" }, field("Priority", priority), field("Order", order)),
    el(
      "details",
      {},
      el("summary", {}, "More"),
      field("Pause after so many failures", stopAfter, "0: failures never pause it."),
      el("label", { class: "check" }, grow, " Make sheets larger where rows do not fit"),
    ),
    problem,
    sending,
    el("div", { class: "actions" }, go, el("a", { href: "#/" }, "Back to the list")),
  );
  form.addEventListener("dragover", (event) => (event.preventDefault(), drop.classList.add("over")));
  form.addEventListener("dragleave", () => drop.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = event.dataTransfer?.files;
    if (dropped && dropped.length > 1) {
      problem.replaceChildren(el("b", {}, `That were ${counted(dropped.length, "file")}.`), " One request takes one file.");
    } else if (dropped?.[0]) chosen(dropped[0]);
  });
  shell.link(null);
  shell.main.replaceChildren(el("div", { class: "title" }, heading), form);
  document.title = `New request · ${organisation.name} · headgate`;
  heading.focus();
  return () => {};
}
