/**
 * The page: which of its parts is shown follows from the session and from what stands behind the `#`, so a reload shows the same.
 *
 *     #/                the list
 *     #/new             a new request
 *     #/requests/ID     one request
 */

import { Door } from "./door.ts";
import { el } from "./dom.ts";
import { listPage } from "./list.ts";
import type { Organisation } from "./model.ts";
import { requestPage } from "./request.ts";
import { maySubmit } from "./rights.ts";
import { shell } from "./shell.ts";
import { signInPage } from "./sign_in.ts";
import { submitPage } from "./submit.ts";
import { Trouble, troubleOf } from "./trouble.ts";

const CHOSEN = "headgate.organisation";
const root = document.getElementById("app")!;
let leavePage: () => void = () => {};

interface Configuration {
  url: string;
  publishableKey: string;
  signUp?: boolean;
}

async function configuration(): Promise<Configuration> {
  const answer = await fetch("config.json", { cache: "no-cache" });
  const said: Partial<Configuration> = answer.ok ? await answer.json() : {};
  if (!said.url || !said.publishableKey) {
    throw new Trouble("This page is not set up.", "Put a config.json with url and publishableKey beside it, as its README says.");
  }
  return said as Configuration;
}

/** A page that says one thing, with a way on. */
function onlySay(title: string, text: string, action: string, act: () => void): void {
  root.replaceChildren(
    el(
      "main",
      { class: "door" },
      el(
        "div",
        { class: "card" },
        el("h1", {}, title),
        el("p", {}, text),
        el("div", { class: "actions" }, el("button", { type: "button", class: "primary", onclick: act }, action)),
      ),
    ),
  );
}

async function start(): Promise<void> {
  const { url, publishableKey, signUp = false } = await configuration();
  const door = new Door(url, publishableKey);
  let organisations: Organisation[] = [];
  let person: { id: string; email: string } | null = null;

  function route(): void {
    leavePage();
    leavePage = () => {};
    if (!person) return signInPage(root, door, signUp, () => void enter());
    const chosen = organisations.find(({ id }) => id === localStorage.getItem(CHOSEN)) ?? organisations[0] ?? null;
    if (!chosen) {
      return onlySay(
        "You belong to no organisation yet",
        `Ask an admin to add ${person.email}, then look again.`,
        "Look again",
        () => void enter(),
      );
    }
    const frame = shell(root, person.email, organisations, chosen, {
      choose(id) {
        localStorage.setItem(CHOSEN, id);
        if (location.hash === "#/" || !location.hash) route();
        else location.hash = "#/";
      },
      leave: () => void door.signOut().then(enter),
    });
    const request = /^#\/requests\/(.+)$/.exec(location.hash)?.[1];
    if (request) leavePage = requestPage(frame, door, chosen, person.id, decodeURIComponent(request));
    else if (location.hash === "#/new" && maySubmit(chosen)) {
      leavePage = submitPage(frame, door, chosen, (id) => (location.hash = `#/requests/${encodeURIComponent(id)}`));
    } else leavePage = listPage(frame, door, chosen);
  }

  async function enter(): Promise<void> {
    try {
      person = await door.person();
      organisations = person ? await door.organisations(person.id) : [];
      route();
    } catch (thrown) {
      const trouble = troubleOf(thrown);
      onlySay(trouble.message, trouble.advice, "Try again", () => void enter());
    }
  }

  addEventListener("hashchange", route);
  door.onSignedOut(() => {
    if (person) void enter();
  });
  await enter();
}

start().catch((thrown: unknown) => {
  const trouble = troubleOf(thrown);
  onlySay(trouble.message, trouble.advice, "Load again", () => location.reload());
});
