import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { get, ORGANISATION, post, REQUEST, requestRow, token, World } from "./world.ts";
import { MAX_BODY_BYTES, MAX_PIECES } from "../_shared/bodies.ts";
import { readSettings } from "../_shared/settings.ts";

const BODY = { organisation: ORGANISATION, operations: [{ op: "read" }] };

Deno.test("every answer forbids keeping, sniffing and framing, and names itself", async () => {
  await using world = new World();
  const answers = [
    await world.history(await get("/history")),
    await world.history(await get("/nothing")),
    await world.history(new Request("https://project.example/history")),
    await world.history(new Request("https://project.example/history", { method: "OPTIONS" })),
    await world.submit(await post("/submit", "{")),
  ];
  for (const { headers } of answers) {
    assert.equal(headers.get("cache-control"), "no-store");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.match(headers.get("content-security-policy")!, /default-src 'none'/);
    assert.match(headers.get("x-request-id")!, /^[0-9a-f-]{36}$/);
  }
  for (const answer of answers) await answer.body?.cancel();
});

Deno.test("a caller's request id is kept where it is harmless", async () => {
  await using world = new World();
  for (const [given, kept] of [["trace-1", true], ["x".repeat(65), false], ["a b", false], ['"}', false]] as const) {
    const request = new Request("https://project.example/nothing", { headers: { "x-request-id": given } });
    assert.equal((await world.history(request)).headers.get("x-request-id") === given, kept);
  }
});

const preflight = (origin: string) =>
  new Request("https://project.example/submit", {
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
  });

Deno.test("a preflight is answered before sign-in", async () => {
  await using world = new World();
  const { status, headers } = await world.submit(preflight("https://app.example"));
  assert.equal(status, 204);
  assert.equal(headers.get("access-control-allow-origin"), "*");
  assert.equal(headers.get("access-control-allow-credentials"), null);
  for (const name of ["authorization", "apikey", "content-type", "x-client-info"]) {
    assert.ok(headers.get("access-control-allow-headers")!.includes(name));
  }
});

Deno.test("where origins are named, others are not let in", async () => {
  await using world = new World({ origins: ["https://app.example"] });
  const ours = (await world.submit(preflight("https://app.example"))).headers;
  assert.equal(ours.get("access-control-allow-origin"), "https://app.example");
  assert.equal(ours.get("vary"), "origin");
  for (
    const origin of ["https://evil.example", "https://app.example.evil.example", "null", "https://app.example:444"]
  ) {
    const { headers } = await world.submit(preflight(origin));
    assert.equal(headers.get("access-control-allow-origin"), null);
    assert.equal(headers.get("vary"), "origin");
  }
});

Deno.test("errors can be read by pages too", async () => {
  await using world = new World();
  const request = new Request("https://project.example/submit", {
    method: "POST",
    headers: { origin: "https://a.example" },
  });
  const { status, headers } = await world.submit(request);
  assert.equal(status, 401);
  assert.equal(headers.get("access-control-allow-origin"), "*");
  assert.match(headers.get("access-control-expose-headers")!, /retry-after/);
});

for (const method of ["GET", "HEAD", "PUT", "DELETE", "PATCH", "constructor"]) {
  Deno.test(`${method} is no way to command`, async () => {
    await using world = new World();
    const { status, headers } = await world.command(new Request("https://project.example/command", { method }));
    assert.equal(status, 405);
    assert.equal(headers.get("allow"), "POST, OPTIONS");
  });
}

for (
  const path of [
    "/",
    "/submit/",
    "/submit/x",
    "/submit/x/finalize/",
    "//submit",
    "/submitx",
    "/functions/v2/submit",
    "/command",
  ]
) {
  Deno.test(`there is nothing at ${path}, signed in or not`, async () => {
    await using world = new World();
    for (const request of [await post("", BODY), null]) {
      const headers = request?.headers ?? new Headers();
      const { status } = await world.submit(new Request(`https://project.example${path}`, { method: "POST", headers }));
      assert.equal(status, 404);
    }
  });
}

