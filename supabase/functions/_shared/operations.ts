/**
 * Operations that come in the body: as objects or as JSON Lines, kept as JSON Lines.
 *
 * 1. Objects are written with sorted keys, so that the same operations are the same bytes and have the same SHA-256.
 * 2. JSON Lines are kept as they came. A line that is no operation becomes a dead letter later, and the others go on.
 */

import { tooLarge } from "./bodies.ts";
import { Refusal } from "./refusals.ts";
import { isText } from "./texts.ts";

export const MAX_OPERATIONS_BYTES = 1_048_576;

export interface Input {
  lines: string;
  bytes: number;
  sha256: string;
}

/** The input that a body's `operations` are; refused where they are none, too large, or hold what cannot be kept. */
export async function inputOf(operations: string | unknown[]): Promise<Input> {
  const lines = typeof operations === "string" ? checked(operations) : written(operations);
  const encoded = encode(lines);
  if (encoded.byteLength > MAX_OPERATIONS_BYTES) throw tooLarge();
  return { lines, bytes: encoded.byteLength, sha256: await sha256(encoded) };
}

export const encode = (text: string) => new TextEncoder().encode(text);

/** In hexadecimal digits. */
export async function sha256(bytes: ReturnType<typeof encode>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function checked(lines: string): string {
  if (!isText(lines)) throw invalid("operations must hold neither NUL nor half of a surrogate pair.");
  if (lines.trim() === "") throw invalid("operations must have at least one line.");
  return lines;
}

function written(operations: unknown[]): string {
  if (operations.length === 0) throw invalid("operations must have at least one operation.");
  return operations.map((operation, at) => {
    if (operation === null || typeof operation !== "object" || Array.isArray(operation)) {
      throw invalid(`operations.${at} must be an object.`);
    }
    return canonical(operation, `operations.${at}`) + "\n";
  }).join("");
}

/** JSON with sorted keys; `where` is told in refusals. Depth is bounded by `readJson`. */
export function canonical(value: unknown, where: string): string {
  if (typeof value === "string") {
    if (!isText(value)) throw invalid(`${where} must hold neither NUL nor half of a surrogate pair.`);
    return JSON.stringify(value);
  }
  if (typeof value === "number") {
    // JSON.parse makes Infinity of 1e999, and JSON.stringify would make null of that.
    if (!Number.isFinite(value)) throw invalid(`${where} must be a number that fits into 64 bits.`);
    return JSON.stringify(value);
  }
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  // Pieces are added to one text, which is laid out once at its end: a join would copy it at every depth.
  let text = "";
  if (Array.isArray(value)) {
    for (const item of value) text += (text && ",") + canonical(item, where);
    return `[${text}]`;
  }
  const object = value as Record<string, unknown>;
  for (const key of Object.keys(object).sort()) {
    text += `${text && ","}${canonical(key, where)}:${canonical(object[key], where)}`;
  }
  return `{${text}}`;
}

function invalid(message: string): Refusal {
  return new Refusal("invalid", message);
}
