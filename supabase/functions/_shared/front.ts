/**
 * What all functions have around their answers: routes, CORS, sign-in, the form of errors, headers.
 *
 * 1. Path, then method, then sign-in, then the rest: a preflight carries no token, and an unknown path tells nothing.
 * 2. Whatever is thrown becomes `{error: {code, message, hint?, details?}}`; only a `Refusal`'s texts are told,
 *    everything else is logged under the answer's x-request-id.
 */

import { type Database, databaseOf } from "./database.ts";
import { Refusal } from "./refusals.ts";
import type { Settings } from "./settings.ts";
import { type User, verifier } from "./tokens.ts";

export interface Call {
  request: Request;
  user: User;
  database: Database;
  /** What stands in the path where the route has `{id}`; "" elsewhere. */
  id: string;
  query: URLSearchParams;
}

export interface Answer {
  status: number;
  body: unknown;
}

/** By path after the function's name, then by method: `{"/{id}/finalize": {POST: …}}`. */
export type Routes = Record<string, Record<string, (call: Call) => Promise<Answer>>>;
export type Handler = (request: Request) => Promise<Response>;

/** As the table's check has it, so that nothing else is asked of the database. */
export const REQUEST_ID = /^[A-Za-z0-9_.@-]{1,128}$/;

const ASKED_HEADERS = "authorization, apikey, content-type, x-client-info, x-region, x-request-id, " +
  "x-supabase-api-version, traceparent, tracestate, baggage";

/** The function `name` that answers `routes`. */
export function front(name: string, settings: Settings, routes: Routes): Handler {
  const verify = verifier(settings);

  async function answered(request: Request): Promise<Answer & { headers?: Record<string, string> }> {
    const url = addressOf(request);
    const { methods, id } = route(url.pathname);
    const allow = [...Object.keys(methods), "OPTIONS"].join(", ");
    if (request.method === "OPTIONS") return { status: 204, body: undefined, headers: { allow } };
    const answer = Object.hasOwn(methods, request.method) ? methods[request.method] : undefined;
    if (!answer) {
      throw new Refusal("method_not_allowed", `This address knows ${allow}.`, { headers: { allow } });
    }
    const user = await verify(request);
    return await answer({ request, user, database: databaseOf(settings, user), id, query: url.searchParams });
  }

  function route(path: string) {
    const prefix = new RegExp(`^(/functions/v1)?/${name}(?=/|$)`).exec(path);
    const parts = prefix ? path.slice(prefix[0].length).split("/").slice(1) : null;
    for (const [pattern, methods] of Object.entries(routes)) {
      const wanted = pattern.split("/").slice(1);
      if (parts?.length !== wanted.length) continue;
      let id = "";
      const fits = wanted.every((part, at) => {
        if (part !== "{id}") return part === parts[at];
        id = decoded(parts[at]);
        return REQUEST_ID.test(id);
      });
      if (fits) return { methods, id };
    }
    throw new Refusal("not_found", "There is nothing at this address.");
  }

  return async (request) => {
    const requestId = requestIdOf(request);
    let answer: { status: number; body: unknown; headers?: Record<string, string> };
    try {
      answer = await answered(request);
    } catch (error) {
      const refusal = error instanceof Refusal
        ? error
        : new Refusal("internal", "Something went wrong here; it is in our log.", { cause: error });
      if (refusal.status >= 500) {
        console.error(JSON.stringify({ requestId, function: name, cause: logged(refusal.cause) }));
      }
      answer = { status: refusal.status, body: refusal.body(), headers: refusal.more.headers };
    }
    const headers = new Headers({ ...common(requestId), ...cors(settings, request), ...answer.headers });
    if (answer.body !== undefined) headers.set("content-type", "application/json; charset=utf-8");
    return new Response(answer.body === undefined ? null : JSON.stringify(answer.body), {
      status: answer.status,
      headers,
    });
  };
}

/** What no URL can be made of comes by a Host or a request line that no client sends. */
function addressOf(request: Request): URL {
  try {
    return new URL(request.url);
  } catch {
    throw new Refusal("invalid", "The request's address is none.", { status: 400 });
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

/** The caller's own id for the log where it is harmless, else a new one. */
function requestIdOf(request: Request): string {
  const given = request.headers.get("x-request-id") ?? "";
  return /^[A-Za-z0-9_-]{1,64}$/.test(given) ? given : crypto.randomUUID();
}

function common(requestId: string): Record<string, string> {
  return {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-request-id": requestId,
  };
}

/** No cookie is ever read, so `*` gives a foreign page nothing that it has no token for. */
function cors(settings: Settings, request: Request): Record<string, string> {
  const origin = request.headers.get("origin");
  const all = settings.origins.includes("*");
  const headers: Record<string, string> = all ? {} : { vary: "origin" };
  if (!origin || !(all || settings.origins.includes(origin))) return headers;
  headers["access-control-allow-origin"] = all ? "*" : origin;
  headers["access-control-expose-headers"] = "retry-after, x-request-id";
  if (request.method === "OPTIONS") {
    headers["access-control-allow-methods"] = "GET, POST, OPTIONS";
    headers["access-control-allow-headers"] = ASKED_HEADERS;
    headers["access-control-max-age"] = "86400";
  }
  return headers;
}

/** What the log says of a cause: never a header, a token or a body, nor a row, which Postgres may tell in its details. */
function logged(cause: unknown): unknown {
  const { name, code, status, message } = (cause ?? {}) as Record<string, unknown>;
  return { name, code, status, message };
}
