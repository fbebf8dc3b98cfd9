import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { get, ORGANISATION, post, REQUEST, requestRow, USER, World } from "./world.ts";

const OPERATION = { spreadsheet: "s", op: "append", range: "A:B", values: [["x", 1.5, null, true]], id: "o-1" };
const LINE = '{"id":"o-1","op":"append","range":"A:B","spreadsheet":"s","values":[["x",1.5,null,true]]}\n';
const hash = (text: string | Uint8Array) => createHash("sha256").update(text).digest("hex");
const inline = { organisation: ORGANISATION, operations: [OPERATION] };
const upload = { organisation: ORGANISATION, upload: { sha256: "a".repeat(64), bytes: 5 } };
const exists = { fault: { code: "23505", message: "exists" }, status: 409 };

async function submitted(world: World, body: unknown) {
  const answer = await world.submit(await post("/submit", body));
  return { status: answer.status, body: await answer.json(), headers: answer.headers };
}

type Kept = { content_sha256: string; input_sha256: string; input_bytes: number };

/** By what a replay is known, as the row has it. */
async function keptOf(body: Record<string, unknown>): Promise<Kept> {
  await using world = new World();
  await submitted(world.will({ body: requestRow() }), body);
  const { content_sha256, input_sha256, input_bytes } = world.received[0].body as Kept;
  return { content_sha256, input_sha256, input_bytes };
}

/** The content hash that a body is kept under. */
const contentOf = async (body: Record<string, unknown>) => (await keptOf(body)).content_sha256;

Deno.test("operations become JSON Lines with their hash and length, by one insert of the caller's", async () => {
  await using world = new World();
  const { status, body } = await submitted(world.will({ status: 201, body: requestRow() }), {
    ...inline,
    name: "orders",
    idempotency_key: "k",
    priority: "urgent",
    order: "strict",
    stop_after: 3,
    grow: true,
  });
  assert.equal(status, 201);
  assert.equal(body.request.id, REQUEST);
  assert.equal(body.upload, undefined);
  const [received, ...others] = world.received;
  assert.equal(others.length, 0);
  assert.equal(received.method, "POST");
  assert.equal(received.path, "/rest/v1/bulk_requests");
  assert.equal(received.headers.get("prefer"), "return=representation");
  const { content_sha256, ...row } = received.body as Record<string, unknown>;
  assert.match(content_sha256 as string, /^[0-9a-f]{64}$/);
  assert.deepEqual(row, {
    organisation_id: ORGANISATION,
    name: "orders",
    idempotency_key: "k",
    priority: "urgent",
    ordering: "strict",
    stop_after: 3,
    grow: true,
    operations: LINE,
    input_sha256: hash(LINE),
    input_bytes: LINE.length,
  });
});

Deno.test("JSON Lines are kept as they came, to the byte", async () => {
  await using world = new World();
  const lines = '\n{"id": "é😀", "op": 1e2}\r\nno operation at all\n{"deep": "\\u0000"}';
  await submitted(world.will({ body: requestRow() }), { organisation: ORGANISATION, operations: lines });
  const row = world.received[0].body as Record<string, unknown>;
  assert.equal(row.operations, lines);
  assert.equal(row.input_sha256, hash(lines));
  assert.equal(row.input_bytes, new TextEncoder().encode(lines).length);
  assert.equal("idempotency_key" in row, false);
});

Deno.test("what is not said is what is the default: the content is the same", async () => {
  const bare = await contentOf(inline);
  const said = { name: "", priority: "normal", order: "lane", stop_after: 0, grow: false };
  assert.equal(await contentOf({ ...inline, ...said, idempotency_key: "k" }), bare);
  assert.equal(await contentOf({ ...inline, organisation: ORGANISATION.toUpperCase() }), bare);
  const turned = Object.fromEntries(Object.entries(OPERATION).reverse());
  assert.equal(await contentOf({ ...inline, operations: [turned] }), bare);
});

