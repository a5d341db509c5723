/**
 * Each command runs with the permissions listed here, which are those of the
 * README, and with any of them less it fails or warns. (Plain `status` reads the
 * variables as well when it may; else it says that nobody may spend credits.)
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import {
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import { account, bench } from "./run.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** FOLDER is the store's, HOST the one of backend and issuer. */
const MINIMAL: Readonly<Record<string, string>> = {
  "--help": "",
  "status --help": "",
  "--version": "",
  "status": "read=FOLDER",
  "status --json": "read=FOLDER",
  "status --refresh": "read=FOLDER write=FOLDER net=HOST env=CREDITS",
  "refresh": "read=FOLDER write=FOLDER net=HOST env=CREDITS",
  "doctor": "read=FOLDER write=FOLDER net=HOST env=CREDITS",
  "doctor --offline": "read=FOLDER write=FOLDER",
  "import LOGIN --copy": "read=FOLDER,LOGIN write=FOLDER",
  "credits": "read=FOLDER env=CREDITS",
  "credits none": "read=FOLDER write=FOLDER env=CREDITS",
  "strategy": "read=FOLDER",
  "strategy drain": "read=FOLDER write=FOLDER",
  "use me": "read=FOLDER write=FOLDER",
  "use --auto": "read=FOLDER write=FOLDER",
  "enable me": "read=FOLDER write=FOLDER",
  "disable me": "read=FOLDER write=FOLDER",
  "rename me you": "read=FOLDER write=FOLDER env=CREDITS",
  "remove me": "read=FOLDER write=FOLDER",
  "restore": "read=FOLDER write=FOLDER",
  "demo": "read=TMP write=TMP env=TMPDIR,TMP,TEMP net=127.0.0.1",
};

/** Runs a command on a store of its own. */
async function runWith(
  fake: FakeCodex,
  call: string,
  grants: readonly string[],
): Promise<{ code: number; err: string }> {
  const { access, refresh, id, expiresAt, accountId } = fake.tokens("me");
  const tokens = { access, refresh, id, expiresAt };
  await using it = await bench({ me: account("me", { tokens }) });
  await Deno.copyFile(it.path, `${it.path}.bak`);
  const folder = await Deno.makeTempDir();
  const login = join(folder, "auth.json");
  await Deno.writeTextFile(
    login,
    JSON.stringify({
      tokens: {
        access_token: access,
        refresh_token: refresh,
        id_token: id,
        account_id: accountId,
      },
    }),
  );
  const names: Record<string, string> = {
    FOLDER: it.folder,
    HOST: new URL(fake.backend).host,
    LOGIN: login,
    TMP: folder,
    CREDITS:
      "CODEX_ROTATOR_CREDIT_ACCOUNTS,OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES",
  };
  const fill = (text: string) =>
    text.startsWith("env=TMPDIR")
      ? text
      : text.replace(/\b[A-Z]+\b/g, (name) => names[name] ?? name);
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "--no-check"],
      "--import-map=tests/npm_imports.json",
      ...grants.map((it) => `--allow-${fill(it)}`),
      "cli.ts",
      ...fill(call).split(" "),
      ...(call === "demo" || call.startsWith("--") ? [] : ["--store", it.path]),
      ...["--backend", fake.backend, "--issuer", fake.issuer],
    ],
    cwd: ROOT,
    env: { TMPDIR: folder },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  await Deno.remove(folder, { recursive: true });
  return { code, err: new TextDecoder().decode(stderr) };
}

for (const [call, listed] of Object.entries(MINIMAL)) {
  const name = `cli.ts ${call} needs ${listed || "no permission"}`;
  Deno.test(name, async () => {
    await using fake = await startFakeCodex({ accounts: { me: {} } });
    const grants = listed.split(" ").filter((it) => it !== "");
    const { code, err } = await runWith(fake, call, grants);
    assertEquals([code, err], [0, ""]);
    await Promise.all(grants.map(async (less) => {
      const others = grants.filter((it) => it !== less);
      const { code, err } = await runWith(fake, call, others);
      // who may spend is then unknown, or what was learned is not kept
      if (/^Warning: .*(nobody may|not written)/.test(err)) return;
      assertNotEquals(code, 0, `without ${less}`);
      // doctor tells it in its findings
      assert(err.includes("deno run") || call.startsWith("doctor"), err);
    }));
  });
}
