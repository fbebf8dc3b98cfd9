/**
 * Realtime's private channels, shared by all who listen to the same topic.
 *
 * 1. Joined is not complete: whoever listens reads again at each `ready`, which comes with every join and once more when
 *    the database's messages are known to flow.
 * 2. supabase-js joins again by itself after errors. After the server has closed a channel (its token ended) it does not:
 *    that is done here, with the token that the session has by then.
 */

import type { RealtimeChannel, SupabaseClient } from "@supabase/supabase-js";

/** How the live connection of a topic is. */
export type Link = "joining" | "live" | "broken";

export interface Listener {
  /** Messages flow from now on; what came before is to be read. */
  ready(): void;
  said(event: string, payload: Record<string, unknown>): void;
  link(link: Link): void;
}

interface Topic {
  listeners: Set<Listener>;
  channel: RealtimeChannel | null;
  link: Link;
  refusals: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

const REJOIN_MS = [500, 1000, 2000, 5000, 10_000] as const;

export class Topics {
  readonly #client: SupabaseClient;
  readonly #topics = new Map<string, Topic>();
  readonly #leaving = new Map<string, Promise<unknown>>();

  constructor(client: SupabaseClient) {
    this.#client = client;
  }

  /** Listens to a topic until the returned function is called. */
  listen(name: string, listener: Listener): () => void {
    let topic = this.#topics.get(name);
    if (topic) {
      topic.listeners.add(listener);
      listener.link(topic.link);
      if (topic.link === "live") listener.ready();
    } else {
      topic = { listeners: new Set([listener]), channel: null, link: "joining", refusals: 0, timer: undefined };
      this.#topics.set(name, topic);
      listener.link("joining");
      void this.#join(name, topic);
    }
    const joined = topic;
    return () => {
      if (joined.listeners.delete(listener) && joined.listeners.size === 0) this.#leave(name, joined);
    };
  }

  async #join(name: string, topic: Topic): Promise<void> {
    // A channel that is still being left would be given back by its name.
    await this.#leaving.get(name);
    // Else a session that is as young as this call would join as nobody.
    await this.#client.realtime.setAuth().catch(() => {});
    if (topic.listeners.size === 0) return;
    const channel = this.#client.channel(name, { config: { private: true, broadcast: { replication_ready: true } } });
    topic.channel = channel;
    channel.on("broadcast", { event: "*" }, ({ event, payload }) => {
      for (const listener of [...topic.listeners]) listener.said(event, payload ?? {});
    });
    channel.on("system", {}, ({ extension, status }) => {
      if (extension === "system" && status === "ok") this.#ready(topic);
    });
    channel.subscribe((state) => {
      if (topic.channel !== channel) return;
      if (state === "SUBSCRIBED") {
        topic.refusals = 0;
        this.#linked(topic, "live");
        this.#ready(topic);
        return;
      }
      this.#linked(topic, "broken");
      if (state === "CLOSED") {
        topic.channel = null;
        topic.timer = setTimeout(
          () => void this.#join(name, topic),
          REJOIN_MS[Math.min(topic.refusals++, REJOIN_MS.length - 1)],
        );
      }
    });
  }

  #leave(name: string, topic: Topic): void {
    this.#topics.delete(name);
    clearTimeout(topic.timer);
    const channel = topic.channel;
    topic.channel = null;
    if (!channel) return;
    const left = this.#client.removeChannel(channel).catch(() => {}).finally(() => {
      if (this.#leaving.get(name) === left) this.#leaving.delete(name);
    });
    this.#leaving.set(name, left);
  }

  #ready(topic: Topic): void {
    for (const listener of [...topic.listeners]) listener.ready();
  }

  #linked(topic: Topic, link: Link): void {
    if (topic.link === link) return;
    topic.link = link;
    for (const listener of [...topic.listeners]) listener.link(link);
  }
}
