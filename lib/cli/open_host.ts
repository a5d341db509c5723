import type { Host } from "./host.ts";

/**
 * The host that this is: Deno itself where there is Deno, as it takes longer
 * to load `node:process` and `node:fs` there than to run a command.
 */
export async function openHost(): Promise<Host> {
  return "Deno" in globalThis
    ? (await import("./host_deno.ts")).host
    : (await import("./host_node.ts")).host;
}
