/** Requests as they change: Realtime says that and mostly how, what it leaves out or loses is read through the front door. */

import type { Door, RequestPage } from "./door.ts";
import { calmly, joined } from "./live.ts";
import type { BulkRequest, Command, DeadLetter, Entry, Link } from "./model.ts";
import { isOver } from "./rights.ts";

const CALM_MS = 300;
/** Of the hundred channels that a connection may have. */
const MOST_CHANNELS = 60;

interface Hearing {
  link(link: Link): void;
  trouble(thrown: unknown): void;
}
export interface ListHearing extends Hearing {
  /** Requests that are new or have changed; whether there are older ones than all that were told. */
  requests(requests: readonly BulkRequest[], older: boolean): void;
}
export interface RequestHearing extends Hearing {
  request(request: BulkRequest): void;
  command(command: Command): void;
  /** Entries, of which some may have been told before. */
  events(entries: readonly Entry[], older: boolean): void;
  /** All dead letters that were read so far. */
  letters(letters: readonly DeadLetter[], further: boolean): void;
}
export interface Watching {
  more(): Promise<void>;
  stop(): void;
}

type Said = Partial<BulkRequest> & { id: string; revision: number };

/** What is known of a request after a message; null where the message is old, `gap` where one before it was lost. */
export function merged(known: BulkRequest, said: Said): { request: BulkRequest; gap: boolean } | null {
  if (said.revision <= known.revision) return null;
  return { request: { ...known, ...said }, gap: said.revision > known.revision + 1 };
}

export function watchOrganisation(door: Door, organisation: string, hearing: ListHearing): Watching {
  const known = new Map<string, BulkRequest>();
  const channels = new Map<string, () => void>();
  let next: string | null = null;
  let stopped = false;

  function take(requests: readonly BulkRequest[]): void {
    const changed = requests.filter((request) => request.revision >= (known.get(request.id)?.revision ?? 0));
    for (const request of changed) known.set(request.id, request);
    hearing.requests(changed, next !== null);
    for (const request of changed) follow(request);
  }

  /** A channel for each open request, so that its bar moves. */
  function follow(request: BulkRequest): void {
    const leave = channels.get(request.id);
    if (isOver(request)) {
      leave?.();
      channels.delete(request.id);
    } else if (!leave && channels.size < MOST_CHANNELS) {
      channels.set(
        request.id,
        joined(door.client, `request:${request.id}`, ["progress"], {
          ready: () => {},
          link: () => {},
          said(_, payload) {
            const news = merged(known.get(request.id)!, payload as unknown as Said);
            if (news) take([news.request]);
          },
        }),
      );
    }
  }

  async function read(): Promise<void> {
    try {
      const page = await door.list(organisation);
      if (stopped) return;
      if (known.size <= page.requests.length) next = page.next;
      take(page.requests);
    } catch (thrown) {
      if (!stopped) hearing.trouble(thrown);
    }
  }

  const again = calmly(CALM_MS, () => void read());
  const leave = joined(door.client, `org:${organisation}`, ["request"], {
    ready: again.soon,
    said: again.soon,
    link: (link) => hearing.link(link),
  });
  void read();
  return {
    async more() {
      if (next === null) return;
      const page = await door.list(organisation, next);
      next = page.next;
      take(page.requests);
    },
    stop() {
      stopped = true;
      again.never();
      leave();
      for (const stop of channels.values()) stop();
    },
  };
}

export function watchRequest(door: Door, id: string, hearing: RequestHearing): Watching {
  let known: BulkRequest | null = null;
  let next: string | null = null;
  let through = false;
  let stopped = false;
  const letters = new Map<string, DeadLetter>();

  function take(page: RequestPage, older: boolean): void {
    if (!known || page.request.revision >= known.revision) hearing.request(known = page.request);
    for (const letter of page.dead_letters) letters.set(`${letter.line} ${letter.id}`, letter);
    // A page read anew begins at the newest; where the older ones end is known already.
    if (older || (next === null && !through)) next = page.next;
    if (older) through = next === null;
    hearing.events(page.events, next !== null);
    hearing.letters([...letters.values()].sort((a, b) => a.line - b.line), next !== null);
    page.commands.forEach((command) => hearing.command(command));
  }

  async function read(): Promise<void> {
    try {
      const page = await door.look(id);
      if (!stopped) take(page, false);
    } catch (thrown) {
      if (!stopped) hearing.trouble(thrown);
    }
  }

  const again = calmly(CALM_MS, () => void read());
  const leave = joined(door.client, `request:${id}`, ["progress", "command"], {
    ready: again.soon,
    link: (link) => hearing.link(link),
    said(event, payload) {
      if (event === "command") {
        hearing.command(payload as unknown as Command);
        again.soon();
        return;
      }
      if (!known) return again.soon();
      const before = known;
      const news = merged(before, payload as unknown as Said);
      if (!news) return;
      hearing.request(known = news.request);
      // The messages hold neither reasons nor the audit.
      const further = news.request.status !== before.status || news.request.operations.failed !== before.operations.failed;
      if (news.gap || further) again.soon();
    },
  });
  void read();
  return {
    async more() {
      if (next !== null) take(await door.look(id, next), true);
    },
    stop() {
      stopped = true;
      again.never();
      leave();
    },
  };
}
