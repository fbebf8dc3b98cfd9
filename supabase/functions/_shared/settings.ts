/** What the functions are told by their environment: names the platform gives (`SUPABASE_…`) and our own (`HEADGATE_…`). */

import type { JWK } from "jose";

export interface Settings {
  /** The project's origin, under which /rest/v1, /auth/v1 and /storage/v1 are. */
  url: string;
  /** Says which project asks; opens nothing that the user's own token does not. */
  publishableKey: string;
  /** The keys that users' tokens are signed with; null: they are fetched from /auth/v1. */
  keys: JWK[] | null;
  issuer: string;
  /** Whose pages may call: origins, or `*` for all of them (no cookie is ever read). */
  origins: string[];
  /** No call to Postgres or Storage takes longer. */
  patienceMs: number;
}

/** Reads the settings; throws an Error with one sentence that names the variable that is missing or malformed. */
export function readSettings(variable: (name: string) => string | undefined): Settings {
  const given = (name: string) => variable(name)?.trim() || undefined;
  const url = given("SUPABASE_URL")?.replace(/\/+$/, "");
  if (!url) throw new Error("SUPABASE_URL is not set: give the project's origin.");
  return {
    url,
    publishableKey: publishableKey(given),
    keys: keys(given("SUPABASE_JWKS")),
    issuer: given("HEADGATE_JWT_ISSUER") ?? `${url}/auth/v1`,
    origins: (given("HEADGATE_ALLOWED_ORIGINS") ?? "*").split(",").map((origin) => origin.trim()).filter(Boolean),
    patienceMs: 10_000,
  };
}

function publishableKey(given: (name: string) => string | undefined): string {
  const named = parsed<Record<string, string>>("SUPABASE_PUBLISHABLE_KEYS", given("SUPABASE_PUBLISHABLE_KEYS"));
  const key = named ? named["default"] ?? Object.values(named)[0] : given("SUPABASE_ANON_KEY");
  if (typeof key !== "string" || !key) {
    throw new Error("SUPABASE_PUBLISHABLE_KEYS is not set: give a JSON object of keys by name.");
  }
  return key;
}

function keys(text: string | undefined): JWK[] | null {
  const set = parsed<JWK[] | { keys: JWK[] }>("SUPABASE_JWKS", text);
  if (set === null) return null;
  const listed = Array.isArray(set) ? set : set.keys;
  if (!Array.isArray(listed) || listed.length === 0) {
    throw new Error('SUPABASE_JWKS has no keys: give {"keys": [...]}.');
  }
  return listed;
}

function parsed<T>(name: string, text: string | undefined): T | null {
  if (text === undefined) return null;
  try {
    const value = JSON.parse(text);
    if (value !== null && typeof value === "object") return value as T;
  } catch {
    // Its text may hold a key, so it is not repeated.
  }
  throw new Error(`${name} is not a JSON object.`);
}
