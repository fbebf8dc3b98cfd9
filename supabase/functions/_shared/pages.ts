/** Paging by keys: `next` says where a page ended, so that rows which come meanwhile shift nothing. */

import { z } from "zod";
import { Refusal } from "./refusals.ts";

export const DEFAULT_LIMIT = 50;
export const MAX_LIMIT = 200;

/** An instant as PostgREST writes it: stands in filters, so nothing else may. */
export const Instant = z.string().regex(/^\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(\+\d\d:\d\d|Z)$/);

/** A place as an opaque text. */
export function cursorOf(place: unknown): string {
  const bytes = new TextEncoder().encode(JSON.stringify(place));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The place that a cursor names; refused where it is none of ours. */
export function placeOf<T extends z.ZodType>(schema: T, cursor: string): z.output<T> {
  try {
    const bytes = Uint8Array.from(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")), (unit) => unit.charCodeAt(0));
    return schema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch {
    throw new Refusal("invalid", "before must be what an earlier answer gave as next.");
  }
}

/** A text inside a filter of PostgREST's. */
export function quoted(value: string): string {
  return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/** The first `limit` of rows that were asked for with one more, and whether there are more. */
export function page<T>(rows: T[], limit: number): { rows: T[]; last: T | null } {
  return rows.length > limit ? { rows: rows.slice(0, limit), last: rows[limit - 1] } : { rows, last: null };
}

/** Query parameters as an object; one given twice is refused, and so is one that nobody knows. */
export function parameters(query: URLSearchParams): Record<string, string> {
  const given: Record<string, string> = Object.create(null);
  for (const [name, value] of query) {
    // The platform's own, which supabase-js adds where it is told a region.
    if (name === "forceFunctionRegion") continue;
    if (name in given) throw new Refusal("invalid", `${name.slice(0, 50)} is given twice.`);
    given[name] = value;
  }
  return { ...given };
}
