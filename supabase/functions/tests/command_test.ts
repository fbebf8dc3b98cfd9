import assert from "node:assert/strict";
import { COMMAND, commandRow, post, REQUEST, World } from "./world.ts";

async function commanded(world: World, body: unknown) {
  const answer = await world.command(await post("/command", body));
  return { status: answer.status, body: await answer.json(), headers: answer.headers };
}

Deno.test("a command is one insert", async () => {
  await using world = new World();
  const { status, body } = await commanded(world.will({ status: 201, body: commandRow() }), {
    id: COMMAND,
    request: REQUEST,
    command: "pause",
  });
  assert.equal(status, 202);
  assert.deepEqual(body.command, {
    id: COMMAND,
    request: REQUEST,
    command: "pause",
    to: null,
    sequence: 1,
    status: "pending",
    answer: null,
    created_at: "2026-11-24T15:00:02+00:00",
    answered_at: null,
    created_by: "0b000000-0000-4000-8000-000000000001",
  });
  assert.deepEqual(world.received.map(({ method, path, body }) => [method, path, body]), [
    ["POST", "/rest/v1/commands", { id: COMMAND, request_id: REQUEST, kind: "pause", argument: null }],
  ]);
});

Deno.test("reprioritise says to what", async () => {
  await using world = new World();
  await commanded(world.will({ body: commandRow() }), { request: REQUEST, command: "reprioritise", to: "urgent" });
  assert.deepEqual(world.received[0].body, { request_id: REQUEST, kind: "reprioritise", argument: "urgent" });
});

const exists = { fault: { code: "23505", message: "exists" }, status: 409 };

Deno.test("the same id with the same command is the same command", async () => {
  await using world = new World();
  world.will(exists, { body: [commandRow({ status: "accepted" })] });
  const { status, body } = await commanded(world, { id: COMMAND.toUpperCase(), request: REQUEST, command: "pause" });
  assert.equal(status, 200);
  assert.equal(body.command.status, "accepted");
  assert.equal(world.received[1].query.id, `eq.${COMMAND}`);
});

const OTHERS = { kind: { kind: "resume" }, argument: { argument: "low" }, request: { request_id: "other" } };
for (const [what, changes] of Object.entries(OTHERS)) {
  Deno.test(`the same id with another ${what} is a conflict`, async () => {
    await using world = new World();
    world.will(exists, { body: [commandRow(changes)] });
    assert.equal((await commanded(world, { id: COMMAND, request: REQUEST, command: "pause" })).status, 409);
  });
}

Deno.test("an id that nobody may see is a conflict, and tells nothing", async () => {
  await using world = new World();
  const { status, body } = await commanded(world.will(exists, { body: [] }), {
    id: COMMAND,
    request: REQUEST,
    command: "pause",
  });
  assert.equal(status, 409);
  assert.deepEqual(Object.keys(body.error), ["code", "message"]);
});

const WRONG: Record<string, [unknown, RegExp]> = {
  "no command": [{ request: REQUEST }, /^command must be one of pause, /],
  "finalize": [{ request: REQUEST, command: "finalize" }, /^command must be one of pause, /],
  "an unknown command": [{ request: REQUEST, command: "start" }, /^command must be one of pause, /],
  "no request": [{ command: "pause" }, /^request is missing\.$/],
  "SQL as request": [{ request: "x' or '1'='1", command: "pause" }, /^request must be the id of a request\.$/],
  "an id that is no UUID": [{ id: "1", request: REQUEST, command: "pause" }, /^id must be a UUID\.$/],
  "reprioritise to nothing": [{ request: REQUEST, command: "reprioritise" }, /^to must be given with reprioritise/],
  "reprioritise to null": [{ request: REQUEST, command: "reprioritise", to: null }, /^to must be one of urgent/],
  "pause to urgent": [{ request: REQUEST, command: "pause", to: "urgent" }, /^to must be given with reprioritise/],
  "a sequence of one's own": [{ request: REQUEST, command: "pause", sequence: 0 }, /^sequence is not a field/],
  "a status": [{ request: REQUEST, command: "pause", status: "accepted" }, /^status is not a field/],
  "an organisation": [{ request: REQUEST, command: "pause", organisation: "x" }, /^organisation is not a field/],
  "a list": [[], /^The body must be an object\.$/],
  "null": ["null", /^The body must be an object\.$/],
};
for (const [what, [body, message]] of Object.entries(WRONG)) {
  Deno.test(`${what} is refused by name, and the database is not asked`, async () => {
    await using world = new World();
    const { status, body: answer } = await commanded(world, body);
    assert.equal(status, 422, JSON.stringify(answer));
    assert.match(answer.error.message, message);
    assert.equal(world.received.length, 0);
  });
}