const OTHER_CONTENT: Record<string, Record<string, unknown>> = {
  "another name": { ...inline, name: "x" },
  "another priority": { ...inline, priority: "low" },
  "another order": { ...inline, order: "strict" },
  "another stop_after": { ...inline, stop_after: 1 },
  "another grow": { ...inline, grow: true },
  "another organisation": { ...inline, organisation: "0a000000-0000-4000-8000-000000000002" },
  "other operations": { ...inline, operations: [{ ...OPERATION, id: "o-2" }] },
  "one operation more": { ...inline, operations: [OPERATION, OPERATION] },
  "an upload of the same bytes": { organisation: ORGANISATION, upload: { sha256: hash(LINE), bytes: LINE.length } },
};
for (const [what, body] of Object.entries(OTHER_CONTENT)) {
  Deno.test(`${what} is other content`, async () => {
    assert.notEqual(await contentOf(body), await contentOf(inline));
  });
}

Deno.test("a replay costs one select more, and is the same request", async () => {
  const kept = await keptOf(inline);
  await using world = new World();
  world.will(exists, { body: [requestRow(kept)] });
  const { status, body } = await submitted(world, { ...inline, idempotency_key: 'k",or=(id.neq.0)&x=*' });
  assert.equal(status, 200);
  assert.equal(body.request.id, REQUEST);
  assert.equal(world.received.length, 2);
  const { method, path, query } = world.received[1];
  assert.deepEqual([method, path], ["GET", "/rest/v1/bulk_requests"]);
  assert.equal(query.organisation_id, `eq.${ORGANISATION}`);
  assert.equal(query.idempotency_key, 'in.("k\\",or=(id.neq.0)&x=*")');
});

Deno.test("the same key with other content is a conflict", async () => {
  await using world = new World();
  world.will(exists, { body: [requestRow({ content_sha256: "b".repeat(64) })] });
  const { status, body } = await submitted(world, { ...inline, idempotency_key: "k" });
  assert.equal(status, 409);
  assert.equal(body.error.code, "conflict");
  assert.deepEqual(body.error.details, { request: REQUEST });
});

Deno.test("a key whose request cannot be seen is a conflict, and nothing is told of it", async () => {
  await using world = new World();
  const { status, body } = await submitted(world.will(exists, { body: [] }), { ...inline, idempotency_key: "k" });
  assert.equal(status, 409);
  assert.equal(body.error.details, undefined);
});

const awaiting = { status: "awaiting_upload", input_path: `${ORGANISATION}/${REQUEST}` };

Deno.test("a file that is announced gets an address, its path from the row", async () => {
  await using world = new World();
  world.will({ status: 201, body: requestRow(awaiting) }, {
    body: { url: `/object/upload/sign/inputs/x?token=t.t.t` },
  });
  const { status, body } = await submitted(world, upload);
  assert.equal(status, 201);
  const row = world.received[0].body as Record<string, unknown>;
  assert.deepEqual([row.input_sha256, row.input_bytes, "operations" in row], ["a".repeat(64), 5, false]);
  assert.equal(world.received[1].path, `/storage/v1/object/upload/sign/inputs/${ORGANISATION}/${REQUEST}`);
  assert.match(world.received[1].headers.get("authorization")!, /^Bearer ey/);
  assert.equal(world.received[1].headers.get("x-upsert"), null);
  assert.deepEqual(body.upload, {
    bucket: "inputs",
    path: `${ORGANISATION}/${REQUEST}`,
    token: "t.t.t",
    url: `${world.settings.url}/storage/v1/object/upload/sign/inputs/x?token=t.t.t`,
  });
});

Deno.test("a replay of one that awaits its file gets a fresh address", async () => {
  const kept = await keptOf(upload);
  await using world = new World();
  world.will(exists, { body: [requestRow({ ...awaiting, ...kept })] }, { body: { url: "/x?token=fresh" } });
  const { status, body } = await submitted(world, { ...upload, idempotency_key: "k" });
  assert.equal(status, 200);
  assert.equal(body.upload.token, "fresh");
});

Deno.test("whose file lies there already is told to finalize by having no address", async () => {
  await using world = new World();
  const duplicate = {
    status: 409,
    body: { statusCode: "409", error: "Duplicate", message: "The resource already exists" },
  };
  const { status, body } = await submitted(world.will({ status: 201, body: requestRow(awaiting) }, duplicate), upload);
  assert.equal(status, 201);
  assert.equal(body.upload, undefined);
});

