/**
 * Each command runs with the permissions that the documentation lists for it, and with
 * any of them less it fails or warns. (Plain `status` reads the variables as
 * well when it may; else it says that nobody may spend credits.)
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import {
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import { account, bench } from "./run.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** The calls that show what a row of the table says. */
const CALLS: Readonly<Record<string, readonly string[]>> = {
  "`--help`, `--version`": ["--help", "status --help", "--version"],
  "`status`, also with `--json`, `--watch`, `--check`": [
    "status",
    "status --json",
  ],
  "`spend`": ["spend", "spend --json"],
  "`status --refresh`, `refresh`": ["status --refresh", "refresh"],
  "`doctor`": ["doctor"],
  "`doctor --offline`": ["doctor --offline"],
  "`credits`": ["credits"],
  "`credits all`, `none`, `ALIAS…`, `rename`": [
    "credits all",
    "credits none",
    "credits me",
    "rename me you",
  ],
  "`strategy`": ["strategy"],
  "`strategy NAME`, `use`, `enable`, `disable`, `remove`, `restore`": [
    "strategy drain",
    "use me",
    "use --auto",
    "enable me",
    "disable me",
    "remove me",
    "restore",
  ],
  "`import FILE --copy`": ["import FILE --copy"],
  "`import FILE`": ["import FILE"],
  "`login --device`": ["login --device"],
  "`serve`": ["serve --port 0"],
  "`demo`": ["demo"],
};

const KINDS = ["read", "write", "net", "env"] as const;

/** A command, and names of what it needs by kind of permission. */
interface Row {
  readonly command: string;
  readonly needs: Readonly<Record<typeof KINDS[number], string>>;
}

/** The rows of the table. */
async function readRows(): Promise<Row[]> {
  const page = await Deno.readTextFile(join(ROOT, "docs/permissions.md"));
  const lines = page.split("\n").filter((it) => it.startsWith("|"));
  return lines.slice(2).map((line) => {
    const [command, read, write, net, env] = line.split(/ *\| */).slice(1);
    const names = (cell = "") =>
      [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name).join(",");
    const isTemporary = read === "the folder for temporary files";
    assert(!isTemporary || write === "the same", line);
    return {
      command: command!,
      needs: {
        read: isTemporary ? "TEMPORARY" : names(read),
        write: isTemporary ? "TEMPORARY" : names(write),
        net: names(net),
        env: names(env),
      },
    };
  });
}

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
  const places: Record<string, string> = {
    FOLDER: it.folder,
    FILE: login,
    HOSTS: new URL(fake.backend).host,
    // the server's own address and the backend's are on one host here
    LISTEN: "127.0.0.1",
    TEMPORARY: folder,
    CREDITS:
      "CODEX_ROTATOR_CREDIT_ACCOUNTS,OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES",
  };
  const fill = (words: string, separator: string) =>
    words.split(separator).map((word) => places[word] ?? word);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "--no-check"],
      "--import-map=tests/npm_imports.json",
      ...grants.map((grant) => {
        const [kind, names] = grant.split("=");
        const list = names === undefined
          ? ""
          : `=${fill(names, ",").join(",")}`;
        return `--allow-${kind}${list}`;
      }),
      "cli.ts",
      ...fill(call, " "),
      ...(call === "demo" || call.startsWith("--") ? [] : ["--store", it.path]),
      "--backend",
      fake.backend,
      "--issuer",
      fake.issuer,
    ],
    cwd: ROOT,
    env: { TMPDIR: folder },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const [err, { code }] = await Promise.all([
    attend(child, fake),
    child.status,
  ]);
  await Deno.remove(folder, { recursive: true });
  return { code, err };
}

/** Does what the person in front of it would do, and returns what stderr said. */
async function attend(
  child: Deno.ChildProcess,
  fake: FakeCodex,
): Promise<string> {
  let text = "";
  for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
    const before = text;
    text += chunk;
    const now = (it: RegExp) => it.test(before) ? null : it.exec(text);
    const code = now(/\n {2}([A-Z0-9]+-[A-Z0-9]+)\n/)?.[1];
    if (code !== undefined) fake.approveDevice(code, "me");
    if (now(/Serving at .*\n/)) child.kill("SIGTERM");
  }
  return text;
}

/** What of stderr is not the way of the command. */
function complaints(call: string, err: string): string {
  if (!/^(login|serve)/.test(call)) return err;
  return err.split("\n").filter((it) => /^(Error|Warning)/.test(it)).join("\n");
}

for (const { command, needs } of await readRows()) {
  const grants = KINDS.filter((kind) => needs[kind] !== "")
    .map((kind) => `${kind}=${needs[kind]}`);
  Deno.test(`docs/permissions.md tells what ${command} needs: ${grants.join(" ") || "nothing"}`, async () => {
    const calls = CALLS[command];
    if (!calls) throw new Error(`There is no call that shows ${command}`);
    await using fake = await startFakeCodex({
      accounts: { me: {} },
      deviceInterval: 0.01,
    });
    for (const call of calls) {
      const { code, err } = await runWith(fake, call, grants);
      assertEquals([code, complaints(call, err)], [0, ""], call + err);
      await Promise.all(grants.map(async (less) => {
        const others = grants.filter((it) => it !== less);
        const { code, err } = await runWith(fake, call, others);
        // who may spend is then unknown, or what was learned is not kept
        if (/^Warning: .*(nobody may|not be written|not told)/m.test(err)) {
          return;
        }
        assertNotEquals(code, 0, `${call} without ${less}`);
        // doctor tells it in its findings
        assert(err.includes("deno run") || call.startsWith("doctor"), err);
      }));
    }
  });
}

Deno.test("cli.ts login says what to allow when it may not wait for the browser", async () => {
  await using fake = await startFakeCodex({ accounts: { me: {} } });
  const { host } = new URL(fake.issuer);
  const grants = ["read=FOLDER", "write=FOLDER", "env=CREDITS", `net=${host}`];
  const { code, err } = await runWith(fake, "login me", grants);
  assertEquals(code, 1);
  assertStringIncludes(err, "Error: Deno refused net access to 127.0.0.1:1455");
  assertMatch(err, /--allow-net=\S*,127\.0\.0\.1:1455,127\.0\.0\.1:1457/);
});

Deno.test("cli.ts serve --on-event says what to allow where it may not start the command, and serves where it may", async () => {
  await using fake = await startFakeCodex({ accounts: { me: {} } });
  const call = "serve --port 0 --on-event true";
  const grants = ["read=FOLDER", "write=FOLDER", "net=LISTEN"];
  const cases = [["env=CREDITS,CODEX_ROTATOR_SERVE_KEY", "run=true"], ["env"]];
  for (const less of cases) {
    const { code, err } = await runWith(fake, call, [...grants, ...less]);
    assertEquals(code, 1, err);
    assertStringIncludes(err, "Error: Deno refused run access to true");
    assertStringIncludes(err, " --allow-env --allow-run=true cli.ts serve");
  }
  const all = await runWith(fake, call, [...grants, "env", "run=true"]);
  assertEquals([all.code, complaints(call, all.err)], [0, ""], all.err);
});
