/**
 * The way to Postgres and Storage: with the user's own token, so that row-level security decides, and with no other.
 *
 * 1. Each call is made once and ends within `patienceMs`: repeating is for the caller, who has a key for it.
 * 2. Of what the database says only texts that our own triggers wrote for people (SQLSTATE PTxxx) are passed on.
 */

import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { type Code, type More, Refusal, unavailable } from "./refusals.ts";
import type { Settings } from "./settings.ts";
import type { User } from "./tokens.ts";

export type Database = SupabaseClient;

/** What PostgREST says of a statement that failed; `code` is a SQLSTATE or PGRST…, and "" where nothing answered. */
export interface Fault {
  code?: string;
  message?: string;
  hint?: string | null;
}

export function databaseOf(settings: Settings, user: User): Database {
  return createClient(settings.url, settings.publishableKey, {
    accessToken: () => Promise.resolve(user.token),
    db: { retry: false },
    global: {
      fetch: (input, init) => fetch(input, { ...init, signal: AbortSignal.timeout(settings.patienceMs) }),
    },
  });
}

/** What an answer of PostgREST holds; throws the refusal that its error means. */
export function rowsOf<T>(answer: { data: unknown; error: Fault | null; status: number }): T {
  if (answer.error) throw refusalOf(answer.error, answer.status);
  return answer.data as T;
}

const BY_SQLSTATE: [RegExp, Code, string][] = [
  [/^42501$/, "forbidden", "You may not do this here, or it does not exist."],
  [/^(23505|40001|40P01)$/, "conflict", "Somebody else did the same at the same time: look, then ask again."],
  [/^23503$/, "not_found", "What this belongs to does not exist."],
  [/^(23502|23514|22.{3})$/, "invalid", "A field holds a value that cannot be kept."],
  [/^PGRST30[0-3]$/, "unauthenticated", "The token is not valid: sign in again."],
];

/** The refusal that an error of PostgREST stands for. */
export function refusalOf(fault: Fault, status: number): Refusal {
  const code = fault.code ?? "";
  if (/^PT4\d\d$/.test(code)) return spoken(code, fault);
  for (const [states, meaning, message] of BY_SQLSTATE) {
    if (states.test(code)) return new Refusal(meaning, message, { cause: fault });
  }
  // Nothing answered, the connection or the schema is not there (yet), a limit of the server was met, its disk is full (it reads
  // only), somebody holds what is needed.
  const away = /^(|08.{3}|25006|53.{3}|55P03|57.{3}|PGRST00\d|PGRST20\d)$/.test(code) || !(status < 500) ||
    status === 0;
  if (away) return unavailable(fault);
  return new Refusal("internal", "Something went wrong here; it is in our log.", { cause: fault });
}

/** What a trigger of ours says with `PT` and an HTTP status; the hint of a 429 is the seconds to wait. */
function spoken(code: string, fault: Fault): Refusal {
  const more: More = { cause: fault };
  const message = sentence(fault.message || "this cannot be done now");
  const hint = fault.hint ? sentence(fault.hint) : undefined;
  switch (code) {
    case "PT429": {
      const seconds = Math.max(1, Math.ceil(Number(fault.hint) || 1));
      return new Refusal("too_many", message, { ...more, headers: { "retry-after": String(seconds) } });
    }
    case "PT403":
      return new Refusal("forbidden", message, { ...more, hint });
    case "PT404":
      return new Refusal("not_found", message, more);
    case "PT409":
      return new Refusal("conflict", message, { ...more, hint });
    case "PT413":
      return new Refusal("too_large", message, more);
    default:
      return new Refusal("invalid", message, more);
  }
}

function sentence(clause: string): string {
  return clause[0].toUpperCase() + clause.slice(1) + (/[.!?]$/.test(clause) ? "" : ".");
}
