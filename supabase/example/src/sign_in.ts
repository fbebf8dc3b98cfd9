/** Signing in, and signing up where the project lets people do so. */

import { el, field, say, shown } from "./dom.ts";
import type { Door } from "./door.ts";
import { troubleOf } from "./trouble.ts";

/** The page in `root`; `entered` is called once there is a session. */
export function signInPage(root: HTMLElement, door: Door, signUp: boolean, entered: () => void): void {
  let making = false;
  const email = el("input", { type: "email", name: "email", autocomplete: "username", required: true, spellcheck: "false" });
  const password = el("input", {
    type: "password",
    name: "password",
    autocomplete: "current-password",
    required: true,
    minlength: 6,
  });
  const problem = el("p", { class: "problem", role: "alert" });
  const title = el("h1", {}, "Sign in");
  const go = el("button", { type: "submit", class: "primary" }, "Sign in");
  const other = el("button", { type: "button", class: "plain", onclick: turn }, "Create an account");

  function turn(): void {
    making = !making;
    say(title, making ? "Create an account" : "Sign in");
    say(go, making ? "Create the account" : "Sign in");
    say(other, making ? "I have an account" : "Create an account");
    password.autocomplete = making ? "new-password" : "current-password";
    say(problem, "");
    email.focus();
  }

  async function enter(event: Event): Promise<void> {
    event.preventDefault();
    say(problem, "");
    go.disabled = true;
    try {
      await (making ? door.signUp(email.value.trim(), password.value) : door.signIn(email.value.trim(), password.value));
      entered();
    } catch (thrown) {
      const trouble = troubleOf(thrown);
      say(problem, `${trouble.message} ${trouble.advice}`);
      password.select();
    } finally {
      go.disabled = false;
    }
  }

  shown(signUp, other);
  root.replaceChildren(
    el(
      "main",
      { class: "door", id: "main" },
      el(
        "div",
        { class: "brand large" },
        el("img", { src: "mark.svg", alt: "", width: 44, height: 44 }),
        el("span", {}, "headgate"),
      ),
      el("p", { class: "tagline" }, "Bulk work at the speed your quota allows."),
      el(
        "form",
        { class: "card", onsubmit: (event: Event) => void enter(event) },
        title,
        field("Email", email),
        field("Password", password),
        problem,
        el("div", { class: "actions" }, go, other),
      ),
    ),
  );
  document.title = "Sign in · headgate";
  email.focus();
}
