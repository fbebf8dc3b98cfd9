/**
 * A request, submitted: its operations in the call, or as a file that is declared, uploaded and released.
 *
 * 1. Whatever is lost on the way, calling `submit` again with the same idempotency key goes on where it ended.
 * 2. A file is declared by its SHA-256, for which all of it is held in memory once.
 */

import type { SupabaseClient } from "@supabase/supabase-js";
import { call, FrontDoorError, pause } from "./door.ts";
import type { BulkRequest, Submission } from "./model.ts";

const ATTEMPTS = 3;
const PAUSE_MS = 1000;

interface Submitted {
  request: BulkRequest;
  upload?: { bucket: string; path: string; token: string };
}

/** The request that was made. Throws FrontDoorError; code "upload" where Storage did not take the file. */
export async function submit(client: SupabaseClient, submission: Submission): Promise<BulkRequest> {
  const { file, ...said } = { idempotency_key: crypto.randomUUID(), ...submission };
  if (file === undefined) return (await call<Submitted>(client, "submit", said)).request;
  const content = await bytesOf(file);
  const upload = { sha256: await sha256(content), bytes: content.byteLength };
  const { request, upload: place } = await call<Submitted>(client, "submit", { ...said, upload });
  if (place) await uploaded(client, place, content);
  if (request.status === "awaiting_upload") await call(client, `submit/${request.id}/finalize`, {});
  return request;
}

/** The SHA-256 of some bytes, as 64 hexadecimal digits. */
export async function sha256(content: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function bytesOf(file: Blob | Uint8Array | string): Promise<ArrayBuffer> {
  return await new Blob([file as BlobPart]).arrayBuffer();
}

async function uploaded(
  client: SupabaseClient,
  place: { bucket: string; path: string; token: string },
  content: ArrayBuffer,
): Promise<void> {
  for (let attempt = 1;; attempt++) {
    const { error } = await client.storage.from(place.bucket).uploadToSignedUrl(place.path, place.token, content, {
      contentType: "application/jsonl",
    });
    if (!error) return;
    const { status, statusCode } = error as { status?: number; statusCode?: string };
    // There already: an earlier attempt arrived, and only its answer was lost. `finalize` looks at what lies there.
    if (status === 409 || statusCode === "409" || statusCode === "Duplicate") return;
    if (attempt === ATTEMPTS || Number(statusCode ?? status ?? 500) < 500) {
      throw new FrontDoorError("upload", `The file was not taken: ${error.message}`, status ?? 0, { details: error });
    }
    await pause(PAUSE_MS * attempt);
  }
}