const MALFORMED: Record<string, [BodyInit, Record<string, string>, number]> = {
  "no body": ["", {}, 400],
  "half of a body": ['{"organisation": ', {}, 400],
  "no JSON": ["organisation=acme", {}, 400],
  "JSON with a comma too much": ['{"a": 1,}', {}, 400],
  "two bodies": ["{}{}", {}, 400],
  "NaN": ['{"stop_after": NaN}', {}, 400],
  "no UTF-8": [new Uint8Array([123, 34, 255, 34, 125]), {}, 400],
  "UTF-16": [new Uint8Array([255, 254, 123, 0, 125, 0]), {}, 400],
  "a form": ["a=1", { "content-type": "application/x-www-form-urlencoded" }, 415],
  "a text": ["{}", { "content-type": "text/plain" }, 415],
  "JSON Lines as such": ["{}", { "content-type": "application/jsonl" }, 415],
  "gzip": [new Blob([new Uint8Array(gzipSync("{}"))]), { "content-encoding": "gzip" }, 415],
  "gzip twice": ["{}", { "content-encoding": "gzip, gzip" }, 415],
  "arrays in arrays": ["[".repeat(500_000), {}, 422],
  "objects in objects": ['{"a":'.repeat(200_000), {}, 422],
  "deep in an operation": [`{"operations":[${"[".repeat(70)}${"]".repeat(70)}]}`, {}, 422],
};
for (const [what, [body, headers, status]] of Object.entries(MALFORMED)) {
  Deno.test(`${what} is ${status}`, async () => {
    await using world = new World();
    const authorization = `Bearer ${await token()}`;
    const answer = await world.submit(
      new Request("https://project.example/submit", {
        method: "POST",
        headers: { authorization, "content-type": "application/json", ...headers },
        body,
      }),
    );
    const { error } = await answer.json();
    assert.equal(answer.status, status, JSON.stringify(error));
    assert.equal(error.code, status === 415 ? "unsupported" : "invalid");
    assert.equal(world.received.length, 0);
  });
}

Deno.test("brackets inside of texts are no depth", async () => {
  await using world = new World();
  world.will({ body: requestRow() });
  const body = { ...BODY, operations: [{ id: '\\"' + "[{".repeat(1000) }] };
  assert.equal((await world.submit(await post("/submit", body))).status, 201);
});

/** A body without an end, and how much of it was taken. */
function endless(): { body: ReadableStream<Uint8Array>; taken: () => number } {
  let taken = 0;
  const chunk = new TextEncoder().encode("x".repeat(65_536));
  const body = new ReadableStream<Uint8Array>({
    pull(stream) {
      taken += chunk.byteLength;
      stream.enqueue(chunk);
    },
  });
  return { body, taken: () => taken };
}

for (const declared of [undefined, "2", String(MAX_BODY_BYTES + 1)]) {
  Deno.test(`a body without an end is refused at its limit (Content-Length: ${declared})`, async () => {
    await using world = new World();
    const { body, taken } = endless();
    const headers: Record<string, string> = {
      authorization: `Bearer ${await token()}`,
      "content-type": "application/json",
    };
    if (declared) headers["content-length"] = declared;
    const answer = await world.submit(new Request("https://project.example/submit", { method: "POST", headers, body }));
    assert.equal(answer.status, 413);
    assert.equal((await answer.json()).error.code, "too_large");
    assert.ok(taken() <= 9 * 1_048_576, `took ${taken()}`);
  });
}

Deno.test("a body that is somewhat too large is heard out, so that its sender reads why", async () => {
  for (const declared of [undefined, String(3 * 1_048_576)]) {
    await using world = new World();
    const headers: Record<string, string> = {
      authorization: `Bearer ${await token()}`,
      "content-type": "application/json",
    };
    if (declared) headers["content-length"] = declared;
    let left = 48;
    const body = new ReadableStream<Uint8Array>({
      pull: (stream) => left-- > 0 ? stream.enqueue(new Uint8Array(65_536)) : stream.close(),
    });
    const answer = await world.submit(new Request("https://project.example/submit", { method: "POST", headers, body }));
    assert.equal(answer.status, 413);
    assert.ok(left < 0);
  }
});

