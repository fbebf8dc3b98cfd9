/**
 * Requests as they change. Realtime's messages are hints that make it quick; the rows, read through the front door, make it right.
 *
 * 1. By `revision` a message is old (ignored), the next one (taken), or one with a gap before it (taken, and the row read).
 * 2. Messages leave out what only the row has (`name`, `failures`): it is read where they may have changed.
 * 3. The row is read after every join and reconnection, and after silence: see following.ts.
 * 4. A request that is over, by its row, is watched no more: no channel and no timer is left.
 */

import { call, FrontDoorError } from "./door.ts";
import { follow } from "./following.ts";
import { type BulkRequest, type Command, type History, isOver, type RequestPage } from "./model.ts";
import type { Pace } from "./reading.ts";
import type { Link, Topics } from "./topics.ts";
import type { SupabaseClient } from "@supabase/supabase-js";

export interface Watching {
  /** No more calls; channel and timers go. */
  stop(): void;
}

export interface WatchOptions {
  /** Answers to commands, as they come; the same one may come twice. */
  onCommand?(command: Command): void;
  /** Reading fails: it is tried again, unless there is no such request for this user, which ends the watching. */
  onTrouble?(error: unknown): void;
  onLink?(link: Link): void;
  pace?: Partial<Pace>;
}

export interface ListOptions {
  onTrouble?(error: unknown): void;
  onLink?(link: Link): void;
  /** How many of the newest requests are told. */
  limit?: number;
  pace?: Partial<Pace>;
}

/** Whether a row says more than the messages that led to the same revision. */
function differs(known: BulkRequest, row: BulkRequest): boolean {
  return JSON.stringify([known.name, known.failures]) !== JSON.stringify([row.name, row.failures]);
}

/** Whether it is no use to read again: there is no such thing for this user. */
export function isGone(thrown: unknown): boolean {
  return thrown instanceof FrontDoorError && (thrown.code === "not_found" || thrown.code === "forbidden");
}

/** A message of a request: what has changed, and at least these. */
export type Said = Partial<BulkRequest> & { id: string; revision: number };

/** What a message makes of what is known: null where it is old. `whole`: nothing is missing, so the row need not be read. */
export function merged(known: BulkRequest, said: Said): { request: BulkRequest; whole: boolean } | null {
  if (said.revision <= known.revision) return null;
  const request = { ...known, ...said };
  const whole = said.revision === known.revision + 1 && request.operations.failed === known.operations.failed &&
    !isOver(request);
  return { request, whole };
}

const IN_TURNS: ReadonlySet<string> = new Set(["running", "waiting"]);

/** Whether a message of an organisation says no more than that a request's turn in the line has come, or is over. */
export function isTurn(known: BulkRequest, said: Partial<BulkRequest>): boolean {
  return IN_TURNS.has(known.status) && IN_TURNS.has(said.status ?? "") && said.priority === known.priority;
}

/** Calls back with the request at once and whenever it has changed, until it is over. */
export function watch(
  client: SupabaseClient,
  topics: Topics,
  id: string,
  onChange: (request: BulkRequest) => void,
  options: WatchOptions = {},
): Watching {
  let known: BulkRequest | null = null;
  let whole = true;
  const following = follow<History>(topics, `request:${id}`, {
    read: () => call(client, `history/${encodeURIComponent(id)}?limit=1`),
    take({ request }) {
      if (
        !known || request.revision > known.revision || (request.revision === known.revision && differs(known, request))
      ) {
        known = request;
        onChange(request);
      }
      if (request.revision === known.revision) whole = true;
      if (isOver(request)) following.stop();
    },
    said(event, payload) {
      if (event === "command") options.onCommand?.(payload as unknown as Command);
      if (event !== "progress") return false;
      const news = known && merged(known, payload as unknown as Said);
      if (news) {
        known = news.request;
        whole = news.whole && whole;
        onChange(known);
      }
      return !known || (news !== null && !whole);
    },
    failed(error) {
      options.onTrouble?.(error);
      if (isGone(error)) following.stop();
    },
    link: (link) => options.onLink?.(link),
  }, options.pace);
  return following;
}

/**
 * Calls back with an organisation's newest requests, newest first, at once and whenever one is new or has another status or
 * priority. It never ends by itself, as there may always be another request.
 */
export function watchOrganisation(
  client: SupabaseClient,
  topics: Topics,
  organisation: string,
  onChange: (requests: readonly BulkRequest[]) => void,
  options: ListOptions = {},
): Watching {
  const query = new URLSearchParams({ organisation, limit: String(options.limit ?? 50) });
  // As they were read, and of each the newest message where it says more.
  let rows: BulkRequest[] | null = null;
  const ahead = new Map<string, Said>();
  function shown(row: BulkRequest): BulkRequest {
    // All but status and priority is still the row's, so it keeps the row's revision.
    return { ...row, ...ahead.get(row.id), revision: row.revision };
  }
  return follow<RequestPage>(topics, `org:${organisation}`, {
    read: () => call(client, `history?${query}`),
    take({ requests }) {
      const before = new Map((rows ?? []).map((row) => [row.id, row]));
      const newest = requests.map((request) => {
        const had = before.get(request.id);
        return had && had.revision > request.revision ? had : request;
      });
      const same = rows?.length === newest.length &&
        newest.every((row, place) => row.id === rows![place]!.id && row.revision === rows![place]!.revision);
      rows = newest;
      for (const { id, revision } of [...ahead.values()]) {
        if (!newest.some((row) => row.id === id && row.revision < revision)) ahead.delete(id);
      }
      if (!same) onChange(newest.map(shown));
    },
    said(event, payload) {
      if (event !== "request") return false;
      const said = payload as unknown as Said;
      const row = rows?.find(({ id }) => id === said.id);
      if (said.revision <= Math.max(row?.revision ?? 0, ahead.get(said.id)?.revision ?? 0)) return false;
      // Status and priority at once; all else, and whoever is not known, by the reading that follows. A turn in the line,
      // of which there may be one a second, is all in its message.
      const turn = row !== undefined && isTurn(shown(row), said);
      ahead.set(said.id, said);
      if (row) onChange(rows!.map(shown));
      return !turn;
    },
    failed: (error) => options.onTrouble?.(error),
    link: (link) => options.onLink?.(link),
  }, options.pace);
}
