import assert from "node:assert/strict";
import { description } from "../_shared/openapi.ts";
import { commandOf, deadLetterOf, eventOf, requestOf } from "../_shared/rows.ts";
import { CommandAnswer, DeadLetterAnswer, EventAnswer, RequestAnswer } from "../_shared/shapes.ts";
import { commandRow, requestRow } from "./world.ts";

const read = async (path: string) => JSON.parse(await Deno.readTextFile(new URL(path, import.meta.url)));

Deno.test("openapi.json is what the shapes say; else: deno task openapi", async () => {
  assert.deepEqual(await read("../openapi.json"), JSON.parse(JSON.stringify(description())));
});

Deno.test("answers have the described shape", () => {
  RequestAnswer.parse(requestOf(requestRow() as never));
  CommandAnswer.parse(commandOf(commandRow() as never));
  EventAnswer.parse(
    eventOf({ id: 1, at: "2026-11-24 15:00:00+00", actor: null, actor_name: "x", kind: "status", data: {} }),
  );
  DeadLetterAnswer.parse(deadLetterOf({ line: 1, operation_id: "o", reason: "r", applied: "no" }));
});

Deno.test("each function deploys with the pins that are tested, all of them exact", async () => {
  const { imports, nodeModulesDir } = await read("../deno.json");
  const lock = { path: "../deno.lock", frozen: true };
  for (const name of ["submit", "command", "history"]) {
    assert.deepEqual(await read(`../${name}/deno.json`), { nodeModulesDir, lock, imports });
  }
  for (const specifier of Object.values(imports)) assert.match(specifier as string, /^npm:.+@\d+\.\d+\.\d+$/);
});
