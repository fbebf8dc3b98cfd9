/**
 * Who asks: the user's token, checked here before anything else is done with it.
 *
 * 1. A token names its key (`kid`), and the key decides the algorithm: an EC key never checks an HMAC.
 * 2. `none` is no algorithm. HS256 counts only where the operator has put an `oct` key into SUPABASE_JWKS.
 * 3. Issuer, audience and expiry are checked; the role must be `authenticated`, as Postgres would make it any other.
 */

import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type FlattenedJWSInput,
  importJWK,
  type JWK,
  type JWTHeaderParameters,
  jwtVerify,
} from "jose";
import { Refusal, unavailable } from "./refusals.ts";
import type { Settings } from "./settings.ts";

export interface User {
  id: string;
  /** Goes on to PostgREST and Storage, which check it again. */
  token: string;
}

const KEY_TYPES: Record<string, string> = { ES256: "EC", RS256: "RSA", EdDSA: "OKP", HS256: "oct" };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Clocks of two hosts may differ by this much. */
const TOLERANCE_S = 5;

export type Verify = (request: Request) => Promise<User>;

/** A check of tokens against the settings' keys: gives the user, or refuses with `unauthenticated`. */
export function verifier(settings: Settings): Verify {
  const find = having(settings.keys ? local(settings.keys) : remote(settings.url));
  return async (request) => {
    const token = bearer(request);
    try {
      const header = decodeProtectedHeader(token);
      if (!header.kid) throw unauthenticated("The token does not name its key (kid).");
      if (typeof header.alg !== "string" || !Object.hasOwn(KEY_TYPES, header.alg)) {
        throw unauthenticated("The token is signed in a way that is not accepted.");
      }
      const { payload } = await jwtVerify(token, find, {
        algorithms: Object.keys(KEY_TYPES),
        issuer: settings.issuer,
        audience: "authenticated",
        requiredClaims: ["sub", "exp"],
        clockTolerance: TOLERANCE_S,
      });
      if (payload.role !== "authenticated" || !UUID.test(payload.sub ?? "")) {
        throw unauthenticated("The token is not one of a signed-in user.");
      }
      return { id: payload.sub!, token };
    } catch (error) {
      throw told(error);
    }
  };
}

function bearer(request: Request): string {
  const match = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)$/i.exec(
    request.headers.get("authorization") ?? "",
  );
  if (!match) throw unauthenticated("Sign in first: send the user's token as Authorization: Bearer.");
  return match[1];
}

function local(keys: JWK[]) {
  const imported = new Map<JWK, ReturnType<typeof importJWK>>();
  return async (header: JWTHeaderParameters) => {
    const key = keys.find((key) =>
      key.kid === header.kid && key.kty === KEY_TYPES[header.alg] && (key.alg ?? header.alg) === header.alg
    );
    if (!key) throw new errors.JWKSNoMatchingKey();
    if (!imported.has(key)) imported.set(key, importJWK(key, header.alg));
    return await imported.get(key)!;
  };
}

function remote(url: string) {
  return createRemoteJWKSet(new URL(`${url}/auth/v1/.well-known/jwks.json`), { timeoutDuration: 5000 });
}

/** A key set that cannot be had is our trouble, not the token's. */
function having(
  find: (header: JWTHeaderParameters, token: FlattenedJWSInput) => Promise<CryptoKey | Uint8Array>,
): typeof find {
  return async (header, token) => {
    try {
      return await find(header, token);
    } catch (error) {
      const others = error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JOSENotSupported;
      throw others ? error : unavailable(error);
    }
  };
}

function told(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof errors.JWTExpired) return unauthenticated("The token has expired: sign in again.");
  if (error instanceof errors.JWTClaimValidationFailed) {
    return unauthenticated("The token is not one of this project's users.");
  }
  return unauthenticated("The token is not valid: sign in again.");
}

function unauthenticated(message: string): Refusal {
  return new Refusal("unauthenticated", message, { headers: { "www-authenticate": "Bearer" } });
}
