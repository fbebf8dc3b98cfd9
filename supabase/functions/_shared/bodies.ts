/** Reads a JSON body from somebody who may mean harm: never more than it may be, never deeper than it may be. */

import { Refusal } from "./refusals.ts";

/** Operations of 1 MiB and what is around them. */
export const MAX_BODY_BYTES = 1_048_576 + 65_536;
/** Who sends somewhat too much is heard out, and nothing kept of it: a connection that is cut shows no answer. */
const HEARD_OUT_BYTES = 8 * 1_048_576;
/** A piece takes as long to read as some hundred bytes: who sends single ones would have the time that a request may take. */
export const MAX_PIECES = 16_384;
/** Deeper than any request of the Sheets API; recursion over it is safe. */
export const MAX_DEPTH = 64;

/**
 * The body as a JSON value; refused where it is larger than `MAX_BODY_BYTES`, packed, no JSON, not UTF-8 or too deep, and where
 * the value would hold something else than was sent.
 */
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
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed("The body is not JSON.");
  }
  refuseLosses(text);
  return value;
}

/**
 * At most twice `MAX_BODY_BYTES` are ever held, whatever Content-Length says and however the body comes: each piece is copied,
 * as a piece of one byte keeps 64 KiB alive.
 */
async function read(request: Request): Promise<Uint8Array> {
  const declared = Number(request.headers.get("content-length") ?? 0);
  let whole = new Uint8Array(Math.min(declared > 0 ? declared : 4096, MAX_BODY_BYTES));
  let size = 0;
  let pieces = 0;
  const reader = request.body?.getReader();
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader!.read()) {
      const at = size;
      size += part.value.byteLength;
      if (size > HEARD_OUT_BYTES || ++pieces > MAX_PIECES) break;
      if (declared > MAX_BODY_BYTES || size > MAX_BODY_BYTES) continue;
      if (size > whole.byteLength) {
        const wider = new Uint8Array(Math.min(2 * size, MAX_BODY_BYTES));
        wider.set(whole.subarray(0, at));
        whole = wider;
      }
      whole.set(part.value, at);
    }
  } catch {
    throw malformed("The body broke off.");
  } finally {
    reader?.cancel().catch(() => {});
  }
  if (declared > MAX_BODY_BYTES || size > MAX_BODY_BYTES) throw tooLarge();
  if (pieces > MAX_PIECES) throw malformed("The body comes in too many pieces: send it with a content-length.");
  return whole.subarray(0, size);
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

/**
 * `JSON.parse` keeps the last of two fields of one name, and the nearest number that a double holds: what was sent would not be
 * what arrives. `text` is JSON.
 */
function refuseLosses(text: string): void {
  // Most of a million brackets hold no name: a set is made for those that do.
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 34 /* " */) {
      const begin = at;
      while (text.charCodeAt(++at) !== 34) if (text.charCodeAt(at) === 92 /* \ */) at++;
      let next = at + 1;
      while (" \t\r\n".includes(text.charAt(next)) && next < text.length) next++;
      if (text.charCodeAt(next) !== 58 /* : */) continue;
      const name: string = JSON.parse(text.slice(begin, at + 1));
      const names = open[open.length - 1] ??= new Set();
      if (names.has(name)) throw malformed(`The body names ${JSON.stringify(name.slice(0, 40))} twice in one object.`);
      names.add(name);
    } else if (unit === 91 /* [ */ || unit === 123 /* { */) open.push(null);
    else if (unit === 93 || unit === 125) open.pop();
    else if (unit === 45 /* - */ || (unit >= 48 && unit <= 57)) {
      const begin = at;
      while (/[0-9.eE+-]/.test(text.charAt(at + 1))) at++;
      if (at - begin >= 15) refuseRounding(text.slice(begin, at + 1));
    }
  }
}

function refuseRounding(written: string): void {
  const number = Number(written);
  if (!/^-?\d+$/.test(written) || !Number.isFinite(number) || String(number) === written) return;
  if (BigInt(written) === BigInt(number)) return;
  throw new Refusal(
    "invalid",
    `The body holds ${written.slice(0, 40)}, a number of too many digits: send it as a text.`,
  );
}

function malformed(message: string): Refusal {
  return new Refusal("invalid", message, { status: 400 });
}

export function tooLarge(): Refusal {
  return new Refusal("too_large", "The body is larger than 1 MiB: upload the operations as a file instead.", {
    hint: "Send upload: {sha256, bytes} instead of operations, and put the file where the answer says.",
  });
}
