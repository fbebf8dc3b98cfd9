/**
 * Requests as the page shows them while they change: built of the client's parts, since a page shows more than a request's row
 * (its audit and dead letters, also after its end) and moves the bars of many.
 */

import { follow } from "../../client/following.ts";
import type { Topics } from "../../client/topics.ts";
import { isGone, isTurn, merged, type Said } from "../../client/watching.ts";
import {
  type BulkRequest,
  type Command,
  type DeadLetter,
  type History,
  type HistoryEvent,
  isOver,
  type Link,
  type RequestPage,
} from "./model.ts";

/** Of the hundred channels that a connection may have. */
const MOST_CHANNELS = 60;

/** Who waits for these is in the line, and its turn comes: the same as `IN_THE_LINE` in headgate/projections.py. */
const IN_THE_LINE: ReadonlySet<string> = new Set(["", "quota", "used_by_others", "spacing", "behind", "throttled", "retries"]);

/** What the audit may tell of a request's state: not each turn in the line, but what keeps it out of the line. */
function audited({ status, waiting }: BulkRequest): string {
  return `${status === "waiting" ? "running" : status} ${IN_THE_LINE.has(waiting.cause) ? "" : waiting.cause}`;
}

/** What is asked of the front door. */
export interface Front {
  readonly topics: Topics;
  list(organisation: string, before?: string | null): Promise<RequestPage>;
  look(request: string, before?: string | null): Promise<History>;
}

interface Hearing {
  link(link: Link): void;
  /** Reading fails; it is tried again by itself, until it has gone `well`. */
  trouble(thrown: unknown): void;
  well(): void;
}
export interface ListHearing extends Hearing {
  /** Requests that are new or have changed; whether there are older ones than all that were told. */
  requests(requests: readonly BulkRequest[], older: boolean): void;
}
export interface RequestHearing extends Hearing {
  /** There is no such request for this person: nothing more is told. */
  gone(thrown: unknown): void;
  request(request: BulkRequest): void;
  command(command: Command): void;
  /** Entries, of which some may have been told before. */
  events(entries: readonly HistoryEvent[], older: boolean): void;
  /** All dead letters that were read so far. */
  letters(letters: readonly DeadLetter[], further: boolean): void;
}
export interface Watching {
  /** Reads what is older. */
  more(): Promise<void>;
  stop(): void;
}

export function watchOrganisation(front: Front, organisation: string, hearing: ListHearing): Watching {
  const known = new Map<string, BulkRequest>();
  const channels = new Map<string, () => void>();
  let next: string | null = null;

  function learn(requests: readonly BulkRequest[]): void {
    if (following.stopped()) return;
    const changed = requests.filter((request) => request.revision >= (known.get(request.id)?.revision ?? 0));
    for (const request of changed) known.set(request.id, request);
    hearing.requests(changed, next !== null);
    changed.forEach(attend);
  }

  /** A channel for each open request, so that its bar moves. */
  function attend(request: BulkRequest): void {
    if (isOver(request)) {
      channels.get(request.id)?.();
      channels.delete(request.id);
    } else if (!channels.has(request.id) && channels.size < MOST_CHANNELS) {
      channels.set(
        request.id,
        front.topics.listen(`request:${request.id}`, {
          ready: () => {},
          link: () => {},
          said(event, payload) {
            const news = event === "progress" && merged(known.get(request.id)!, payload as unknown as Said);
            if (!news) return;
            learn([news.request]);
          },
        }),
      );
    }
  }

  const following = follow<RequestPage>(front.topics, `org:${organisation}`, {
    read: () => front.list(organisation),
    take(page) {
      hearing.well();
      if (known.size <= page.requests.length) next = page.next;
      learn(page.requests);
    },
    said(event, payload) {
      const said = payload as unknown as Said;
      const row = known.get(said.id);
      // Of a turn in the line the request's own channel tells.
      return event === "request" && !(row && channels.has(said.id) && isTurn(row, said));
    },
    failed: (thrown) => hearing.trouble(thrown),
    link: (link) => hearing.link(link),
  });
  return {
    async more() {
      if (next === null) return;
      const page = await front.list(organisation, next);
      next = page.next;
      learn(page.requests);
    },
    stop() {
      following.stop();
      channels.forEach((stop) => stop());
    },
  };
}

export function watchRequest(front: Front, id: string, hearing: RequestHearing): Watching {
  let known: BulkRequest | null = null;
  let next: string | null = null;
  let through = false;
  const letters = new Map<string, DeadLetter>();

  function learn(page: History, older: boolean): void {
    if (following.stopped()) return;
    if (!known || page.request.revision >= known.revision) hearing.request(known = page.request);
    for (const letter of page.dead_letters) letters.set(`${letter.line} ${letter.id}`, letter);
    // A page read anew begins at the newest; where the older ones end is known already.
    if (older || (next === null && !through)) next = page.next;
    if (older) through = next === null;
    hearing.events(page.events, next !== null);
    hearing.letters([...letters.values()].sort((a, b) => a.line - b.line), next !== null);
    page.commands.forEach((command) => hearing.command(command));
  }

  const following = follow<History>(front.topics, `request:${id}`, {
    read: () => front.look(id),
    take(page) {
      hearing.well();
      learn(page, false);
    },
    said(event, payload) {
      if (event === "command") hearing.command(payload as unknown as Command);
      const before = known;
      const news = event === "progress" && before && merged(before, payload as unknown as Said);
      if (news) hearing.request(known = news.request);
      // The audit and the reasons are in no message.
      return event === "command" || !before || Boolean(news && (!news.whole || audited(news.request) !== audited(before)));
    },
    failed(thrown) {
      if (!isGone(thrown)) return hearing.trouble(thrown);
      following.stop();
      hearing.gone(thrown);
    },
    link: (link) => hearing.link(link),
  });
  return {
    async more() {
      if (next !== null) learn(await front.look(id, next), true);
    },
    stop: () => following.stop(),
  };
}
