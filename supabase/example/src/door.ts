/** What the page asks of the front door: sessions by supabase-js, everything else by the Edge Functions. */

import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { hashOf } from "./hashing.ts";
import { call } from "../../client/door.ts";
import { Topics } from "../../client/topics.ts";
import type { BulkRequest, Command, CommandKind, History, Organisation, Priority, RequestPage, Role, Wish } from "./model.ts";
import { Trouble } from "./trouble.ts";
import { uploaded } from "./uploading.ts";
import { type ListHearing, type RequestHearing, type Watching, watchOrganisation, watchRequest } from "./watching.ts";

interface Submitted {
  request: BulkRequest;
  upload?: { url: string };
}

export class Door {
  readonly topics: Topics;
  private readonly client: SupabaseClient;

  constructor(url: string, key: string) {
    this.client = createClient(url, key);
    this.topics = new Topics(this.client);
  }

  // -- the session

  async signIn(email: string, password: string): Promise<void> {
    const { error } = await this.client.auth.signInWithPassword({ email, password });
    if (error) throw new Trouble(sentence(error.message), "Check the email address and the password.");
  }

  async signUp(email: string, password: string): Promise<void> {
    const { data, error } = await this.client.auth.signUp({ email, password });
    if (error) throw new Trouble(sentence(error.message), "Take another email address or a longer password.");
    if (!data.session) throw new Trouble("The account is there.", "Open the link in the mail that we sent you, then sign in.");
  }

  async signOut(): Promise<void> {
    await this.client.auth.signOut({ scope: "local" });
  }

  onSignedOut(act: () => void): void {
    this.client.auth.onAuthStateChange((event) => {
      // Not inside the callback: it holds a lock that every further call waits for.
      if (event === "SIGNED_OUT") setTimeout(act);
    });
  }

  /** Whose session this is, if there is one. */
  async person(): Promise<{ id: string; email: string } | null> {
    const user = (await this.client.auth.getSession()).data.session?.user;
    return user ? { id: user.id, email: user.email ?? "" } : null;
  }

  /** Where the person belongs, by name. */
  async organisations(user: string): Promise<Organisation[]> {
    const { data, error } = await this.client
      .from("memberships")
      .select("role, organisations(id, name)")
      .eq("user_id", user);
    if (error) {
      throw error.message.includes("fetch") ? new TypeError(error.message) : new Trouble(sentence(error.message), "Try again.");
    }
    const found = data as unknown as { role: Role; organisations: { id: string; name: string } }[];
    return found.map(({ role, organisations }) => ({ ...organisations, role })).sort((a, b) => a.name.localeCompare(b.name));
  }

  // -- requests

  async submit(organisation: string, wish: Wish, key: string, operations: string): Promise<BulkRequest> {
    const body = { organisation, ...wish, idempotency_key: key, operations };
    return (await this.call<Submitted>("submit", body)).request;
  }

  /** The same by way of storage; `told` hears what is under way and how far (0 to 1) it is. */
  async submitFile(
    organisation: string,
    wish: Wish,
    key: string,
    file: Blob,
    told: (doing: string, part: number) => void,
  ): Promise<BulkRequest> {
    const sha256 = await hashOf(file, (bytes) => told("Reading the file…", bytes / file.size));
    told("Asking for a place…", 1);
    const body = { organisation, ...wish, idempotency_key: key, upload: { sha256, bytes: file.size } };
    const { request, upload } = await this.call<Submitted>("submit", body);
    if (upload) {
      await uploaded(
        upload.url,
        file,
        (bytes) => told(`Uploading… ${Math.floor((100 * bytes) / file.size)}%`, bytes / file.size),
      );
    }
    if (request.status === "awaiting_upload") {
      told("Starting…", 1);
      await this.call(`submit/${encodeURIComponent(request.id)}/finalize`, {});
    }
    return request;
  }

  /** Says something to a request; under its `id` it is said once. */
  async command(id: string, request: string, command: CommandKind, to: Priority | null): Promise<Command> {
    const body = { id, request, command, ...(to ? { to } : {}) };
    return (await this.call<{ command: Command }>("command", body)).command;
  }

  list(organisation: string, before: string | null = null): Promise<RequestPage> {
    return this.call(`history?${query({ organisation, before })}`);
  }

  look(request: string, before: string | null = null): Promise<History> {
    return this.call(`history/${encodeURIComponent(request)}?${query({ before })}`);
  }

  watchOrganisation(organisation: string, hearing: ListHearing): Watching {
    return watchOrganisation(this, organisation, hearing);
  }

  watchRequest(request: string, hearing: RequestHearing): Watching {
    return watchRequest(this, request, hearing);
  }

  /** One call; a session that the front door does not know any more is over. Raises `FrontDoorError`. */
  private async call<T>(path: string, body?: object): Promise<T> {
    try {
      return await call<T>(this.client, path, body);
    } catch (thrown) {
      if ((thrown as { code?: string }).code === "unauthenticated") await this.signOut();
      throw thrown;
    }
  }
}

function query(given: Record<string, string | null>): string {
  return new URLSearchParams(Object.entries(given).filter((pair): pair is [string, string] => pair[1] !== null)).toString();
}

function sentence(message: string): string {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}
