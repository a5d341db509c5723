/**
 * Bun reads the `.env` of the folder that it is started in: a project's file
 * must send no token anywhere.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl, join, toFileUrl } from "@std/path";
import { spawn } from "./spawn.ts";
import { programOf } from "./runtimes.ts";

const ROOT = fromFileUrl(new URL("../", import.meta.url));
const bun = programOf("bun");

/** Runs a job in a folder that has such a `.env`. */
async function withProject(
  dotenv: string,
  job: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "codex-rotator-project-" });
  try {
    await Deno.writeTextFile(join(folder, ".env"), dotenv);
    await job(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name:
    "cli.ts on Bun takes the backend's URL from the environment, but not from a project's .env",
  ignore: bun === undefined,
  async fn() {
    const url = "http://127.0.0.1:9/backend-api";
    const doctor = async (folder: string, env: Record<string, string> = {}) => {
      const { out } = await spawn(
        [bun!, join(ROOT, "cli.ts"), "doctor", "--offline"],
        {
          cwd: folder,
          env: { ...env, CODEX_ROTATOR_STORE: join(folder, "accounts.json") },
        },
      );
      return /CODEX_ROTATOR_BACKEND_URL/.test(out);
    };
    const dotenv = `CODEX_ROTATOR_BACKEND_URL=${url}\n`;
    await withProject(dotenv, async (folder) => {
      assertEquals(await doctor(folder), false);
    });
    await withProject("OTHER=1\n", async (folder) => {
      const env = { CODEX_ROTATOR_BACKEND_URL: url };
      assertEquals(await doctor(folder, env), true);
    });
  },
});

/** A server whose certificate nobody signed, asked twice. */
const SCRIPT = `
import { createRotator, memoryStore } from ${
  JSON.stringify(toFileUrl(join(ROOT, "mod.ts")).href)
};
const server = Bun.serve({
  port: 0,
  tls: { key: Bun.file("key.pem"), cert: Bun.file("cert.pem") },
  fetch: (request) => new Response(request.headers.get("authorization") ?? "none"),
});
const url = "https://localhost:" + server.port + "/backend-api";
console.log("bare", await (await fetch(url)).text());
const tokens = { access: "canary", expiresAt: Date.now() + 3_600_000 };
const store = memoryStore({ accounts: { me: { accountId: "id", tokens } } });
await using rotator = createRotator({ store, backend: url, credits: "none" });
const how = await rotator.fetch(url + "/codex/models").then(
  async (it) => "answered " + await it.text(),
  (error) => "refused " + error.message,
);
console.log(how);
const other = await rotator.fetch("https://localhost:" + server.port + "/other");
console.log("other", await other.text());
server.stop(true);
`;

/** Makes a certificate that nobody signed; false where openssl is not there. */
async function makeCertificate(folder: string): Promise<boolean> {
  const words =
    "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
  try {
    const { success } = await new Deno.Command("openssl", {
      args: words.split(" "),
      cwd: folder,
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}

Deno.test({
  name:
    "rotator.fetch() on Bun checks certificates where a project's .env switches that off",
  ignore: bun === undefined,
  async fn() {
    const dotenv = "NODE_TLS_REJECT_UNAUTHORIZED=0\n";
    await withProject(dotenv, async (folder) => {
      if (!await makeCertificate(folder)) {
        console.log("Skipped: certificates on Bun, as openssl is not there");
        return;
      }
      await Deno.writeTextFile(join(folder, "use.ts"), SCRIPT);
      const { out, err } = await spawn([bun!, "use.ts"], { cwd: folder });
      assertMatch(
        out,
        /^bare none\nrefused .*certificate.*\nother none\n$/i,
        err,
      );
    });
  },
});
