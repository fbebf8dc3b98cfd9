/** The buttons of a request's page: only those that its reader may press now, and the answers to them. */

import { choice, el, say, shown } from "./dom.ts";
import type { Door } from "./door.ts";
import type { BulkRequest, Command, CommandKind, Organisation, Priority } from "./model.ts";
import { mayCommand } from "./rights.ts";
import type { Shell } from "./shell.ts";
import { begun, count, PRIORITIES } from "./words.ts";

const PRESSED: Readonly<Record<CommandKind, string>> = {
  pause: "Pausing…",
  resume: "Resuming…",
  reprioritise: "Changing the priority…",
  cancel: "Cancelling…",
  retry_failed: "Retrying what failed…",
};
const DONE: Readonly<Record<string, string>> = {
  pause: "Paused.",
  resume: "Resumed.",
  reprioritise: "The priority is changed.",
  cancel: "Cancelled.",
  retry_failed: "What failed is tried again.",
};

/** The answer to a command as a sentence, or nothing while there is none. */
export function answerOf(command: Command): string {
  if (command.status === "pending") return "";
  if (command.status === "accepted") return begun(command.answer ?? "") || DONE[command.command] || "Done.";
  const why = command.answer || "no reason was given";
  return command.status === "refused" ? `Refused: ${why}` : `Failed: ${why}`;
}

export class Steering {
  readonly element: HTMLElement;
  private request: BulkRequest | null = null;
  private readonly buttons: Readonly<Record<Exclude<CommandKind, "reprioritise">, HTMLButtonElement>>;
  private readonly priority = choice(PRIORITIES, "normal", {
    id: "priority",
    onchange: () => void this.press("reprioritise", this.priority.value as Priority),
  });
  private readonly priorityField = el("div", { class: "inline" }, el("label", { for: "priority" }, "Priority"), this.priority);
  private readonly answer = el("p", { class: "answer", role: "status" });
  private readonly sure: HTMLDialogElement;
  private readonly keep = el("button", { type: "button", onclick: () => this.sure.close() }, "Keep it");
  private readonly question = el("p", { id: "sure-text" });
  /** The own command that was said last, whether it still awaits its answer, and what was told of it. */
  private newest = "";
  private awaited = false;
  private readonly told = new Set<string>();

  constructor(
    private readonly shell: Shell,
    private readonly door: Door,
    private readonly organisation: Organisation,
    private readonly user: string,
  ) {
    const button = (kind: CommandKind, label: string, style = "") =>
      el(
        "button",
        { type: "button", class: style, onclick: () => (kind === "cancel" ? this.ask() : void this.press(kind)) },
        label,
      );
    this.buttons = {
      pause: button("pause", "Pause"),
      resume: button("resume", "Resume", "primary"),
      retry_failed: button("retry_failed", "Retry failed"),
      cancel: button("cancel", "Cancel", "danger"),
    };
    this.sure = el(
      "dialog",
      { "aria-labelledby": "sure-title", "aria-describedby": "sure-text" },
      el("h2", { id: "sure-title" }, "Cancel this request?"),
      this.question,
      el(
        "div",
        { class: "actions" },
        el(
          "button",
          { type: "button", class: "danger", onclick: () => (this.sure.close(), void this.press("cancel")) },
          "Cancel the request",
        ),
        this.keep,
      ),
    );
    this.element = el(
      "section",
      { class: "steering", "aria-label": "Commands" },
      ...Object.values(this.buttons),
      this.priorityField,
      this.answer,
      this.sure,
    );
  }

  show(request: BulkRequest): void {
    this.request = request;
    const focused = document.activeElement;
    for (const [kind, button] of Object.entries(this.buttons)) {
      shown(mayCommand(kind as CommandKind, request, this.organisation, this.user), button);
    }
    shown(mayCommand("reprioritise", request, this.organisation, this.user), this.priorityField);
    if (document.activeElement !== this.priority) this.priority.value = request.priority;
    // Whoever pressed a button that is gone now goes on with the one in its place.
    if (focused instanceof HTMLButtonElement && focused.hidden) {
      Object.values(this.buttons).find((button) => !button.hidden)?.focus();
    }
  }

  /** Hears of a command's answer. That of the newest own one is told, and whatever comes in its place later. */
  heard(command: Command): void {
    const sentence = answerOf(command);
    if (!sentence || command.id !== this.newest || this.told.has(sentence)) return;
    this.told.add(sentence);
    this.busy(false);
    say(this.answer, sentence);
    const retry = command.command === "retry_failed" && /\S+\.retry\d+/.exec(sentence)?.[0];
    if (retry) this.answer.append(" – ", el("a", { href: `#/requests/${encodeURIComponent(retry)}` }, "look at it"));
    this.answer.classList.toggle("bad", command.status !== "accepted");
    if (command.status === "accepted") this.shell.tell(sentence);
    else if (this.request) this.priority.value = this.request.priority;
  }

  private ask(): void {
    const { total = 0, succeeded = 0, failed = 0 } = this.request?.operations ?? {};
    const left = total - succeeded - failed;
    say(
      this.question,
      `${
        total ? `${count(left)} of ${count(total)} operations are not sent yet, and will not be. ` : ""
      }What has been written stays. This cannot be undone.`,
    );
    this.sure.showModal();
    this.keep.focus();
  }

  private async press(kind: CommandKind, to: Priority | null = null): Promise<void> {
    if (!this.request) return;
    if (this.awaited) {
      this.priority.value = this.request.priority;
      return;
    }
    this.busy(true);
    this.answer.classList.remove("bad");
    say(this.answer, PRESSED[kind]);
    const id = this.newest = crypto.randomUUID();
    this.told.clear();
    try {
      this.heard(await this.door.command(id, this.request.id, kind, to));
    } catch (thrown) {
      // Its answer has come all the same, by a message.
      if (id !== this.newest || this.told.size > 0) return;
      this.busy(false);
      say(this.answer, "");
      this.priority.value = this.request.priority;
      this.shell.complain(thrown);
    }
  }

  private busy(busy: boolean): void {
    this.awaited = busy;
    this.element.setAttribute("aria-busy", String(busy));
    // Not `disabled`, which would take the focus away.
    for (const button of Object.values(this.buttons)) button.setAttribute("aria-disabled", String(busy));
  }
}
