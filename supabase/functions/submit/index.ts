import { readSettings } from "../_shared/settings.ts";
import { submit } from "./handler.ts";

export default { fetch: submit(readSettings((name) => Deno.env.get(name))) };