Deno.test("another member's file is not ours to put: Storage is not asked", async () => {
  const kept = await keptOf(upload);
  await using world = new World();
  world.will(exists, { body: [requestRow({ ...awaiting, ...kept, created_by: null })] });
  const { status, body } = await submitted(world, { ...upload, idempotency_key: "k" });
  assert.equal(status, 200);
  assert.equal(body.upload, undefined);
  assert.equal(world.received.length, 2);
});

Deno.test("where Storage is away the request is named, and may be asked for again", async () => {
  await using world = new World();
  world.will({ status: 201, body: requestRow(awaiting) }, { status: 500, body: { message: "secret internals" } });
  const { status, body, headers } = await submitted(world, upload);
  assert.equal(status, 503);
  assert.deepEqual(body.error.details, { request: REQUEST });
  assert.equal(headers.get("retry-after"), "5");
  assert.equal(JSON.stringify(body).includes("secret"), false);
});

const WRONG: Record<string, [unknown, RegExp]> = {
  "a list": [[inline], /^The body must be an object\.$/],
  "no organisation": [{ operations: [OPERATION] }, /^organisation is missing\.$/],
  "an organisation that is no UUID": [{ ...inline, organisation: "acme" }, /^organisation must be a UUID\.$/],
  "neither operations nor upload": [{ organisation: ORGANISATION }, /either operations or upload/],
  "both": [{ ...inline, ...upload }, /either operations or upload/],
  "no operation": [{ ...inline, operations: [] }, /^operations must have at least one/],
  "an empty text": [{ ...inline, operations: " \n " }, /^operations must have at least one/],
  "operations that are a number": [{ ...inline, operations: 5 }, /^operations must be a list/],
  "an operation that is none": [{ ...inline, operations: [OPERATION, [1]] }, /^operations\.1 must be an object/],
  "an operation that is null": [{ ...inline, operations: [null] }, /^operations\.0 must be an object/],
  "NUL in an operation": [{ ...inline, operations: [{ id: "a\u0000b" }] }, /^operations\.0 must hold neither NUL/],
  "NUL in a key": [{ ...inline, operations: [{ "a\u0000b": 1 }] }, /^operations\.0 must hold neither NUL/],
  "half a surrogate pair in an operation": [{ ...inline, operations: [{ id: "\ud800" }] }, /^operations\.0 must hold/],
  "half a surrogate pair in JSON Lines": [{ ...inline, operations: '{"id": "\udc00"}' }, /^operations must hold/],
  "a number that is none": [
    `{"organisation": "${ORGANISATION}", "operations": [{"values": [[1e999]]}]}`,
    /^operations\.0 must be a number that fits/,
  ],
  "NUL in the name": [{ ...inline, name: "a\u0000" }, /^name must hold neither NUL/],
  "half a surrogate pair in the key": [{ ...inline, idempotency_key: "\ud83d" }, /^idempotency_key must hold neither/],
  "a name too long": [{ ...inline, name: "x".repeat(201) }, /^name must have at most 200/],
  "an empty key": [{ ...inline, idempotency_key: "" }, /^idempotency_key must have 1 to 200/],
  "an unknown priority": [{ ...inline, priority: "asap" }, /^priority must be one of urgent, normal, low\.$/],
  "an unknown order": [{ ...inline, order: "random" }, /^order must be one of lane, strict\.$/],
  "stop_after below 0": [{ ...inline, stop_after: -1 }, /^stop_after must be at least 0\.$/],
  "stop_after beyond a million": [{ ...inline, stop_after: 1_000_001 }, /^stop_after must be at most 1000000\.$/],
  "a broken stop_after": [{ ...inline, stop_after: 1.5 }, /^stop_after must be a whole number\.$/],
  "grow as a text": [{ ...inline, grow: "yes" }, /^grow must be true or false\.$/],
  "a hash that is none": [{ ...upload, upload: { sha256: "A".repeat(64), bytes: 5 } }, /^upload\.sha256 must be 64/],
  "a file of 0 bytes": [
    { ...upload, upload: { sha256: "a".repeat(64), bytes: 0 } },
    /^upload\.bytes must be at least 1/,
  ],
  "a file beyond 1 GiB": [
    { ...upload, upload: { sha256: "a".repeat(64), bytes: 2 ** 30 + 1 } },
    /^upload\.bytes must be at most 1073741824/,
  ],
  "a path of one's own": [
    { ...upload, upload: { sha256: "a".repeat(64), bytes: 5, path: "other/x" } },
    /^upload\.path is not a field/,
  ],
};
for (
  const field of [
    "id",
    "project",
    "user",
    "users",
    "credential",
    "input_path",
    "status",
    "version",
    "revision",
    "created_by",
  ]
    .concat([
      "content_sha256",
      "input_sha256",
      "results_location",
      "owner",
      "organisation_id",
      "__proto__",
      "constructor",
    ])
) {
  const with_field = JSON.stringify(inline).slice(0, -1) + `, "${field}": "x"}`;
  WRONG[`a field ${field}`] = [with_field, new RegExp(`^${field} is not a field that is known here\\.$`)];
}
for (const [what, [body, message]] of Object.entries(WRONG)) {
  Deno.test(`${what} is refused by name, and the database is not asked`, async () => {
    await using world = new World();
    const { status, body: answer } = await submitted(world, body);
    assert.equal(status, 422, JSON.stringify(answer));
    assert.equal(answer.error.code, "invalid");
    assert.match(answer.error.message, message);
    assert.equal(world.received.length, 0);
  });
}

