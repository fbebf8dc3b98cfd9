/** What went wrong, in a sentence, and what to do about it. */

import { duration } from "./words.ts";

export class Trouble extends Error {
  constructor(sentence: string, readonly advice: string, readonly code = "") {
    super(sentence);
    this.name = "Trouble";
  }
}

interface Told {
  code?: string;
  message?: string;
  hint?: string;
  retryAfter?: number;
}

const ADVICE: Readonly<Record<string, string>> = {
  unreachable: "It is tried again by itself; a press of yours is done once, however often you repeat it.",
  unauthenticated: "Sign in again.",
  forbidden: "Ask an admin of your organisation for the right to do this.",
  not_found: "It may have been removed, or belong to another organisation: go back to the list.",
  conflict: "Look at the request as it is now, then decide again.",
  too_large: "Hand it over as a file instead: files may have up to 1 GB.",
  invalid: "Correct it and try again.",
  unavailable: "Try again in a moment: nothing was lost.",
};

/** Whatever was thrown, as `Trouble`; what the front door said itself is kept in its own words. */
export function troubleOf(thrown: unknown): Trouble {
  if (thrown instanceof Trouble) return thrown;
  const told = (thrown ?? {}) as Told;
  if (typeof told.code === "string" && typeof told.message === "string" && told.message) {
    const wait = told.code === "too_many" && told.retryAfter ? `Try again in ${duration(told.retryAfter)}.` : "";
    const sentence = /[.!?]$/.test(told.message) ? told.message : `${told.message}.`;
    return new Trouble(sentence, told.hint || wait || ADVICE[told.code] || "Try again in a moment.", told.code);
  }
  if (thrown instanceof TypeError) {
    return new Trouble("The server cannot be reached.", "Check the connection and try again.", "unreachable");
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new Trouble(message || "Something went wrong.", "Load the page again; what you see is read anew then.");
}
