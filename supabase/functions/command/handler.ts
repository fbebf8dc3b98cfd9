/** `POST /command`: one insert into commands; whose role may say it is decided by the database. */

import { readJson } from "../_shared/bodies.ts";
import { refusalOf, rowsOf } from "../_shared/database.ts";
import { type Answer, type Call, front, type Handler } from "../_shared/front.ts";
import { Refusal } from "../_shared/refusals.ts";
import { COMMAND_COLUMNS, commandOf, type CommandRow } from "../_shared/rows.ts";
import type { Settings } from "../_shared/settings.ts";
import { CommandBody } from "../_shared/shapes.ts";
import { shaped } from "../_shared/texts.ts";

export function command(settings: Settings): Handler {
  return front("command", settings, { "": { POST: commanded } });
}

async function commanded(call: Call): Promise<Answer> {
  const body = shaped(CommandBody, await readJson(call.request));
  const argument = body.to ?? null;
  const answer = await call.database.from("commands").insert({
    ...(body.id === undefined ? {} : { id: body.id }),
    request_id: body.request,
    kind: body.command,
    argument,
  }).select(COMMAND_COLUMNS).single();
  if (!answer.error) return { status: 202, body: { command: commandOf(answer.data as CommandRow) } };
  if (answer.error.code !== "23505" || body.id === undefined) throw refusalOf(answer.error, answer.status);

  const row = rowsOf<CommandRow | null>(
    await call.database.from("commands").select(COMMAND_COLUMNS).eq("id", body.id).maybeSingle(),
  );
  const same = row?.request_id === body.request && row.kind === body.command && row.argument === argument;
  if (!same) throw new Refusal("conflict", "This id belongs to another command: take a new one.");
  return { status: 200, body: { command: commandOf(row) } };
}
