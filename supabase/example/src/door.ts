/** What the page asks of the front door: sessions by supabase-js, everything else by the Edge Functions. */

import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { hashOf } from "./hashing.ts";
import type { BulkRequest, Command, CommandKind, DeadLetter, Entry, Organisation, Priority, Role, Wish } from "./model.ts";
import { Trouble } from "./trouble.ts";
import { uploaded } from "./uploading.ts";
import { type ListHearing, type RequestHearing, type Watching, watchOrganisation, watchRequest } from "./watching.ts";

export interface ListPage {
  requests: BulkRequest[];
  next: string | null;
}
export interface RequestPage {
  request: BulkRequest;
  events: Entry[];
  commands: Command[];
  dead_letters: DeadLetter[];
  next: string | null;
}
interface Upload {
  url: string;
}

export class Door {
  readonly client: SupabaseClient;

  constructor(private readonly url: string, private readonly key: string) {
    this.client = createClient(url, key);
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
    return (await this.call<{ request: BulkRequest }>("POST", "submit", body)).request;
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
    const { request, upload } = await this.call<{ request: BulkRequest; upload?: Upload }>("POST", "submit", body);
    if (upload) {
      await uploaded(
        upload.url,
        file,
        (bytes) => told(`Uploading… ${Math.floor((100 * bytes) / file.size)}%`, bytes / file.size),
      );
    }
    if (request.status === "awaiting_upload") {
      told("Starting…", 1);
      await this.call("POST", `submit/${encodeURIComponent(request.id)}/finalize`);
    }
    return request;
  }

  /** Says something to a request; under its `id` it is said once. */
  async command(id: string, request: string, command: CommandKind, to: Priority | null): Promise<Command> {
    const body = { id, request, command, ...(to ? { to } : {}) };
    return (await this.call<{ command: Command }>("POST", "command", body)).command;
  }

  list(organisation: string, before: string | null = null): Promise<ListPage> {
    return this.call("GET", `history?${query({ organisation, before })}`);
  }

  look(request: string, before: string | null = null): Promise<RequestPage> {
    return this.call("GET", `history/${encodeURIComponent(request)}?${query({ before })}`);
  }

  watchOrganisation(organisation: string, hearing: ListHearing): Watching {
    return watchOrganisation(this, organisation, hearing);
  }

  watchRequest(request: string, hearing: RequestHearing): Watching {
    return watchRequest(this, request, hearing);
  }

  /** One call; raises what the front door says as `{code, message, hint, retryAfter}`. */
  private async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const token = (await this.client.auth.getSession()).data.session?.access_token ?? this.key;
    const answer = await fetch(`${this.url}/functions/v1/${path}`, {
      method,
      headers: { apikey: this.key, authorization: `Bearer ${token}`, ...(body ? { "content-type": "application/json" } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said as T;
    if (said.error?.code === "unauthenticated") await this.signOut();
    throw said.error
      ? { ...said.error, retryAfter: Number(answer.headers.get("retry-after")) || undefined }
      : new Trouble(`The front door answered ${answer.status}.`, "Try again in a moment.");
  }
}

function query(given: Record<string, string | null>): string {
  return new URLSearchParams(Object.entries(given).filter((pair): pair is [string, string] => pair[1] !== null)).toString();
}

function sentence(message: string): string {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}
