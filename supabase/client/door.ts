/**
 * The Edge Functions, called as the signed-in user.
 *
 * 1. A call whose answer was lost is repeated as it was: each carries an id of ours, by which it is done once.
 * 2. Refusals are `FrontDoorError`s with the front door's own words; only what may pass by itself is repeated.
 */

import type { SupabaseClient } from "@supabase/supabase-js";

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 300;
const PATIENCE_MS = 20_000;

/** Why the front door refuses; `code` "unreachable": no answer came. */
export class FrontDoorError extends Error {
  readonly code: string;
  readonly status: number;
  readonly hint: string | undefined;
  readonly details: unknown;
  /** Seconds to wait, where the front door says so. */
  readonly retryAfter: number | undefined;

  constructor(
    code: string,
    message: string,
    status: number,
    more: { hint?: string; details?: unknown; retryAfter?: number } = {},
  ) {
    super(message);
    this.name = "FrontDoorError";
    this.code = code;
    this.status = status;
    this.hint = more.hint;
    this.details = more.details;
    this.retryAfter = more.retryAfter;
  }

  /** Whether the same call may go through later. */
  get passes(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

/** One call; repeated a few times while nothing answers. Throws FrontDoorError. */
export async function call<T>(client: SupabaseClient, path: string, body?: object): Promise<T> {
  for (let attempt = 1;; attempt++) {
    const { data, error, response } = await client.functions.invoke<T>(path, {
      method: body === undefined ? "GET" : "POST",
      ...(body === undefined ? {} : { body: body as Record<string, unknown> }),
      timeout: PATIENCE_MS,
    });
    if (!error) return data as T;
    const refusal = await refusalOf(error, response);
    if (!refusal.passes || attempt === ATTEMPTS) throw refusal;
    await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1));
  }
}

/** Waits for a moment. */
export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

async function refusalOf(error: unknown, response: Response | undefined): Promise<FrontDoorError> {
  if (!response) {
    return new FrontDoorError("unreachable", "The front door cannot be reached: look at your connection.", 0, {
      details: error,
    });
  }
  const said = await response.json().catch(() => null) as { error?: Record<string, unknown> } | null;
  const { code, message, hint, details } = said?.error ?? {};
  const retryAfter = Number(response.headers.get("retry-after")) || undefined;
  return new FrontDoorError(
    typeof code === "string" ? code : "unavailable",
    typeof message === "string" ? message : `The front door answers with ${response.status}.`,
    response.status,
    { hint: typeof hint === "string" ? hint : undefined, details, retryAfter },
  );
}
