/** All Edge Functions in one process, as the platform's gateway shows them: the first part of the path names the function. */

import command from "../../../supabase/functions/command/index.ts";
import history from "../../../supabase/functions/history/index.ts";
import submit from "../../../supabase/functions/submit/index.ts";

const FUNCTIONS: Record<string, { fetch: (request: Request) => Promise<Response> }> = { command, history, submit };

Deno.serve({
  hostname: "127.0.0.1",
  port: Number(Deno.args[0] ?? 0),
  onListen: ({ port }) => console.log(JSON.stringify({ port })),
}, (request) => {
  const name = request.url.replace(/^https?:\/\/[^/]*/, "").replace(/^\/functions\/v1(?=\/)/, "").split(/[/?]/)[1];
  return Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name].fetch(request) : new Response(null, { status: 404 });
});
