import { readSettings } from "../_shared/settings.ts";
import { history } from "./handler.ts";

export default { fetch: history(readSettings((name) => Deno.env.get(name))) };
