/**
 * headgate's front door for products: submit, steer, look and watch with nothing but a user's Supabase session.
 *
 *     const headgate = new Headgate(createClient(url, publishableKey));
 *     const request = await headgate.submit({ organisation, name: "Prices", operations });
 *     const watching = headgate.watch(request.id, (request) => show(request));
 *     await headgate.pause(request.id);
 *
 * Works in browsers, Deno and Node 22, wherever there is `fetch`, `crypto` and `WebSocket`.
 */

import type { SupabaseClient } from "@supabase/supabase-js";
import { call } from "./door.ts";
import type { BulkRequest, Command, CommandKind, History, Priority, RequestPage, Status, Submission } from "./model.ts";
import { submit } from "./submitting.ts";
import { Topics } from "./topics.ts";
import { type ListOptions, watch, type Watching, type WatchOptions, watchOrganisation } from "./watching.ts";

export { FrontDoorError } from "./door.ts";
export * from "./model.ts";
export type { Link } from "./topics.ts";
export type { ListOptions, Watching, WatchOptions } from "./watching.ts";

export interface ListQuery {
  organisation?: string;
  status?: Status;
  limit?: number;
  before?: string;
}

export class Headgate {
  readonly #client: SupabaseClient;
  readonly #topics: Topics;

  constructor(client: SupabaseClient) {
    this.#client = client;
    this.#topics = new Topics(client);
  }

  /** Submits a request, uploading its file if it has one. With the same idempotency key it is the same request. */
  submit(submission: Submission): Promise<BulkRequest> {
    return submit(this.#client, submission);
  }

  /** Says something to a request. With the same `id` it is said once, however often it is called. */
  async command(request: string, command: CommandKind, more: { to?: Priority; id?: string } = {}): Promise<Command> {
    const body = { id: more.id ?? crypto.randomUUID(), request, command, ...(more.to ? { to: more.to } : {}) };
    return (await call<{ command: Command }>(this.#client, "command", body)).command;
  }

  pause(request: string, id?: string): Promise<Command> {
    return this.command(request, "pause", { id });
  }

  resume(request: string, id?: string): Promise<Command> {
    return this.command(request, "resume", { id });
  }

  reprioritise(request: string, to: Priority, id?: string): Promise<Command> {
    return this.command(request, "reprioritise", { to, id });
  }

  cancel(request: string, id?: string): Promise<Command> {
    return this.command(request, "cancel", { id });
  }

  retryFailed(request: string, id?: string): Promise<Command> {
    return this.command(request, "retry_failed", { id });
  }

  /** Requests, the newest first. */
  list(query: ListQuery = {}): Promise<RequestPage> {
    return call(this.#client, `history${asked(query)}`);
  }

  /** One request with its events, commands and dead letters. */
  history(request: string, page: { limit?: number; before?: string } = {}): Promise<History> {
    return call(this.#client, `history/${encodeURIComponent(request)}${asked(page)}`);
  }

  /** Calls back with the request at once and whenever it has changed, until it is over or `stop` is called. */
  watch(request: string, onChange: (request: BulkRequest) => void, options?: WatchOptions): Watching {
    return watch(this.#client, this.#topics, request, onChange, options);
  }

  /** Calls back with an organisation's newest requests at once and whenever they have changed, until `stop` is called. */
  watchOrganisation(
    organisation: string,
    onChange: (requests: readonly BulkRequest[]) => void,
    options?: ListOptions,
  ): Watching {
    return watchOrganisation(this.#client, this.#topics, organisation, onChange, options);
  }
}

function asked(query: object): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined).map((
    [name, value],
  ) => [name, String(value)]);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
