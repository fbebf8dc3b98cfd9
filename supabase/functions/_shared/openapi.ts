/**
 * The description of the API, made of the shapes that the handlers check: `deno task openapi` writes ../openapi.json.
 * A test holds the two together.
 */

import { z } from "zod";
import { DEFAULT_LIMIT, MAX_LIMIT } from "./pages.ts";
import { type Code, STATUSES } from "./refusals.ts";
import * as shapes from "./shapes.ts";

const OPERATION = {
  type: "object",
  description:
    "One operation. A line that headgate cannot read, or that names a user who is not the organisation's, becomes a " +
    "dead letter; the others go on.",
  properties: {
    op: { enum: ["append", "update", "clear", "read", "request"] },
    spreadsheet: { type: "string", description: "Its id." },
    range: { type: "string", description: "In A1 notation." },
    values: { type: "array", items: { type: "array", items: { type: ["string", "number", "boolean", "null"] } } },
    id: { type: "string", description: "Yours, to find the outcome by; the line's number if missing." },
    user: {
      type: "string",
      description: "Whose credential, of those that your organisation has; its default if missing.",
    },
    input: { enum: ["RAW", "FORMULAS", "USER_ENTERED"], default: "RAW" },
    request: { type: "object", description: "With op request: one request of the Sheets API's batchUpdate." },
  },
  examples: [{ op: "append", spreadsheet: "1AbC", range: "Orders!A:C", values: [["o-1", 12.5, true]], id: "o-1" }],
};

const SAID: Partial<Record<Code, string>> = {
  unauthenticated: "The token is missing, expired or not one of this project's users.",
  forbidden: "Your role does not allow it, or it is not your organisation's, or the organisation has no account.",
  not_found: "It does not exist, or is not yours to see.",
  method_not_allowed: "The address knows other methods; Allow says which.",
  conflict: "The key or id belongs to something else, or the request is not in a state for this.",
  too_large: "Upload the operations as a file instead.",
  unsupported: "The body is not application/json, or it is packed.",
  invalid: "A field is wrong; `details` names each. Malformed JSON is 400.",
  too_many: "More than you or the organisation may do in a minute; Retry-After says in how many seconds to ask again.",
  unavailable: "Postgres or Storage is away for the moment: ask again, with the same idempotency_key or id.",
};

const json = (schema: string, description: string) => ({
  description,
  headers: { "x-request-id": { schema: { type: "string" }, description: "Names this answer in our log." } },
  content: { "application/json": { schema: { $ref: `#/components/schemas/${schema}` } } },
});

function refused(...codes: Code[]): Record<string, unknown> {
  const always: Code[] = ["unauthenticated", "not_found", "method_not_allowed", "invalid", "internal", "unavailable"];
  const answers: Record<string, unknown> = {};
  for (const code of [...always, ...codes]) answers[STATUSES[code]] = { $ref: `#/components/responses/${code}` };
  return answers;
}

const body = (schema: string) => ({
  required: true,
  content: { "application/json": { schema: { $ref: `#/components/schemas/${schema}` } } },
});

const BODY: Code[] = ["forbidden", "conflict", "too_large", "unsupported", "too_many"];
const malformed = { 400: { $ref: "#/components/responses/malformed" } };
const id = {
  name: "id",
  in: "path",
  required: true,
  description: "The request's.",
  schema: { type: "string", pattern: "^[A-Za-z0-9_.@-]{1,128}$" },
};
const query = (name: string, schema: unknown, description: string) => ({ name, in: "query", description, schema });
const PAGING = [
  query(
    "limit",
    { type: "integer", minimum: 1, maximum: MAX_LIMIT, default: DEFAULT_LIMIT },
    "At most so many of each list.",
  ),
  query("before", { type: "string", minLength: 1, maxLength: 2000 }, "What an earlier answer gave as `next`."),
];

