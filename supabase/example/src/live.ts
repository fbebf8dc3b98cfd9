/**
 * One private channel of Realtime. Joined is not complete: messages get lost, so whoever listens reads again when `ready` is
 * called, which happens at each join, when the page is looked at again, and from time to time.
 */

import type { SupabaseClient } from "@supabase/supabase-js";
import type { Link } from "./model.ts";

const READ_AGAIN_MS = 30_000;

export interface Listener {
  ready(): void;
  said(event: string, payload: Record<string, unknown>): void;
  link(link: Link): void;
}

/** Joins `topic` and stays, also across lost connections; the answer leaves. */
export function joined(client: SupabaseClient, topic: string, events: readonly string[], listener: Listener): () => void {
  const channel = client.channel(topic, { config: { private: true } });
  for (const event of events) channel.on("broadcast", { event }, ({ payload }) => listener.said(event, payload ?? {}));
  listener.link("joining");
  channel.subscribe((state) => {
    if (state === "SUBSCRIBED") {
      listener.link("live");
      listener.ready();
    } else if (state !== "CLOSED") listener.link("broken");
  });
  const looked = () => {
    if (!document.hidden) listener.ready();
  };
  const clock = setInterval(looked, READ_AGAIN_MS);
  document.addEventListener("visibilitychange", looked);
  return () => {
    clearInterval(clock);
    document.removeEventListener("visibilitychange", looked);
    void client.removeChannel(channel);
  };
}

/** `act` once after a pause, however often it is asked for meanwhile. */
export function calmly(ms: number, act: () => void): { soon(): void; never(): void } {
  let timer: number | undefined;
  return {
    soon() {
      timer ??= setTimeout(() => {
        timer = undefined;
        act();
      }, ms);
    },
    never: () => clearTimeout(timer),
  };
}
