/**
 * A topic and the row behind it, followed together: messages make it quick, readings make it right.
 *
 * 1. It is read at once, at every `ready`, when the connection breaks, where a message does not say all, after silence, and
 *    now and then whatever is heard.
 * 2. After `stop` nothing is taken any more, a reading that is under way neither; no channel and no timer is left.
 */

import { PACE, type Pace, Reader } from "./reading.ts";
import type { Link, Topics } from "./topics.ts";

export interface Followed<T> {
  read(): Promise<T>;
  take(found: T): void;
  /** A message; true: it does not say all, so read. */
  said(event: string, payload: Record<string, unknown>): boolean;
  /** Reading fails; it is tried again, unless this stops it. */
  failed(error: unknown): void;
  link(link: Link): void;
}

export interface Following {
  stopped(): boolean;
  stop(): void;
}

export function follow<T>(topics: Topics, topic: string, followed: Followed<T>, pace: Partial<Pace> = {}): Following {
  let stopped = false;
  const reader = new Reader(
    async () => {
      const found = await followed.read();
      if (!stopped) followed.take(found);
    },
    (error) => followed.failed(error),
    { ...PACE, ...pace },
  );
  const leave = topics.listen(topic, {
    ready: () => reader.soon(),
    link(link) {
      followed.link(link);
      if (link === "broken") reader.soon();
    },
    said(event, payload) {
      reader.heard();
      if (followed.said(event, payload)) reader.soon();
    },
  });
  reader.soon();
  return {
    stopped: () => stopped,
    stop() {
      stopped = true;
      reader.stop();
      leave();
    },
  };
}