Deno.test("what JavaScript would take for something else stays a field of an operation", async () => {
  await using world = new World();
  const operation = '{"__proto__":{"polluted":true},"constructor":"x","id":"1"}';
  await submitted(world.will({ body: requestRow() }), `{"organisation":"${ORGANISATION}","operations":[${operation}]}`);
  assert.equal((world.received[0].body as { operations: string }).operations, operation + "\n");
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
});

Deno.test("a name of 200 characters may need 400 units", async () => {
  await using world = new World();
  const name = "😀".repeat(200);
  assert.equal((await submitted(world.will({ body: requestRow() }), { ...inline, name })).status, 201);
  assert.equal((world.received[0].body as { name: string }).name, name);
});

const FINALIZED = { id: "f", request_id: REQUEST, kind: "finalize", argument: null, sequence: 1, status: "accepted" };
const done = {
  ...FINALIZED,
  answer: null,
  created_at: "2026-11-24T15:00:02+00:00",
  answered_at: null,
  created_by: USER,
};

async function finalized(world: World, id = REQUEST) {
  const request = await post(`/submit/${id}/finalize`, "");
  const answer = await world.submit(request);
  return { status: answer.status, body: await answer.json() };
}

Deno.test("finalize is one insert", async () => {
  await using world = new World();
  const { status, body } = await finalized(world.will({ status: 201, body: done }));
  assert.equal(status, 202);
  assert.equal(body.command.command, "finalize");
  assert.deepEqual(world.received.map(({ path, body }) => [path, body]), [
    ["/rest/v1/commands", { request_id: REQUEST, kind: "finalize" }],
  ]);
});

Deno.test("finalize again is answered the same", async () => {
  await using world = new World();
  world.will({ fault: { code: "PT409", message: "this request awaits no upload" } }, { body: [done] });
  const { status, body } = await finalized(world);
  assert.equal(status, 202);
  assert.equal(body.command.id, "f");
  assert.equal(world.received[1].query.request_id, `eq.${REQUEST}`);
  assert.equal(world.received[1].query.kind, "eq.finalize");
});

Deno.test("finalize of what never awaited a file says why not", async () => {
  await using world = new World();
  world.will({ fault: { code: "PT409", message: "this request awaits no upload", hint: "" } }, { body: [] });
  const { status, body } = await finalized(world);
  assert.equal(status, 409);
  assert.deepEqual(body, { error: { code: "conflict", message: "This request awaits no upload." } });
});

for (const id of ["", "a/b", "%00", "%2e%2e%2fx", "a%20b", "x".repeat(129), "%zz", "'; drop table x;--"]) {
  Deno.test(`finalize of ${JSON.stringify(id.slice(0, 20))} is nothing that is there`, async () => {
    await using world = new World();
    assert.equal((await finalized(world, id)).status, 404);
    assert.equal(world.received.length, 0);
  });
}

Deno.test("GET is no way to submit", async () => {
  await using world = new World();
  const answer = await world.submit(await get("/submit"));
  assert.equal(answer.status, 405);
  assert.equal(answer.headers.get("allow"), "POST, OPTIONS");
});