const paths = {
  "/submit": {
    post: {
      operationId: "submit",
      summary: "Hand over operations, or announce a file of them",
      description:
        "With `operations` the request begins at once. With `upload` it awaits the file: PUT it to `upload.url`, then finalize. " +
        "The same idempotency_key with the same content is the same request (200), with other content a conflict.",
      requestBody: body("Submission"),
      responses: {
        201: json("Submitted", "It is kept."),
        200: json("Submitted", "It was kept before, under the same idempotency_key."),
        ...malformed,
        ...refused(...BODY),
      },
    },
  },
  "/submit/{id}/finalize": {
    post: {
      operationId: "finalize",
      summary: "Say that the file is uploaded",
      description: "Without a body. Said again, it is answered the same.",
      parameters: [id],
      responses: { 202: json("Commanded", "The request begins."), ...refused("forbidden", "conflict", "too_many") },
    },
  },
  "/command": {
    post: {
      operationId: "command",
      summary: "Pause, resume, cancel, reprioritise, or retry what failed",
      description:
        "The answer says that it is kept; `status` of the command becomes accepted or refused within seconds.",
      requestBody: body("CommandBody"),
      responses: {
        202: json("Commanded", "It is kept."),
        200: json("Commanded", "It was kept before, under the same id."),
        ...malformed,
        ...refused(...BODY),
      },
    },
  },
  "/history": {
    get: {
      operationId: "list",
      summary: "Your organisations' requests, the newest first",
      parameters: [
        query("organisation", { type: "string", format: "uuid" }, "Of this one alone."),
        query("status", { enum: shapes.STATES }, "In this state alone."),
        ...PAGING,
      ],
      responses: { 200: json("Requests", "A page of them."), ...refused() },
    },
  },
  "/history/{id}": {
    get: {
      operationId: "look",
      summary: "One request, with all that happened to it",
      parameters: [id, ...PAGING],
      responses: { 200: json("History", "A page of each list."), ...refused() },
    },
  },
};

/** The description as an OpenAPI 3.1 document. */
export function description(): unknown {
  return {
    openapi: "3.1.0",
    info: {
      title: "headgate",
      version: "1",
      description:
        "Bulk requests for Google Sheets, by a signed-in user of a Supabase project. Progress comes by Realtime: " +
        "private channel `request:<id>`, event `progress`; of two states the one with the higher revision is newer.",
      license: { name: "Private" },
    },
    servers: [{
      url: "https://{project}.supabase.co/functions/v1",
      variables: { project: { default: "your-project" } },
    }],
    security: [{ user: [], project: [] }],
    paths,
    components: {
      securitySchemes: {
        user: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "The user's access token." },
        project: { type: "apiKey", in: "header", name: "apikey", description: "The project's publishable key." },
      },
      responses: responses(),
      schemas: { ...schemas(), Operation: OPERATION },
    },
  };
}

function responses(): Record<string, unknown> {
  const made: Record<string, unknown> = { malformed: json("Error", "invalid: the body is not JSON.") };
  for (const code of Object.keys(STATUSES) as Code[]) {
    const answer = json("Error", `${code}: ${SAID[code] ?? "Something went wrong here; it is in our log."}`);
    const seconds = { "retry-after": { schema: { type: "integer", minimum: 1 }, description: "Seconds." } };
    const late = code === "too_many" || code === "unavailable";
    made[code] = late ? { ...answer, headers: { ...answer.headers, ...seconds } } : answer;
  }
  return made;
}

/** What comes in is described as callers give it: fields with a default may be left out. */
function schemas(): Record<string, unknown> {
  const named = z.registry<{ id?: string }>();
  for (const shape of Object.values(shapes)) {
    if (!(shape instanceof z.ZodType)) continue;
    const id = shape.meta()?.id;
    if (id) named.add(shape, { id });
  }
  const made = z.toJSONSchema(named, { io: "input", uri: (id) => `#/components/schemas/${id}` }).schemas;
  return Object.fromEntries(
    Object.entries(made).map(([id, { $schema: _, $id: __, id: ___, ...schema }]) => [id, schema]),
  );
}

if (import.meta.main) {
  const path = new URL("../openapi.json", import.meta.url);
  await Deno.writeTextFile(path, JSON.stringify(description(), null, 2) + "\n");
}