Deno.test("a body in pieces of one byte is not kept by the buffers that they come in", async () => {
  await using world = new World();
  world.will({ body: requestRow() });
  const bytes = new TextEncoder().encode(JSON.stringify({ ...BODY, operations: "x".repeat(8000) }));
  const held: number[] = [];
  const body = new ReadableStream<Uint8Array>({
    pull(stream) {
      held.push(Deno.memoryUsage().external);
      if (held.length > bytes.byteLength) return stream.close();
      // As from a connection: one buffer for each piece, however short that is.
      stream.enqueue(new Uint8Array(65_536).fill(bytes[held.length - 1]).subarray(0, 1));
    },
  });
  const headers = { authorization: `Bearer ${await token()}`, "content-type": "application/json" };
  const answer = await world.submit(new Request("https://project.example/submit", { method: "POST", headers, body }));
  assert.equal(answer.status, 201, await answer.text());
  const most = Math.max(...held) - held[0];
  assert.ok(most < 200 * 1_048_576, `held ${most} bytes of a platform's 256 MiB`);
});

Deno.test("a body in more pieces than any network makes of one is refused before they have taken the time", async () => {
  for (const [pieces, status] of [[MAX_PIECES, 413], [MAX_PIECES + 1, 400]]) {
    await using world = new World();
    const each = new Uint8Array(pieces > MAX_PIECES ? 1 : 128);
    let taken = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (stream) => taken++ < pieces ? stream.enqueue(each) : stream.close(),
    });
    const headers = { authorization: `Bearer ${await token()}`, "content-type": "application/json" };
    const answer = await world.submit(new Request("https://project.example/submit", { method: "POST", headers, body }));
    assert.equal(answer.status, status, await answer.text());
    assert.ok(taken <= MAX_PIECES + 2);
  }
});

Deno.test("a body that breaks off is malformed", async () => {
  await using world = new World();
  const body = new ReadableStream({ pull: (stream) => stream.error(new Error("gone")) });
  const headers = { authorization: `Bearer ${await token()}`, "content-type": "application/json" };
  const answer = await world.submit(new Request("https://project.example/submit", { method: "POST", headers, body }));
  assert.equal(answer.status, 400);
});

for (const [bytes, status] of [[1_048_576, 201], [1_048_577, 413]] as const) {
  Deno.test(`operations of ${bytes} bytes are ${status}`, async () => {
    await using world = new World();
    world.will({ body: requestRow() });
    const body = { organisation: ORGANISATION, operations: "x".repeat(bytes - 2) + "é" };
    const answer = await world.submit(await post("/submit", body));
    assert.equal(answer.status, status, await answer.text());
  });
}

const FAULTS: [Record<string, unknown> & { code: string }, number | undefined, number, string][] = [
  [{ code: "PT429", message: "too many requests submitted", hint: "7" }, undefined, 429, "too_many"],
  [{ code: "PT403", message: "this organisation has no account" }, undefined, 403, "forbidden"],
  [{ code: "PT409", message: "not now" }, undefined, 409, "conflict"],
  [{ code: "42501", message: 'new row violates row-level security policy for table "secret"' }, 403, 403, "forbidden"],
  [{ code: "23503", message: 'violates foreign key "secret"' }, 409, 404, "not_found"],
  [{ code: "23505", message: 'violates unique constraint "secret"' }, 409, 409, "conflict"],
  [{ code: "23514", message: 'violates check constraint "secret"' }, 400, 422, "invalid"],
  [{ code: "22P05", message: "untranslatable secret" }, 400, 422, "invalid"],
  [{ code: "40001", message: "serialization secret" }, 500, 409, "conflict"],
  [{ code: "57014", message: "canceling statement secret" }, 500, 503, "unavailable"],
  [{ code: "57P03", message: "starting up secret" }, 503, 503, "unavailable"],
  [{ code: "53300", message: "too many connections secret" }, 503, 503, "unavailable"],
  [{ code: "25006", message: "cannot execute INSERT in a read-only transaction, secret" }, 405, 503, "unavailable"],
  [{ code: "55P03", message: "lock not available secret" }, 500, 503, "unavailable"],
  [{ code: "08006", message: "connection failure secret" }, 503, 503, "unavailable"],
  [{ code: "PGRST000", message: "no connection secret" }, 503, 503, "unavailable"],
  [{ code: "PGRST002", message: "schema cache secret" }, 503, 503, "unavailable"],
  [{ code: "PGRST301", message: "JWT secret" }, 401, 401, "unauthenticated"],
  [{ code: "PGRST303", message: "JWT claims secret" }, 401, 401, "unauthenticated"],
  [{ code: "42P01", message: 'relation "secret" does not exist' }, 404, 500, "internal"],
  [{ code: "P0001", message: "raised secret" }, 400, 500, "internal"],
];
for (const [fault, status, told, code] of FAULTS) {
  Deno.test(`${fault.code} is told as ${code}, and nothing of ours with it`, async () => {
    await using world = new World();
    world.will({ fault: { details: "secret details", ...fault } as never, status });
    const answer = await world.submit(await post("/submit", BODY));
    const body = await answer.text();
    assert.equal(answer.status, told, body);
    assert.equal(JSON.parse(body).error.code, code);
    assert.equal(body.includes("secret"), false, body);
    if (code === "too_many") assert.equal(answer.headers.get("retry-after"), "7");
    assert.equal(world.received.length, 1, "once, whatever becomes of it");
  });
}

