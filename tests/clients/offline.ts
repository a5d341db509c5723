/** Runs a client program that can reach nothing but the loopback. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "@std/path";

/** What a program left behind. */
export interface Ran {
  code: number;
  out: string;
  err: string;
  /** The hosts outside that it asked for; it reached none. */
  outside: string[];
}

/** The program that npm installed under this name; undefined: it is not there. */
export function clientPath(name: string): string | undefined {
  const path = join(import.meta.dirname!, "node_modules", ".bin", name);
  try {
    Deno.statSync(path);
    return path;
  } catch {
    return undefined;
  }
}

/** Says why a test does not run. */
export function missing(name: string): boolean {
  if (clientPath(name) !== undefined) return false;
  // deno-lint-ignore no-console
  console.log(
    `Skipped: ${name} is not installed; run npm ci in tests/clients first`,
  );
  return true;
}

/**
 * Runs a client with a home of its own, behind a proxy that lets nothing out.
 *
 * @param name As npm installed it.
 * @param args Its arguments.
 * @param home Its home and working folder.
 * @param env Its environment, besides what all programs need.
 */
export async function runClient(
  name: string,
  args: string[],
  home: string,
  env: Record<string, string>,
): Promise<Ran> {
  const outside: string[] = [];
  const proxy = createServer((request, response) => {
    outside.push(request.url ?? "");
    response.writeHead(403).end();
  });
  proxy.on("connect", (request, socket) => {
    outside.push(request.url ?? "");
    socket.on("error", () => {});
    socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = proxy.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  try {
    const { code, stdout, stderr } = await new Deno.Command(clientPath(name)!, {
      args,
      cwd: home,
      clearEnv: true,
      env: {
        PATH: Deno.env.get("PATH") ?? "",
        HOME: home,
        HTTP_PROXY: url,
        HTTPS_PROXY: url,
        ALL_PROXY: url,
        NO_PROXY: "127.0.0.1,localhost",
        ...env,
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(180_000),
    }).output();
    const decoder = new TextDecoder();
    const out = decoder.decode(stdout);
    return { code, out, err: decoder.decode(stderr), outside };
  } finally {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  }
}
