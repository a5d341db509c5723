/** Proxies that the environment names, with the command line on every runtime. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "@std/path";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { writeBundle } from "../bundle.ts";
import { commandOf, RUNTIMES } from "../runtimes.ts";

const ROOT = new URL("../..", import.meta.url);
const SECRET = "canary-of-the-proxy";
/** Makes a Node of one that cannot set proxies while it runs. */
const OLD_NODE =
  'data:text/javascript,import http from "node:http"; delete http.setGlobalProxyFromEnv;';

/** A proxy that lets nothing through, and remembers what for. */
async function startProxy() {
  const asked: string[] = [];
  const server = createServer((_request, response) => response.end());
  server.on("connect", ({ url = "" }, socket) => {
    asked.push(url);
    socket.on("error", () => {});
    socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    asked,
    host: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Has `doctor` ask two hosts that only a proxy could reach, one of which is kept from it. */
async function examine(command: readonly string[]): Promise<void> {
  await using proxy = await startProxy();
  const folder = await Deno.makeTempDir();
  const [program, ...args] = command;
  const { stdout, stderr, code } = await new Deno.Command(program!, {
    args: [
      ...args,
      "doctor",
      ...["--store", join(folder, "accounts.json")],
      ...["--backend", "https://backend.invalid/backend-api"],
      ...["--issuer", "https://issuer.invalid"],
    ],
    cwd: ROOT,
    clearEnv: true,
    env: {
      PATH: Deno.env.get("PATH") ?? "",
      HOME: folder,
      NO_COLOR: "1",
      DENO_NO_UPDATE_CHECK: "1",
      HTTPS_PROXY: `http://me:${SECRET}@${proxy.host}`,
      NO_PROXY: "issuer.invalid",
    },
  }).output();
  const decoder = new TextDecoder();
  const out = decoder.decode(stdout);
  assertEquals(code, 1, out + decoder.decode(stderr));
  assertEquals(new Set(proxy.asked), new Set(["backend.invalid:443"]));
  const text = out.replaceAll(/\s+/g, " ");
  assertStringIncludes(
    text,
    `HTTPS_PROXY sends requests through the proxy ${proxy.host}`,
  );
  assertStringIncludes(text, "from a proxy: issuer.invalid");
  assertStringIncludes(text, "host not found at issuer.invalid");
  assert(!(out + decoder.decode(stderr)).includes(SECRET));
  await Deno.remove(folder, { recursive: true });
}

for (const runtime of RUNTIMES) {
  Deno.test(`HTTPS_PROXY and NO_PROXY count for the command line on ${runtime}`, () =>
    examine([...commandOf(runtime), "cli.ts"]));

  Deno.test(`HTTPS_PROXY and NO_PROXY count for the bundle on ${runtime}`, async () => {
    const folder = await Deno.makeTempDir();
    const file = join(folder, "codex-rotator.mjs");
    await writeBundle(file);
    await examine([...commandOf(runtime), file]);
    await Deno.remove(folder, { recursive: true });
  });
}

Deno.test({
  name:
    "HTTPS_PROXY and NO_PROXY count on a Node that takes them at its start only",
  ignore: !RUNTIMES.includes("node"),
  fn: () => examine([...commandOf("node"), "--import", OLD_NODE, "cli.ts"]),
});
