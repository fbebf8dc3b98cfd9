import assert from "node:assert/strict";
import { exportSPKI, generateKeyPair, importJWK, SignJWT, UnsecuredJWT } from "jose";
import { get, ISSUER, KEY, PUBLIC_KEY, token, USER, World } from "./world.ts";

async function ask(world: World, bearer: string | null) {
  const headers = bearer === null ? undefined : { authorization: bearer };
  const answer = await world.history(new Request("https://project.example/history", { headers }));
  return { status: answer.status, body: await answer.json(), headers: answer.headers };
}

Deno.test("a signed-in user's token goes on to PostgREST, with the publishable key and no other", async () => {
  await using world = new World();
  world.will({ body: [] });
  const answer = await world.history(await get("/functions/v1/history"));
  assert.equal(answer.status, 200);
  const [{ headers }] = world.received;
  assert.match(headers.get("authorization")!, /^Bearer ey/);
  assert.equal(headers.get("apikey"), KEY);
});

const now = () => Math.floor(Date.now() / 1000);
const claims = { sub: USER, role: "authenticated", aud: "authenticated", iss: ISSUER };
const FORGED: Record<string, () => Promise<string | null>> = {
  "no token": () => Promise.resolve(null),
  "another scheme": () => Promise.resolve("Basic dXNlcjpwYXNz"),
  "no JWT": () => Promise.resolve("Bearer nonsense"),
  "a header that is no JSON": () => Promise.resolve("Bearer AAAA.AAAA.AAAA"),
  "the publishable key": () => Promise.resolve(`Bearer ${KEY}`),
  "an expired one": async () => `Bearer ${await token({ exp: now() - 60 })}`,
  "one without an expiry": async () => `Bearer ${await token({ exp: undefined })}`,
  "one that is not valid yet": async () => `Bearer ${await token({ nbf: now() + 600 })}`,
  "another issuer's": async () => `Bearer ${await token({ iss: "https://other.example/auth/v1" })}`,
  "one without an issuer": async () => `Bearer ${await token({ iss: undefined })}`,
  "another audience's": async () => `Bearer ${await token({ aud: "anon" })}`,
  "one without an audience": async () => `Bearer ${await token({ aud: undefined })}`,
  "one of role anon": async () => `Bearer ${await token({ role: "anon" })}`,
  "one of role service_role": async () => `Bearer ${await token({ role: "service_role" })}`,
  "one without a subject": async () => `Bearer ${await token({ sub: undefined })}`,
  "one whose subject is no user": async () => `Bearer ${await token({ sub: "me" })}`,
  "one that names no key": async () => `Bearer ${await token({}, { kid: undefined })}`,
  "one that names an unknown key": async () => `Bearer ${await token({}, { kid: "other" })}`,
  "one signed by another key": async () => `Bearer ${await token({}, {}, (await generateKeyPair("ES256")).privateKey)}`,
  "alg none": () => Promise.resolve(`Bearer ${new UnsecuredJWT(claims).setExpirationTime("1h").encode()}`),
  "alg none that names the key": () => Promise.resolve(`Bearer ${unsigned({ alg: "none", kid: "es" })}`),
  "HS256 with the public key as secret (JWK)": async () =>
    `Bearer ${await hs256(new TextEncoder().encode(JSON.stringify(PUBLIC_KEY)))}`,
  "HS256 with the public key as secret (PEM)": async () =>
    `Bearer ${await hs256(
      new TextEncoder().encode(await exportSPKI((await importJWK(PUBLIC_KEY, "ES256")) as CryptoKey)),
    )}`,
  "a signature that was changed": async () => {
    const good = await token();
    return `Bearer ${good.slice(0, -4)}${good.endsWith("AAAA") ? "BBBB" : "AAAA"}`;
  },
  "claims that were changed": async () => {
    const [header, , signature] = (await token()).split(".");
    const other = (await token({ sub: "0b000000-0000-4000-8000-000000000002" })).split(".")[1];
    return `Bearer ${header}.${other}.${signature}`;
  },
  "a critical extension": () =>
    Promise.resolve(`Bearer ${unsigned({ alg: "ES256", kid: "es", crit: ["x"], x: 1 })}AAAA`),
};

