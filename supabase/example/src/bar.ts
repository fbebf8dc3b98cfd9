/** The bar of a request: what has succeeded, failed and was left, as parts of all its operations. */

import { el, mark, say, shown } from "./dom.ts";
import { type BulkRequest, isOver } from "./model.ts";
import { count } from "./words.ts";

/** How many of its operations have an outcome, in per cent; rounded down, so that 100 means all. */
export function percent(request: BulkRequest): number {
  const { total, succeeded, failed, unprocessed } = request.operations;
  return total ? Math.floor((100 * (succeeded + failed + unprocessed)) / total) : request.status === "completed" ? 100 : 0;
}

/** One bar; `show` moves it. */
export class Bar {
  readonly element: HTMLElement;
  private readonly parts = ["succeeded", "failed", "unprocessed"].map((name) => el("span", { class: `part ${name}` }));
  private readonly label = el("span", { class: "percent" });

  constructor(
    private readonly track = el("div", { class: "track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }),
  ) {
    this.track.append(...this.parts);
    this.element = el("div", { class: "bar" }, this.track, this.label);
  }

  show(request: BulkRequest, label: string): void {
    const { total, succeeded, failed, unprocessed } = request.operations;
    const done = percent(request);
    [succeeded, failed, unprocessed].forEach((number, place) => {
      const part = this.parts[place]!;
      part.style.width = `${total ? (100 * number) / total : 0}%`;
    });
    const unknown = total === 0 && !isOver(request);
    this.track.classList.toggle("unknown", unknown && request.status !== "awaiting_upload" && request.status !== "paused");
    this.track.classList.toggle("still", request.status === "paused");
    mark(this.track, "aria-label", label);
    mark(this.track, "aria-valuenow", String(done));
    mark(
      this.track,
      "aria-valuetext",
      total ? `${done}%: ${count(succeeded)} of ${count(total)} done, ${count(failed)} failed` : "not planned yet",
    );
    say(this.label, total ? `${done}%` : "–");
    shown(true, this.label);
  }
}
