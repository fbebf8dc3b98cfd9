/** The frame around every page: organisation, person, how live it is, and what is read out when something happens. */

import { choice, el, mark, say, shown } from "./dom.ts";
import type { Link, Organisation } from "./model.ts";
import { troubleOf } from "./trouble.ts";

const LINKS: Readonly<Record<Link, string>> = {
  joining: "Connecting…",
  live: "Live",
  broken: "Reconnecting…",
};

export interface Shell {
  /** Where a page puts itself. */
  main: HTMLElement;
  /** Tells a person what has happened, also by a screen reader. */
  tell(sentence: string): void;
  /** Tells what went wrong and what to do. `passing`: it is tried again by itself, and `calm` takes it back. */
  complain(thrown: unknown, passing?: boolean): void;
  /** What was tried again has gone well. */
  calm(): void;
  link(link: Link | null): void;
}

/** Makes the frame in `root`. `chosen` is the organisation that is shown, if the person belongs to any. */
export function shell(
  root: HTMLElement,
  person: string,
  organisations: readonly Organisation[],
  chosen: Organisation | null,
  on: { choose(id: string): void; leave(): void },
): Shell {
  const main = el("main", { id: "main", tabindex: -1 });
  const live = el("span", { class: "link", role: "status", hidden: true });
  const said = el("p", { class: "said" });
  const toast = el("div", { class: "toast", role: "status", "aria-live": "polite", "aria-atomic": "true" }, said);
  const what = el("strong");
  const advice = el("span");
  const close = el("button", { type: "button", class: "plain", onclick: () => shown(false, alert) }, "Dismiss");
  const alert = el("div", { class: "alert", role: "alert", hidden: true }, el("div", {}, what, " ", advice), close);
  const picker = choice(organisations.map(({ id, name }) => [id, name] as const), chosen?.id ?? "", {
    id: "organisation",
    "aria-label": "Organisation",
    onchange: (event: Event) => on.choose((event.target as HTMLSelectElement).value),
  });
  root.replaceChildren(
    el(
      "a",
      { class: "skip", href: "#main", onclick: (event: Event) => (event.preventDefault(), main.focus()) },
      "Skip to the content",
    ),
    el(
      "header",
      { class: "top" },
      el(
        "a",
        { class: "brand", href: "#/" },
        el("img", { src: "mark.svg", alt: "", width: 28, height: 28 }),
        el("span", {}, "headgate"),
      ),
      organisations.length > 0 && picker,
      chosen && el("span", { class: "role" }, chosen.role),
      el("span", { class: "space" }),
      live,
      el("span", { class: "person" }, person),
      el("button", { type: "button", class: "plain", onclick: on.leave }, "Sign out"),
    ),
    alert,
    main,
    toast,
  );
  let forgetting: number | undefined;
  let passes = false;
  const calm = () => {
    if (passes) shown(false, alert);
  };
  return {
    main,
    tell(sentence) {
      calm();
      say(said, sentence);
      toast.classList.add("visible");
      clearTimeout(forgetting);
      forgetting = setTimeout(() => toast.classList.remove("visible"), 6000);
    },
    complain(thrown, passing = false) {
      // What a person pressed in vain stays until they have seen it.
      if (passing && !passes && !alert.hidden) return;
      passes = passing;
      const trouble = troubleOf(thrown);
      say(what, trouble.message);
      say(advice, trouble.advice);
      shown(true, alert);
    },
    calm,
    link(link) {
      shown(link !== null, live);
      if (link === null) return;
      mark(live, "data-link", link);
      say(live, LINKS[link]);
    },
  };
}
