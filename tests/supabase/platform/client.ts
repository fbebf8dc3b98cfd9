/**
 * Our client in a process of its own, on the real supabase-js. Each line that comes in is a call, each that goes out an
 * answer (`n`) or a callback of a watching (`watching`). At the end of input it waits for whatever still keeps it alive.
 * What the example page watches runs here as well, without a page.
 */

import { createClient } from "@supabase/supabase-js";
import { FrontDoorError, Headgate, type Watching } from "../../../supabase/client/mod.ts";
import { Topics } from "../../../supabase/client/topics.ts";
import * as page from "../../../supabase/example/src/watching.ts";

const [url, key, given] = Deno.args as [string, string, string];
let token = given;
const client = createClient(url, key, {
  accessToken: () => Promise.resolve(token),
  // Else the connection stays for 50 seconds after the last channel.
  realtime: { disconnectOnEmptyChannelsAfterMs: 0 },
});
const headgate = new Headgate(client);
const front: page.Front = {
  topics: new Topics(client),
  list: (organisation, before) => headgate.list({ organisation, before: before ?? undefined }),
  look: (request, before) => headgate.history(request, { before: before ?? undefined }),
};
const watchings = new Map<number, Watching>();

// deno-lint-ignore no-explicit-any
type Arguments = any[];

const CALLS: Record<string, (n: number, ...given: Arguments) => unknown> = {
  token(_, renewed: string) {
    token = renewed;
    return client.realtime.setAuth();
  },
  watch(n, request: string, pace) {
    const options = {
      pace,
      onCommand: (command: unknown) => tell({ watching: n, command }),
      onTrouble: (error: unknown) => tell({ watching: n, trouble: spelt(error) }),
      onLink: (link: string) => tell({ watching: n, link }),
    };
    watchings.set(n, headgate.watch(request, (request) => tell({ watching: n, request }), options));
  },
  watchOrganisation(n, organisation: string, pace) {
    const options = {
      pace,
      onTrouble: (error: unknown) => tell({ watching: n, trouble: spelt(error) }),
      onLink: (link: string) => tell({ watching: n, link }),
    };
    watchings.set(n, headgate.watchOrganisation(organisation, (requests) => tell({ watching: n, requests }), options));
  },
  watchOnPage(n, request: string) {
    const hearing: page.RequestHearing = {
      request: (request) => tell({ watching: n, request }),
      command: (command) => tell({ watching: n, command }),
      events: () => {},
      letters: () => {},
      gone: (error) => tell({ watching: n, trouble: spelt(error) }),
      ...heard(n),
    };
    watchings.set(n, page.watchRequest(front, request, hearing));
  },
  watchOrganisationOnPage(n, organisation: string) {
    const hearing: page.ListHearing = {
      requests: (requests) => requests.forEach((request) => tell({ watching: n, request })),
      ...heard(n),
    };
    watchings.set(n, page.watchOrganisation(front, organisation, hearing));
  },
  /** Joins a topic by hand, and says how that went. */
  async join(_, topic: string) {
    await client.realtime.setAuth();
    const channel = client.channel(topic, { config: { private: true } });
    const answer = await new Promise((done) =>
      channel.subscribe((state, error) => done([state, error?.message ?? ""]))
    );
    await client.removeChannel(channel);
    return answer;
  },
  stop: (_, n: number) => watchings.get(n)!.stop(),
  submit: (_, submission) => headgate.submit(submission),
  command: (_, request, command, more) => headgate.command(request, command, more),
  history: (_, request, page) => headgate.history(request, page),
  list: (_, query) => headgate.list(query),
};

function tell(what: object): void {
  console.log(JSON.stringify({ at: performance.timeOrigin + performance.now(), ...what }));
}

/** What a request's page and the list's have in common. */
function heard(n: number) {
  return {
    link: (link: string) => tell({ watching: n, link }),
    trouble: (error: unknown) => tell({ watching: n, trouble: spelt(error) }),
    well: () => {},
  };
}

function spelt(error: unknown): object {
  if (!(error instanceof FrontDoorError)) return { code: "", message: String(error) };
  return { code: error.code, message: error.message, status: error.status, retryAfter: error.retryAfter };
}

async function answer(line: string): Promise<void> {
  const { n, call, given } = JSON.parse(line);
  try {
    tell({ n, answer: (await CALLS[call]!(n, ...given)) ?? null });
  } catch (error) {
    tell({ n, error: spelt(error) });
  }
}

let rest = "";
for await (const piece of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + piece).split("\n");
  rest = lines.pop()!;
  for (const line of lines) void answer(line);
}
