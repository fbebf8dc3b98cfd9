/**
 * `POST /submit` and `POST /submit/{id}/finalize`.
 *
 * 1. One insert, and row-level security says whether. Project, credentials and the file's path are the server's.
 * 2. An idempotency key that exists is read back: the same content is the same request, another content a conflict.
 * 3. A file that waits to be uploaded gets a fresh signed address each time its creator asks.
 */

import { readJson } from "../_shared/bodies.ts";
import { type Database, type Fault, refusalOf, rowsOf } from "../_shared/database.ts";
import { type Answer, type Call, front, type Handler } from "../_shared/front.ts";
import { canonical, encode, type Input, inputOf, sha256 } from "../_shared/operations.ts";
import { quoted } from "../_shared/pages.ts";
import { Refusal, unavailable } from "../_shared/refusals.ts";
import {
  COMMAND_COLUMNS,
  commandOf,
  type CommandRow,
  requestOf,
  SUBMIT_COLUMNS,
  type SubmittedRow,
} from "../_shared/rows.ts";
import type { Settings } from "../_shared/settings.ts";
import { Submission } from "../_shared/shapes.ts";
import { shaped } from "../_shared/texts.ts";

const BUCKET = "inputs";

export function submit(settings: Settings): Handler {
  return front("submit", settings, {
    "": { POST: submitted },
    "/{id}/finalize": { POST: finalized },
  });
}

async function submitted(call: Call): Promise<Answer> {
  const body = shaped(Submission, await readJson(call.request));
  const input: Input = body.upload
    ? { lines: "", bytes: body.upload.bytes, sha256: body.upload.sha256 }
    : await inputOf(body.operations!);
  const content = {
    organisation_id: body.organisation,
    name: body.name,
    priority: body.priority,
    ordering: body.order,
    stop_after: body.stop_after,
    grow: body.grow,
    input_sha256: input.sha256,
    input_bytes: input.bytes,
  };
  const written = canonical({ ...content, upload: body.upload !== undefined }, "The body");
  const content_sha256 = await sha256(encode(written));
  const answer = await call.database.from("bulk_requests").insert({
    ...content,
    content_sha256,
    ...(body.idempotency_key === undefined ? {} : { idempotency_key: body.idempotency_key }),
    ...(body.upload ? {} : { operations: input.lines }),
  }).select(SUBMIT_COLUMNS).single();
  if (answer.error?.code === "23505" && body.idempotency_key !== undefined) {
    const row = await replayed(call.database, body.organisation, body.idempotency_key, content_sha256, input);
    return { status: 200, body: await told(call, row) };
  }
  return { status: 201, body: await told(call, rowsOf<SubmittedRow>(answer)) };
}

/**
 * The request that has the key already; refused where its content is another one. `content_sha256` is what a client says, who
 * may have gone past us: of the operations only what the database has found itself counts.
 */
async function replayed(
  database: Database,
  organisation: string,
  key: string,
  sha256: string,
  input: Input,
): Promise<SubmittedRow> {
  const row = rowsOf<SubmittedRow | null>(
    await database.from("bulk_requests").select(SUBMIT_COLUMNS)
      .eq("organisation_id", organisation)
      // In quotes: whatever begins or ends it is part of the key.
      .filter("idempotency_key", "in", `(${quoted(key)})`).maybeSingle(),
  );
  if (row?.content_sha256 === sha256 && row.input_sha256 === input.sha256 && row.input_bytes === input.bytes) {
    return row;
  }
  throw new Refusal("conflict", "This idempotency_key belongs to a request with other content: take a new key.", {
    details: row ? { request: row.id } : undefined,
  });
}

async function told(call: Call, row: SubmittedRow): Promise<unknown> {
  const request = requestOf(row);
  if (row.status !== "awaiting_upload" || row.created_by !== call.user.id || !row.input_path) return { request };
  const { data, error } = await call.database.storage.from(BUCKET).createSignedUploadUrl(row.input_path);
  if (data) {
    return { request, upload: { bucket: BUCKET, path: row.input_path, token: data.token, url: data.signedUrl } };
  }
  // The file lies there already: what is missing is `finalize`.
  const { status, statusCode } = error as { status?: number; statusCode?: string };
  if (status === 409 || statusCode === "409" || statusCode === "Duplicate") return { request };
  throw new Refusal("unavailable", "The request is kept, but Storage gives no address for its file: ask again.", {
    ...unavailable(error).more,
    details: { request: row.id },
  });
}

async function finalized(call: Call): Promise<Answer> {
  const answer = await call.database.from("commands").insert({ request_id: call.id, kind: "finalize" })
    .select(COMMAND_COLUMNS).single();
  if (!answer.error) return { status: 202, body: { command: commandOf(answer.data as CommandRow) } };
  return { status: 202, body: { command: commandOf(await finalizedBefore(call, answer.error, answer.status)) } };
}

/** Finalized twice is finalized once: the command that did it, or why there is none. */
async function finalizedBefore(call: Call, fault: Fault, status: number): Promise<CommandRow> {
  if (fault.code === "PT409") {
    const before = await call.database.from("commands").select(COMMAND_COLUMNS)
      .eq("request_id", call.id).eq("kind", "finalize").eq("status", "accepted").limit(1).maybeSingle();
    const row = rowsOf<CommandRow | null>(before);
    if (row) return row;
  }
  throw refusalOf(fault, status);
}
