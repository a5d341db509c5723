import type { Host } from "./host.ts";
import { denoHost } from "./host_deno.ts";

/**
 * The host that this is: Deno itself where there is Deno, as it takes longer
 * to load `node:process` and `node:fs` there than to run a command.
 */
export async function openHost(): Promise<Host> {
  return "Deno" in globalThis
    ? denoHost()
    : (await import("./host_node.ts")).host;
}
