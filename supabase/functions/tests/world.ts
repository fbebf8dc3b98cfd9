/** What the tests stand on: keys to sign with, and a PostgREST and Storage of our own that keep every request as it came. */

import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { command } from "../command/handler.ts";
import { history } from "../history/handler.ts";
import { submit } from "../submit/handler.ts";
import type { Handler } from "../_shared/front.ts";
import type { Settings } from "../_shared/settings.ts";

export const ORGANISATION = "0a000000-0000-4000-8000-000000000001";
export const USER = "0b000000-0000-4000-8000-000000000001";
export const REQUEST = "0c000000-0000-4000-8000-000000000001";
export const COMMAND = "0d000000-0000-4000-8000-000000000001";
export const ISSUER = "https://project.example/auth/v1";
export const KEY = "sb_publishable_tests";

export interface Received {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: Headers;
  body: unknown;
}

export interface Reply {
  status?: number;
  body?: unknown;
  /** As PostgREST has it: an error's code and words. */
  fault?: { code: string; message: string; hint?: string | null; details?: string | null };
  /** Nothing is answered: the connection breaks. */
  gone?: boolean;
  afterMs?: number;
}

const { publicKey, privateKey } = await generateKeyPair("ES256");
export const PUBLIC_KEY: JWK = { ...await exportJWK(publicKey), kid: "es", alg: "ES256", use: "sig" };

export class World {
  readonly received: Received[] = [];
  readonly replies: Reply[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly settings: Settings;
  readonly submit: Handler;
  readonly command: Handler;
  readonly history: Handler;

  constructor(settings: Partial<Settings> = {}) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => this.#answer(request),
    );
    this.settings = {
      url: `http://127.0.0.1:${this.#server.addr.port}`,
      publishableKey: KEY,
      keys: [PUBLIC_KEY],
      issuer: ISSUER,
      origins: ["*"],
      patienceMs: 5000,
      ...settings,
    };
    this.submit = submit(this.settings);
    this.command = command(this.settings);
    this.history = history(this.settings);
  }

  async [Symbol.asyncDispose]() {
    await this.#server.shutdown();
  }

  /** Replies to the next requests, in this order; a request beyond them is answered with 500. */
  will(...replies: Reply[]): this {
    this.replies.push(...replies);
    return this;
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const text = await request.text();
    this.received.push({
      method: request.method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: text ? JSON.parse(text) : undefined,
    });
    const reply = this.replies.shift() ??
      { status: 500, body: { code: "XX000", message: "nobody told what to reply" } };
    if (reply.afterMs) await new Promise((answer) => setTimeout(answer, reply.afterMs));
    if (reply.gone) return new Response(new ReadableStream({ start: (stream) => stream.error(new Error("gone")) }));
    if (!reply.fault) return Response.json(reply.body ?? null, { status: reply.status ?? 200 });
    const status = reply.status ?? (/^PT\d{3}$/.test(reply.fault.code) ? Number(reply.fault.code.slice(2)) : 400);
    return Response.json({ details: null, hint: null, ...reply.fault }, { status });
  }
}

/** A token of a signed-in user; `claims` and `header` replace what it would say. */
export async function token(claims: JWTPayload = {}, header: { kid?: string; alg?: string } = {}, key = privateKey) {
  const now = Math.floor(Date.now() / 1000);
  const all = {
    sub: USER,
    role: "authenticated",
    aud: "authenticated",
    iss: ISSUER,
    iat: now,
    exp: now + 600,
    ...claims,
  };
  return await new SignJWT(all).setProtectedHeader({ alg: "ES256", kid: "es", ...header }).sign(key);
}

export async function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Request> {
  return new Request(`https://project.example/functions/v1${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${await token()}`, "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

export async function get(path: string): Promise<Request> {
  return new Request(`https://project.example${path}`, { headers: { authorization: `Bearer ${await token()}` } });
}

/** A row of bulk_requests as PostgREST gives it, with what `changes` says. */
export function requestRow(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: REQUEST,
    organisation_id: ORGANISATION,
    name: "orders",
    status: "submitted",
    priority: "normal",
    ordering: "lane",
    version: 0,
    revision: 1,
    operations_total: 5,
    operations_succeeded: 3,
    operations_failed: 1,
    operations_unprocessed: 1,
    calls_planned: 2,
    calls_made: 1,
    calls_retried: 0,
    rate_per_minute: 12.5,
    eta_at: null,
    waiting_reason: "quota",
    waiting_cause: "project",
    waiting_until: "2026-11-24T15:00:01.5+00:00",
    failures: { "no such sheet": 1 },
    results_location: null,
    error: null,
    created_at: "2026-11-24T15:00:00.123456+00:00",
    updated_at: "2026-11-24 15:00:00.123456+00",
    finished_at: null,
    created_by: USER,
    content_sha256: null,
    input_sha256: null,
    input_bytes: null,
    input_path: null,
    ...changes,
  };
}

export function commandRow(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: COMMAND,
    request_id: REQUEST,
    kind: "pause",
    argument: null,
    sequence: 1,
    status: "pending",
    answer: null,
    created_at: "2026-11-24T15:00:02+00:00",
    answered_at: null,
    created_by: USER,
    ...changes,
  };
}
