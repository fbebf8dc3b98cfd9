/** `GET /history`: the organisations' requests, the newest first. `GET /history/{id}`: one, with all that happened to it. */

import { z } from "zod";
import { rowsOf } from "../_shared/database.ts";
import { type Answer, type Call, front, type Handler, REQUEST_ID } from "../_shared/front.ts";
import { cursorOf, DEFAULT_LIMIT, Instant, MAX_LIMIT, page, parameters, placeOf, quoted } from "../_shared/pages.ts";
import { Refusal } from "../_shared/refusals.ts";
import {
  COMMAND_COLUMNS,
  commandOf,
  type CommandRow,
  DEAD_LETTER_COLUMNS,
  deadLetterOf,
  type DeadLetterRow,
  EVENT_COLUMNS,
  eventOf,
  type EventRow,
  instantOf,
  REQUEST_COLUMNS,
  requestOf,
  type RequestRow,
} from "../_shared/rows.ts";
import type { Settings } from "../_shared/settings.ts";
import { STATES } from "../_shared/shapes.ts";
import { shaped, text, uuid } from "../_shared/texts.ts";

export function history(settings: Settings): Handler {
  return front("history", settings, { "": { GET: listed }, "/{id}": { GET: looked } });
}

const paging = {
  limit: z.string().regex(/^\d{1,4}$/, "must be a whole number").transform(Number)
    .pipe(z.int().min(1).max(MAX_LIMIT)).default(DEFAULT_LIMIT),
  before: text(1, 2000).optional(),
};
const ListQuery = z.strictObject({ organisation: uuid().optional(), status: z.enum(STATES).optional(), ...paging });
const OneQuery = z.strictObject(paging);

const RequestPlace = z.strictObject({ at: Instant, id: z.string().regex(REQUEST_ID) });
/** Where each of the lists ended; null: it is through. */
const OnePlace = z.strictObject({
  events: z.strictObject({ at: Instant, id: z.int() }).nullable(),
  commands: z.int().nullable(),
  // A line may have several, and their ids are anybody's texts: of the last line so many were told.
  dead_letters: z.strictObject({ line: z.int(), told: z.int().min(1) }).nullable(),
});

async function listed(call: Call): Promise<Answer> {
  const { organisation, status, limit, before } = shaped(ListQuery, parameters(call.query));
  let query = call.database.from("bulk_requests").select(REQUEST_COLUMNS);
  if (organisation !== undefined) query = query.eq("organisation_id", organisation);
  if (status !== undefined) query = query.eq("status", status);
  if (before !== undefined) {
    const { at, id } = placeOf(RequestPlace, before);
    // The first is for the index, the second says it exactly.
    query = query.lte("created_at", at)
      .or(`created_at.lt.${quoted(at)},and(created_at.eq.${quoted(at)},id.lt.${quoted(id)})`);
  }
  const found = rowsOf<RequestRow[]>(
    await query.order("created_at", { ascending: false }).order("id", { ascending: false }).limit(limit + 1),
  );
  const { rows, last } = page(found, limit);
  const next = last && cursorOf({ at: instantOf(last.created_at), id: last.id });
  return { status: 200, body: { requests: rows.map(requestOf), next } };
}

async function looked(call: Call): Promise<Answer> {
  const { limit, before } = shaped(OneQuery, parameters(call.query));
  const place = before === undefined ? null : placeOf(OnePlace, before);
  const [request, events, commands, deadLetters] = await Promise.all([
    call.database.from("bulk_requests").select(REQUEST_COLUMNS).eq("id", call.id).maybeSingle(),
    eventsOf(call, limit, place),
    commandsOf(call, limit, place),
    deadLettersOf(call, limit, place),
  ]);
  const row = rowsOf<RequestRow | null>(request);
  if (!row) throw new Refusal("not_found", "There is no such request, or it is not yours to see.");
  const ends = {
    events: events.last && { at: instantOf(events.last.at), id: events.last.id },
    commands: commands.last && commands.last.sequence,
    dead_letters: deadLetters.last && { line: deadLetters.last.line, told: deadLetters.told },
  };
  const through = Object.values(ends).every((end) => end === null);
  return {
    status: 200,
    body: {
      request: requestOf(row),
      events: events.rows.map(eventOf),
      commands: commands.rows.map(commandOf),
      dead_letters: deadLetters.rows.map(deadLetterOf),
      next: through ? null : cursorOf(ends),
    },
  };
}

type Place = z.infer<typeof OnePlace> | null;

async function eventsOf(call: Call, limit: number, place: Place) {
  if (place && !place.events) return page<EventRow>([], limit);
  let query = call.database.from("events").select(EVENT_COLUMNS).eq("request_id", call.id);
  if (place?.events) {
    const { at, id } = place.events;
    query = query.lte("at", at).or(`at.lt.${quoted(at)},and(at.eq.${quoted(at)},id.lt.${id})`);
  }
  const answer = await query.order("at", { ascending: false }).order("id", { ascending: false }).limit(limit + 1);
  return page(rowsOf<EventRow[]>(answer), limit);
}

async function commandsOf(call: Call, limit: number, place: Place) {
  if (place && place.commands === null) return page<CommandRow>([], limit);
  let query = call.database.from("commands").select(COMMAND_COLUMNS).eq("request_id", call.id);
  if (place?.commands != null) query = query.lt("sequence", place.commands);
  return page(rowsOf<CommandRow[]>(await query.order("sequence", { ascending: false }).limit(limit + 1)), limit);
}

async function deadLettersOf(call: Call, limit: number, place: Place) {
  if (place && !place.dead_letters) return { ...page<DeadLetterRow>([], limit), told: 0 };
  const { line, told } = place?.dead_letters ?? { line: 0, told: 0 };
  const answer = await call.database.from("dead_letters").select(DEAD_LETTER_COLUMNS).eq("request_id", call.id)
    .gte("line", line).order("line").order("operation_id").range(told, told + limit);
  const { rows, last } = page(rowsOf<DeadLetterRow[]>(answer), limit);
  const ofLast = rows.filter((row) => row.line === last?.line).length;
  return { rows, last, told: ofLast + (last?.line === line ? told : 0) };
}