for (
  const reply of [{ status: 500, body: {} }, { status: 502, body: "<html>" }, { status: 503, body: {} }, { gone: true }]
) {
  Deno.test(`a gateway's own answer in place of one is unavailable: ${JSON.stringify(reply)}`, async () => {
    await using world = new World();
    world.will(reply);
    const answer = await world.history(await get("/history"));
    assert.equal(answer.status, 503, await answer.text());
    assert.equal(world.received.length, 1, "reads are not repeated either");
  });
}

Deno.test("a connection that breaks, and one that never was, are unavailable", async () => {
  await using world = new World();
  world.will({ gone: true });
  const broken = await world.submit(await post("/submit", BODY));
  assert.equal(broken.status, 503, await broken.text());
  await using nowhere = new World({ url: "http://127.0.0.1:9" });
  for (
    const request of [
      await nowhere.submit(await post("/submit", BODY)),
      await nowhere.history(await get(`/history/${REQUEST}`)),
    ]
  ) {
    assert.equal(request.status, 503, await request.text());
  }
});

Deno.test("who does not answer is not waited for", async () => {
  await using world = new World({ patienceMs: 50 });
  world.will({ status: 201, body: requestRow(), afterMs: 400 });
  const answer = await world.submit(await post("/submit", BODY));
  assert.equal(answer.status, 503, await answer.text());
  assert.equal(world.received.length, 1, "what may have been kept is not sent again");
});

Deno.test("the log says what broke, and nothing of who asked for what", async () => {
  const said: string[] = [];
  const { error } = console;
  console.error = (text: string) => said.push(text);
  try {
    await using world = new World();
    const details = "Failing row contains (secret row)";
    world.will({ fault: { code: "P0001", message: "odd", details, hint: "secret hint" }, status: 400 });
    const request = await post("/submit", { ...BODY, name: "secret name" }, { "x-request-id": "trace-1" });
    await (await world.submit(request)).body?.cancel();
  } finally {
    console.error = error;
  }
  assert.deepEqual(said.map((line) => JSON.parse(line)), [
    { requestId: "trace-1", function: "submit", cause: { code: "P0001", message: "odd" } },
  ]);
});

Deno.test("the environment is read with a sentence for what is wrong", () => {
  const good: Record<string, string> = {
    SUPABASE_URL: "https://project.example/",
    SUPABASE_PUBLISHABLE_KEYS: '{"web": "b", "default": "a"}',
  };
  const read = (changes: Record<string, string | undefined>) => readSettings((name) => ({ ...good, ...changes })[name]);
  assert.deepEqual(read({}), {
    url: "https://project.example",
    publishableKey: "a",
    keys: null,
    issuer: "https://project.example/auth/v1",
    origins: ["*"],
    patienceMs: 10_000,
  });
  assert.equal(read({ SUPABASE_PUBLISHABLE_KEYS: undefined, SUPABASE_ANON_KEY: "old" }).publishableKey, "old");
  assert.deepEqual(read({ SUPABASE_JWKS: '[{"kty": "EC"}]' }).keys, [{ kty: "EC" }]);
  assert.deepEqual(read({ HEADGATE_ALLOWED_ORIGINS: "https://a.example, https://b.example" }).origins.length, 2);
  assert.throws(() => read({ SUPABASE_URL: " " }), /SUPABASE_URL is not set/);
  assert.throws(() => read({ SUPABASE_PUBLISHABLE_KEYS: undefined }), /SUPABASE_PUBLISHABLE_KEYS is not set/);
  assert.throws(() => read({ SUPABASE_JWKS: "secret" }), (error: Error) => !error.message.includes("secret"));
  assert.throws(() => read({ SUPABASE_JWKS: '{"keys": []}' }), /SUPABASE_JWKS has no keys/);
});
