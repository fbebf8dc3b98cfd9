/** Reads a JSON body from somebody who may mean harm: never more than it may be, never deeper than it may be. */

import { Refusal } from "./refusals.ts";

/** Operations of 1 MiB and what is around them. */
export const MAX_BODY_BYTES = 1_048_576 + 65_536;
/** Who sends somewhat too much is heard out, and nothing kept of it: a connection that is cut shows no answer. */
const HEARD_OUT_BYTES = 8 * 1_048_576;
/** Deeper than any request of the Sheets API; recursion over it is safe. */
export const MAX_DEPTH = 64;

/** The body as a JSON value; refused where it is larger than `MAX_BODY_BYTES`, packed, no JSON, not UTF-8 or too deep. */
export async function readJson(request: Request): Promise<unknown> {
  const type = (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
  if (type !== "application/json") throw new Refusal("unsupported", "Send the body as content-type: application/json.");
  const encoding = (request.headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  if (encoding !== "identity") throw new Refusal("unsupported", "Send the body as it is, without a content-encoding.");
  const bytes = await read(request);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw malformed("The body is not UTF-8.");
  }
  refuseDepth(text);
  try {
    return JSON.parse(text);
  } catch {
    throw malformed("The body is not JSON.");
  }
}

/** At most `MAX_BODY_BYTES` are ever held, whatever Content-Length says and however the body comes. */
async function read(request: Request): Promise<Uint8Array> {
  const declared = Number(request.headers.get("content-length") ?? 0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader!.read()) {
      size += part.value.byteLength;
      if (size > HEARD_OUT_BYTES) break;
      if (declared > MAX_BODY_BYTES || size > MAX_BODY_BYTES) chunks.length = 0;
      else chunks.push(part.value);
    }
  } catch {
    throw malformed("The body broke off.");
  } finally {
    reader?.cancel().catch(() => {});
  }
  if (declared > MAX_BODY_BYTES || size > MAX_BODY_BYTES) throw tooLarge();
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

/** Counts brackets outside strings, before anything that recurses sees the text. */
function refuseDepth(text: string): void {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (quoted) {
      if (unit === 92 /* \ */) at++;
      else if (unit === 34 /* " */) quoted = false;
    } else if (unit === 34) quoted = true;
    else if (unit === 91 /* [ */ || unit === 123 /* { */) {
      if (++depth > MAX_DEPTH) throw new Refusal("invalid", `The body is nested more than ${MAX_DEPTH} deep.`);
    } else if (unit === 93 || unit === 125) depth--;
  }
}

function malformed(message: string): Refusal {
  return new Refusal("invalid", message, { status: 400 });
}

export function tooLarge(): Refusal {
  return new Refusal("too_large", "The body is larger than 1 MiB: upload the operations as a file instead.", {
    hint: "Send upload: {sha256, bytes} instead of operations, and put the file where the answer says.",
  });
}
