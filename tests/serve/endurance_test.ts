/** What `serve` outlives, on each runtime: a lost log, a full disk, descriptors that run out, odd HTTP. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect, type Socket } from "node:net";
import { requestBody } from "../fleet.ts";
import { commandOf, RUNTIMES } from "../runtimes.ts";
import { KEY, type Serving, startServing } from "./serving.ts";

function start(
  runtime: (typeof RUNTIMES)[number],
  more: { args?: string[]; shell?: string } = {},
): Promise<Serving> {
  return startServing({
    accounts: { alice: {} },
    settings: { creditAccountAliases: "none" },
    start: [...commandOf(runtime), "cli.ts"],
    ...more,
  });
}

/** Sends a request and returns its status; undefined: it was not answered. */
async function ask(it: Serving): Promise<number | undefined> {
  try {
    const answer = await fetch(`${it.baseURL}/responses`, {
      method: "POST",
      headers: {
        "authorization": `Bearer ${KEY}`,
        "content-type": "application/json",
      },
      body: JSON.stringify(requestBody()),
      signal: AbortSignal.timeout(30_000),
    });
    await answer.text();
    return answer.status;
  } catch {
    return undefined;
  }
}

const HEALTH =
  `GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${KEY}\r\nConnection: close\r\n`;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Sends bytes on a new connection and returns what comes back until it ends. */
function exchange(port: number, head: string): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(head));
    socket.setTimeout(3000, () => socket.destroy());
    socket.on("data", (data) => text += String(data));
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

for (const runtime of RUNTIMES) {
  Deno.test(`serve lives on without a reader of its log on ${runtime}`, async () => {
    await using it = await start(runtime, { args: ["--log"] });
    assertEquals(await ask(it), 200);
    await it.said("status=200");
    await it.leaveLog();
    for (let n = 0; n < 3; n++) assertEquals(await ask(it), 200);
    assertEquals(await it.stop(), 0);
  });

  Deno.test({
    name: `serve lives on when the disk of its log is full on ${runtime}`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      await using it = await start(runtime, {
        args: ["--log"],
        shell: 'exec "$@" 2>/dev/full',
      });
      for (let n = 0; n < 3; n++) assertEquals(await ask(it), 200);
      assertEquals(await it.stop(), 0);
    },
  });

  Deno.test({
    name: `serve recovers when its descriptors ran out on ${runtime}`,
    ignore: Deno.build.os === "windows",
    async fn() {
      await using it = await start(runtime, {
        shell: 'ulimit -n 150; exec "$@"',
      });
      const port = Number(new URL(it.origin).port);
      const idle: Socket[] = [];
      let closed = 0;
      for (let n = 0; n < 300; n++) {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => {});
        socket.on("close", () => closed++);
        // a socket that nobody reads does not learn of its end
        socket.resume();
        idle.push(socket);
      }
      const isServed = async () => {
        const text = await exchange(port, `${HEALTH}\r\n`);
        return text.startsWith("HTTP/1.1 200");
      };
      // a connection of its own, as those that are open may still serve
      let tries = 0;
      while (!(await isServed()) && tries++ < 30) await pause(1000);
      // of those without a key none is kept
      while (closed < 150 && tries++ < 30) await pause(1000);
      assert(tries < 30, `${closed} were closed`);
      for (let n = 0; n < 3; n++) assertEquals(await ask(it), 200);
      idle.forEach((socket) => socket.destroy());
      assertEquals(await it.stop(), 0);
    },
  });

  Deno.test(`serve answers odd methods, hosts and upgrades on ${runtime}`, async () => {
    await using it = await start(runtime);
    const port = Number(new URL(it.origin).port);
    const key = `Authorization: Bearer ${KEY}`;
    const upgrade = "Connection: Upgrade\r\nUpgrade: websocket";
    const rows: [lines: string[], status: string][] = [
      [["GET /health HTTP/1.1", "Host: 127.0.0.1", key], "200"],
      [["TRACE /health HTTP/1.1", "Host: 127.0.0.1", key], "405"],
      [["CONNECT evil:443 HTTP/1.1", "Host: evil:443", key], "405"],
      [["GET /health HTTP/1.1", "Host: user@evil", key], "403"],
      [["GET /health HTTP/1.1", "Host: a b", key], "403"],
      [["GET /health HTTP/1.1", "Host: 127.0.0.1/v1", key], "403"],
      [["GET /health HTTP/1.1", "Host: \u00e9", key], "403"],
      [["GET /v1/responses HTTP/1.1", "Host: localhost", upgrade], "426"],
    ];
    for (const [lines, status] of rows) {
      const closing = lines.includes(upgrade) ? [] : ["Connection: close"];
      const head = [...lines, ...closing, "", ""].join("\r\n");
      const text = await exchange(port, head);
      assertStringIncludes(text, `HTTP/1.1 ${status}`, lines.join(" "));
    }
    assertEquals(await ask(it), 200);
  });
}
