import assert from "node:assert/strict";
import { commandRow, get, ORGANISATION, REQUEST, requestRow, World } from "./world.ts";

async function asked(world: World, path: string) {
  const answer = await world.history(await get(path));
  return { status: answer.status, body: await answer.json() };
}

Deno.test("a request is told in the words of the API", async () => {
  await using world = new World();
  const { body } = await asked(world.will({ body: [requestRow()] }), "/history");
  assert.deepEqual(body, {
    requests: [{
      id: REQUEST,
      organisation: ORGANISATION,
      name: "orders",
      status: "submitted",
      priority: "normal",
      order: "lane",
      version: 0,
      revision: 1,
      operations: { total: 5, succeeded: 3, failed: 1, unprocessed: 1 },
      calls: { planned: 2, made: 1, retried: 0 },
      rate_per_minute: 12.5,
      eta_at: null,
      waiting: { reason: "quota", cause: "project", until: "2026-11-24T15:00:01.5+00:00" },
      failures: { "no such sheet": 1 },
      results_location: null,
      error: null,
      created_at: "2026-11-24T15:00:00.123456+00:00",
      updated_at: "2026-11-24T15:00:00.123456+00:00",
      finished_at: null,
      created_by: "0b000000-0000-4000-8000-000000000001",
    }],
    next: null,
  });
});

Deno.test("the list is asked for with one row more, the newest first", async () => {
  await using world = new World();
  await asked(world.will({ body: [] }), `/history?organisation=${ORGANISATION}&status=running&limit=2`);
  const { path, query } = world.received[0];
  assert.equal(path, "/rest/v1/bulk_requests");
  assert.deepEqual({ ...query, select: undefined }, {
    select: undefined,
    organisation_id: `eq.${ORGANISATION}`,
    status: "eq.running",
    order: "created_at.desc,id.desc",
    limit: "3",
  });
});

Deno.test("next leads to what comes after the last row", async () => {
  await using world = new World();
  const rows = ["c", "b", "a"].map((id) => requestRow({ id }));
  const first = await asked(world.will({ body: rows }), "/history?limit=2");
  assert.deepEqual(first.body.requests.map(({ id }: { id: string }) => id), ["c", "b"]);
  const second = await asked(world.will({ body: rows.slice(2) }), `/history?limit=2&before=${first.body.next}`);
  const at = "2026-11-24T15:00:00.123456+00:00";
  assert.equal(world.received[1].query.created_at, `lte.${at}`);
  assert.equal(world.received[1].query.or, `(created_at.lt."${at}",and(created_at.eq."${at}",id.lt."b"))`);
  assert.equal(second.body.next, null);
});

const event = { id: 7, at: "2026-11-24T15:00:00+00:00", actor: null, actor_name: "headgate", kind: "status", data: {} };
const letter = { line: 3, operation_id: 'o,")\\', reason: "no such sheet", applied: "no" };

Deno.test("one request comes with its events, commands and dead letters", async () => {
  await using world = new World();
  const bodies: Record<string, unknown[]> = {
    bulk_requests: [requestRow()],
    events: [event],
    commands: [commandRow()],
    dead_letters: [letter],
  };
  // They are asked for side by side, so the replies are told apart by what was asked.
  world.replies.shift = () => ({ body: bodies[world.received.at(-1)!.path.split("/").at(-1)!] });
  const { status, body } = await asked(world, `/history/${REQUEST}`);
  assert.equal(status, 200);
  assert.equal(body.request.id, REQUEST);
  assert.deepEqual(body.events, [event]);
  assert.equal(body.commands[0].request, REQUEST);
  assert.deepEqual(body.dead_letters, [{ line: 3, id: letter.operation_id, reason: "no such sheet", applied: "no" }]);
  assert.equal(body.next, null);
  for (const { path, query } of world.received) {
    assert.equal(query[path.endsWith("bulk_requests") ? "id" : "request_id"], `eq.${REQUEST}`);
  }
});

Deno.test("each list has its own place, and one that is through is not asked for again", async () => {
  await using world = new World();
  const more: Record<string, unknown[]> = {
    bulk_requests: [requestRow()],
    events: [event, { ...event, id: 6 }],
    commands: [commandRow()],
    dead_letters: [letter, { ...letter, line: 4 }],
  };
  world.replies.shift = () => ({ body: more[world.received.at(-1)!.path.split("/").at(-1)!] });
  const first = await asked(world, `/history/${REQUEST}?limit=1`);
  assert.equal(first.body.events.length, 1);
  world.received.length = 0;
  await asked(world, `/history/${REQUEST}?limit=1&before=${first.body.next}`);
  const queries = Object.fromEntries(world.received.map(({ path, query }) => [path.split("/").at(-1), query]));
  assert.deepEqual(Object.keys(queries).sort(), ["bulk_requests", "dead_letters", "events"]);
  assert.equal(queries.events.or, `(at.lt."${event.at}",and(at.eq."${event.at}",id.lt.7))`);
  assert.deepEqual([queries.dead_letters.line, queries.dead_letters.offset], ["gte.3", "1"]);
});

Deno.test("a request that cannot be seen does not exist", async () => {
  await using world = new World();
  const nothing = { body: [] };
  const { status, body } = await asked(world.will(nothing, nothing, nothing, nothing), `/history/${REQUEST}`);
  assert.equal(status, 404);
  assert.equal(body.error.code, "not_found");
});

const cursor = (place: unknown) =>
  btoa(JSON.stringify(place)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const WRONG: Record<string, RegExp> = {
  "?organisation=acme": /^organisation must be a UUID/,
  "?status=open": /^status must be one of awaiting_upload/,
  "?limit=0": /^limit must be at least 1/,
  "?limit=201": /^limit must be at most 200/,
  "?limit=1e2": /^limit must be a whole number/,
  "?limit=": /^limit must be a whole number/,
  "?limit=5&limit=6": /^limit is given twice/,
  "?select=*": /^select is not a field/,
  "?or=(id.neq.0)": /^or is not a field/,
  "?__proto__=1": /^__proto__ is not a field/,
  "?before=": /^before must have/,
  "?before=%00": /^before must hold/,
  "?before=nonsense": /^before must be what/,
  [`?before=${cursor({ at: '2026-11-24T15:00:00+00:00",id.neq.0),or=(', id: "x" })}`]: /^before must be what/,
  [`?before=${cursor({ at: "2026-11-24T15:00:00+00:00", id: 'x")' })}`]: /^before must be what/,
  [`?before=${cursor({ at: "2026-11-24T15:00:00+00:00", id: "x", more: 1 })}`]: /^before must be what/,
  [`/${REQUEST}?before=${cursor({ events: { at: "now", id: 1 }, commands: 1, dead_letters: null })}`]:
    /^before must be/,
  [`/${REQUEST}?organisation=${ORGANISATION}`]: /^organisation is not a field/,
};
for (const [path, message] of Object.entries(WRONG)) {
  Deno.test(`/history${path.slice(0, 40)} is refused by name, and the database is not asked`, async () => {
    await using world = new World();
    const { status, body } = await asked(world, `/history${path}`);
    assert.equal(status, 422, JSON.stringify(body));
    assert.match(body.error.message, message);
    assert.equal(world.received.length, 0);
  });
}

Deno.test("supabase-js may name a region", async () => {
  await using world = new World();
  assert.equal((await asked(world.will({ body: [] }), "/history?forceFunctionRegion=eu-west-1")).status, 200);
});