function unsigned(header: unknown): string {
  const part = (value: unknown) => btoa(JSON.stringify(value)).replace(/=+$/, "");
  return `${part(header)}.${part({ ...claims, exp: now() + 600 })}.`;
}

async function hs256(secret: Uint8Array): Promise<string> {
  return await new SignJWT(claims).setExpirationTime("1h").setProtectedHeader({ alg: "HS256", kid: "es" }).sign(secret);
}

for (const [what, forge] of Object.entries(FORGED)) {
  Deno.test(`${what} is refused, and the database is not asked`, async () => {
    await using world = new World();
    const { status, body, headers } = await ask(world, await forge());
    assert.equal(status, 401, JSON.stringify(body));
    assert.equal(body.error.code, "unauthenticated");
    assert.equal(headers.get("www-authenticate"), "Bearer");
    assert.equal(world.received.length, 0);
  });
}

Deno.test("an EC key that does not name its algorithm checks no HMAC all the same", async () => {
  const { alg: _, use: __, ...bare } = PUBLIC_KEY;
  await using world = new World({ keys: [bare] });
  world.will({ body: [] });
  assert.equal((await ask(world, `Bearer ${await token()}`)).status, 200);
  for (const secret of [JSON.stringify(bare), bare.x!]) {
    assert.equal((await ask(world, `Bearer ${await hs256(new TextEncoder().encode(secret))}`)).status, 401);
  }
});

Deno.test("a key without a name checks nothing", async () => {
  const { kid: _, ...nameless } = PUBLIC_KEY;
  await using world = new World({ keys: [nameless] });
  assert.equal((await ask(world, `Bearer ${await token({}, { kid: undefined })}`)).status, 401);
});

Deno.test("HS256 counts where the operator gives an oct key, under its kid", async () => {
  const secret = new TextEncoder().encode("s".repeat(40));
  const k = btoa("s".repeat(40)).replace(/=+$/, "");
  await using world = new World({ keys: [PUBLIC_KEY, { kty: "oct", kid: "hs", alg: "HS256", k }] });
  const sign = (kid: string) =>
    new SignJWT(claims).setExpirationTime("1h").setProtectedHeader({ alg: "HS256", kid }).sign(secret);
  world.will({ body: [] });
  assert.equal((await ask(world, `Bearer ${await sign("hs")}`)).status, 200);
  assert.equal((await ask(world, `Bearer ${await sign("es")}`)).status, 401);
});

Deno.test("without SUPABASE_JWKS the keys are fetched from Auth, once", async () => {
  await using world = new World({ keys: null });
  world.will({ body: { keys: [PUBLIC_KEY] } }, { body: [] }, { body: [] });
  for (let i = 0; i < 2; i++) assert.equal((await ask(world, `Bearer ${await token()}`)).status, 200);
  assert.deepEqual(
    world.received.map(({ path }) => path),
    ["/auth/v1/.well-known/jwks.json", "/rest/v1/bulk_requests", "/rest/v1/bulk_requests"],
  );
  assert.equal((await ask(world, `Bearer ${await token({}, { kid: "other" })}`)).status, 401);
  const secret = new TextEncoder().encode(JSON.stringify(PUBLIC_KEY));
  assert.equal((await ask(world, `Bearer ${await hs256(secret)}`)).status, 401);
});

for (
  const [what, reply] of Object.entries({
    "answers 500": { status: 500, body: {} },
    "answers something else": { body: { hello: 1 } },
    "breaks off": { gone: true },
  })
) {
  Deno.test(`where Auth ${what} instead of keys, nobody is called a forger`, {
    // jose leaves such an answer's body alone.
    sanitizeResources: false,
  }, async () => {
    await using world = new World({ keys: null });
    world.will(reply);
    const { status, body } = await ask(world, `Bearer ${await token()}`);
    assert.equal(status, 503, JSON.stringify(body));
  });
}

Deno.test("where nothing listens in the place of Auth, it is unavailable", async () => {
  await using world = new World({ keys: null, url: "http://127.0.0.1:9" });
  assert.equal((await ask(world, `Bearer ${await token()}`)).status, 503);
});
