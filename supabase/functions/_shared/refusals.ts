/** Why a request is refused, in words for people: the only errors whose texts leave the functions. */

export const STATUSES = {
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  too_large: 413,
  unsupported: 415,
  invalid: 422,
  too_many: 429,
  internal: 500,
  unavailable: 503,
} as const;

export type Code = keyof typeof STATUSES;

export interface More {
  /** Where the code alone does not say it: 400 for what is no JSON at all. */
  status?: number;
  hint?: string;
  details?: unknown;
  headers?: Record<string, string>;
  /** For our log; never sent. */
  cause?: unknown;
}

/** A request that is refused: `message` is one sentence that says what to do. */
export class Refusal extends Error {
  readonly status: number;

  constructor(readonly code: Code, message: string, readonly more: More = {}) {
    super(message, { cause: more.cause });
    this.status = more.status ?? STATUSES[code];
  }

  body(): unknown {
    return { error: { code: this.code, message: this.message, hint: this.more.hint, details: this.more.details } };
  }
}

export const unavailable = (cause: unknown) =>
  new Refusal("unavailable", "headgate cannot be reached at the moment: ask again in a few seconds.", {
    hint: "Nothing is doubled if you repeat the same idempotency_key or command id.",
    headers: { "retry-after": "5" },
    cause,
  });
