/** What comes in and what goes out: the one home of every field's name, read by the handlers and by openapi.json. */

import { z } from "zod";
import { REQUEST_ID } from "./front.ts";
import { text, uuid } from "./texts.ts";

export const PRIORITIES = ["urgent", "normal", "low"] as const;
export const ORDERS = ["lane", "strict"] as const;
export const COMMANDS = ["pause", "resume", "reprioritise", "cancel", "retry_failed"] as const;
export const STATES = [
  "awaiting_upload",
  "submitted",
  "planning",
  "running",
  "waiting",
  "paused",
  "completed",
  "cancelled",
  "failed",
] as const;
export const MAX_UPLOAD_BYTES = 1_073_741_824;

const requestId = () => z.string().regex(REQUEST_ID, "must be the id of a request");

/** A whole number that JSON carries exactly. */
const whole = (min: number, max: number) => z.int().min(min).max(max);

export const Submission = z.strictObject({
  organisation: uuid().meta({ description: "On whose behalf; you must be a member or an admin of it." }),
  name: text(0, 200).default("").meta({ description: "For people." }),
  idempotency_key: text(1, 200).optional().meta({
    description: "Of your own choice, one per intended request: with it a repeated call is the same request.",
  }),
  priority: z.enum(PRIORITIES).default("normal"),
  order: z.enum(ORDERS).default("lane").meta({
    description: "strict: reads and writes of a spreadsheet stay in the order of the lines.",
  }),
  stop_after: whole(0, 1_000_000).default(0).meta({ description: "Pause after so many failed operations; 0: never." }),
  grow: z.boolean().default(false).meta({ description: "Make a sheet larger where a write lies outside of it." }),
  operations: z.union([z.string(), z.array(z.unknown())], "must be a list of objects or JSON Lines as one text")
    .optional()
    .meta({
      description: "At most 1 MiB as JSON Lines: a list of operations, or the text itself. Instead of upload.",
      anyOf: [
        { type: "string", minLength: 1, description: "JSON Lines, kept as they are." },
        { type: "array", minItems: 1, items: { $ref: "#/components/schemas/Operation" } },
      ],
    }),
  upload: z.strictObject({
    sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits in small letters"),
    bytes: whole(1, MAX_UPLOAD_BYTES),
  }).optional().meta({
    description: "Of the file that you will upload, in place of operations; it is checked against both.",
  }),
}).refine((body) => (body.operations === undefined) !== (body.upload === undefined), {
  message: "must have either operations or upload",
}).meta({ id: "Submission", oneOf: [{ required: ["operations"] }, { required: ["upload"] }] });

export const CommandBody = z.strictObject({
  id: uuid().optional().meta({ description: "Of your own choice: with it a repeated call is the same command." }),
  request: requestId(),
  command: z.enum(COMMANDS),
  to: z.enum(PRIORITIES).optional().meta({ description: "The new priority; with reprioritise, and only there." }),
}).refine((body) => (body.command === "reprioritise") === (body.to !== undefined), {
  path: ["to"],
  message: "must be given with reprioritise, and only there",
}).meta({
  id: "CommandBody",
  oneOf: [
    { properties: { command: { const: "reprioritise" } }, required: ["to"] },
    { properties: { command: { not: { const: "reprioritise" } }, to: false } },
  ],
});

const instant = () => z.string().meta({ format: "date-time" });
const count = () => z.int().min(0);

export const RequestAnswer = z.strictObject({
  id: z.string(),
  organisation: z.string(),
  name: z.string(),
  status: z.enum(STATES),
  priority: z.enum(PRIORITIES),
  order: z.enum(ORDERS),
  version: count().meta({ description: "Temporal's: grows with what the workflow says of itself." }),
  revision: count().meta({
    description: "The row's: grows by 1 with each change; of two answers the higher one is newer.",
  }),
  operations: z.strictObject({ total: count(), succeeded: count(), failed: count(), unprocessed: count() }),
  calls: z.strictObject({ planned: count(), made: count(), retried: count() }),
  rate_per_minute: z.number(),
  eta_at: instant().nullable(),
  waiting: z.strictObject({ reason: z.string(), cause: z.string(), until: instant().nullable() }),
  failures: z.record(z.string(), count()).meta({ description: "How many operations failed, by reason." }),
  results_location: z.string().nullable(),
  error: z.string().nullable(),
  created_at: instant(),
  updated_at: instant(),
  finished_at: instant().nullable(),
  created_by: z.string().nullable(),
}).meta({ id: "Request" });

export const CommandAnswer = z.strictObject({
  id: z.string(),
  request: z.string(),
  command: z.enum([...COMMANDS, "finalize"]),
  to: z.enum(PRIORITIES).nullable(),
  sequence: count(),
  status: z.enum(["pending", "accepted", "refused", "failed"]),
  answer: z.string().nullable(),
  created_at: instant(),
  answered_at: instant().nullable(),
  created_by: z.string().nullable(),
}).meta({ id: "Command" });

export const EventAnswer = z.strictObject({
  id: count(),
  at: instant(),
  actor: z.string().nullable().meta({ description: "The user's id; null: headgate itself." }),
  actor_name: z.string(),
  kind: z.string(),
  data: z.record(z.string(), z.unknown()),
}).meta({ id: "Event" });

export const DeadLetterAnswer = z.strictObject({
  line: count(),
  id: z.string().meta({ description: "The operation's." }),
  reason: z.string(),
  applied: z.enum(["yes", "no", "unknown"]).meta({ description: "Whether it took effect all the same." }),
}).meta({ id: "DeadLetter" });

export const UploadAnswer = z.strictObject({
  bucket: z.string(),
  path: z.string(),
  token: z.string().meta({
    description: "For supabase-js: storage.from(bucket).uploadToSignedUrl(path, token, file).",
  }),
  url: z.string().meta({ description: "For everybody else: PUT the file here, within two hours." }),
}).meta({ id: "Upload" });

export const SubmitAnswer = z.strictObject({ request: RequestAnswer, upload: UploadAnswer.optional() }).meta({
  id: "Submitted",
});
export const CommandedAnswer = z.strictObject({ command: CommandAnswer }).meta({ id: "Commanded" });

const next = () =>
  z.string().nullable().meta({ description: "Give it as `before` for what comes after; null: that was all." });

export const ListAnswer = z.strictObject({ requests: z.array(RequestAnswer), next: next() }).meta({ id: "Requests" });
export const HistoryAnswer = z.strictObject({
  request: RequestAnswer,
  events: z.array(EventAnswer).meta({ description: "The newest first." }),
  commands: z.array(CommandAnswer).meta({ description: "The newest first." }),
  dead_letters: z.array(DeadLetterAnswer).meta({ description: "By line." }),
  next: next(),
}).meta({ id: "History" });

export const ErrorAnswer = z.strictObject({
  error: z.strictObject({
    code: z.string(),
    message: z.string().meta({ description: "One sentence for people, in English." }),
    hint: z.string().optional(),
    details: z.unknown().optional(),
  }),
}).meta({ id: "Error" });
