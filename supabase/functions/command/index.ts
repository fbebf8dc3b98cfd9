import { readSettings } from "../_shared/settings.ts";
import { command } from "./handler.ts";

export default { fetch: command(readSettings((name) => Deno.env.get(name))) };
