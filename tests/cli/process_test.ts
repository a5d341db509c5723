/**
 * The command line as a process of its own, with no more permissions than it
 * needs, which are:
 *
 * - status, strategy (to show): `--allow-read=FOLDER`
 * - credits (to show), rename, and status where a credit list is in the
 *   environment: also the two CREDIT variables with `--allow-env`
 * - whatever changes the store: also `--allow-write=FOLDER`
 * - import: also `--allow-read=FILE`
 * - refresh and status --refresh: also `--allow-net=HOSTS`
 * - demo: `--allow-env=TMPDIR,TMP,TEMP`, the folder for temporary files to read
 *   and write, and `--allow-net=127.0.0.1`
 *
 * FOLDER is the store's. Where `--store`, `--backend`, `--issuer` or the file
 * to import are not given, the variables that name them have to be allowed.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import { account, bench } from "./run.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const CREDITS =
  "CODEX_ROTATOR_CREDIT_ACCOUNTS,OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES";

function command(
  grants: string[],
  args: string[],
  env: Record<string, string> = {},
): Deno.Command {
  const flags = ["--no-prompt", "--import-map=tests/npm_imports.json"];
  return new Deno.Command(Deno.execPath(), {
    args: ["run", ...flags, ...grants, "cli.ts", ...args],
    cwd: ROOT,
    env,
    stdout: "piped",
    stderr: "piped",
    stdin: "null",
  });
}

async function spawn(...call: Parameters<typeof command>) {
  const { code, stdout, stderr } = await command(...call).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("cli.ts needs no permission for help and version", async () => {
  for (const args of [["--help"], ["status", "--help"], ["--version"]]) {
    const { code, out, err } = await spawn([], args);
    assertEquals([code, err], [0, ""]);
    assert(out.length > 5);
  }
});

Deno.test("cli.ts status reads with read access to the store's folder alone", async () => {
  await using it = await bench({ alice: account("alice") });
  const read = `--allow-read=${it.folder}`;
  const status = ["status", "--store", it.path];
  const plain = await spawn([read], status);
  assertEquals(plain.code, 0, plain.err);
  assertStringIncludes(plain.out, "alice");
  // who may spend is not known, so nobody may
  assertStringIncludes(plain.out, "Nobody may spend");
  const informed = await spawn([read, `--allow-env=${CREDITS}`], status);
  assertStringIncludes(informed.out, "Everyone may spend");
  const json = await spawn([read], [...status, "--json"]);
  assertEquals(JSON.parse(json.out).accounts[0].alias, "alice");
  assert(!(plain.out + json.out + json.err).includes("canary"));
  assertEquals([...Deno.readDirSync(it.folder)].length, 1);
});

Deno.test("cli.ts finds the store by one variable", async () => {
  await using it = await bench({ alice: account("alice") });
  const { code, out } = await spawn(
    [`--allow-read=${it.folder}`, "--allow-env=CODEX_ROTATOR_STORE"],
    ["strategy"],
    { CODEX_ROTATOR_STORE: it.path },
  );
  assertEquals(code, 0);
  assertStringIncludes(out, "round-robin");
});

Deno.test("cli.ts changes the store with read and write access to its folder", async () => {
  await using it = await bench({
    alice: account("alice"),
    bob: account("bob"),
  });
  const grants = [`--allow-read=${it.folder}`, `--allow-write=${it.folder}`];
  const env = `--allow-env=${CREDITS}`;
  const calls: [string[], string[]][] = [
    [grants, ["use", "alice"]],
    [grants, ["use", "--auto"]],
    [grants, ["disable", "bob"]],
    [grants, ["enable", "bob"]],
    [grants, ["strategy", "drain"]],
    [[...grants, env], ["rename", "bob", "work"]],
    [[...grants, env], ["credits", "work"]],
    [grants, ["remove", "alice"]],
    [grants, ["restore"]],
  ];
  for (const [given, args] of calls) {
    const { code, out, err } = await spawn(given, [
      ...args,
      "--store",
      it.path,
    ]);
    assertEquals([code, err], [0, ""], args.join(" "));
    assert(out !== "" && !out.includes("canary"));
  }
  assertEquals(Object.keys(it.state().accounts), ["work"]);
});

Deno.test("cli.ts says which flags to give when Deno refuses", async () => {
  await using it = await bench({ alice: account("alice") });
  const store = ["--store", it.path];
  const file = join(it.folder, "sub", "auth.json");
  const elsewhere = { CODEX_ROTATOR_STORE: it.path };
  const env = `--allow-env=CODEX_ROTATOR_STORE,${CREDITS}`;
  const read = `--allow-read=${it.folder}`;
  const write = `--allow-write=${it.folder}`;
  const cases: [string[], string[], string][] = [
    [
      [],
      ["strategy"],
      'deno run --allow-env=CODEX_ROTATOR_STORE,XDG_CONFIG_HOME,HOME --allow-read="$HOME/.config/codex-rotator"',
    ],
    [
      ["--allow-env=TMPDIR,TMP,TEMP", "--allow-read", "--allow-write"],
      ["demo"],
      "--allow-net=127.0.0.1 cli.ts demo",
    ],
    [[], ["use", "alice", ...store], `deno run ${read} ${write} cli.ts use`],
    [["--allow-env"], ["status"], `deno run ${env} ${read} cli.ts status`],
    [[read], ["use", "alice", ...store], `deno run ${read} ${write} cli.ts`],
    [
      [],
      ["import", file, "--copy", ...store],
      `${read} ${write} --allow-net=chatgpt.com,auth.openai.com cli.ts import ${file} --copy`,
    ],
    [
      [read, write, "--allow-env"],
      ["refresh", ...store, "--backend", "http://127.0.0.1:45999/backend-api"],
      "--allow-net=127.0.0.1:45999,auth.openai.com cli.ts refresh",
    ],
  ];
  for (const [grants, args, line] of cases) {
    const { code, out, err } = await spawn(grants, args, elsewhere);
    assertEquals([code, out], [1, ""], args.join(" ") + err);
    assertStringIncludes(err, line);
    assertEquals(err.trimEnd().split("\n").length, 2, err);
  }
});

Deno.test("cli.ts imports and refreshes with the hosts it speaks to", async () => {
  await using fake = await startFakeCodex({ accounts: { me: {} } });
  await using it = await bench();
  const { access, refresh, id, accountId } = fake.tokens("me");
  const file = join(await Deno.makeTempDir(), "auth.json");
  const tokens = {
    access_token: access,
    refresh_token: refresh,
    id_token: id,
    account_id: accountId,
  };
  await Deno.writeTextFile(file, JSON.stringify({ tokens }));
  const folder = [`--allow-read=${it.folder}`, `--allow-write=${it.folder}`];
  const store = ["--store", it.path];
  const imported = await spawn(
    [`--allow-read=${it.folder},${file}`, `--allow-write=${it.folder}`],
    ["import", file, "--copy", ...store],
  );
  assertEquals(imported.code, 0, imported.err);
  const refreshed = await spawn(
    [...folder, `--allow-net=${new URL(fake.backend).host}`],
    [
      "refresh",
      ...store,
      "--backend",
      fake.backend,
      "--issuer",
      fake.issuer,
    ],
  );
  assertEquals(refreshed.code, 0);
  assertStringIncludes(refreshed.out, "→ me  plus  included");
  const env = {
    CODEX_ROTATOR_BACKEND_URL: fake.backend,
    CODEX_ROTATOR_ISSUER_URL: fake.issuer,
  };
  const status = await spawn(
    [
      ...folder,
      `--allow-net=${new URL(fake.backend).host}`,
      `--allow-env=${CREDITS},${Object.keys(env).join(",")}`,
    ],
    ["status", "--refresh", "--json", ...store],
    env,
  );
  assertEquals(status.code, 0, status.err);
  assertEquals(JSON.parse(status.out).next, "me");
  const said = [imported, refreshed, status].map((it) => it.out + it.err);
  assert(!said.join("").includes(fake.canary));
  await Deno.remove(dirname(file), { recursive: true });
});

Deno.test("cli.ts demo needs a temporary folder and the loopback, and leaves nothing", async () => {
  const folder = await Deno.makeTempDir();
  const { code, out, err } = await spawn(
    [
      "--allow-env=TMPDIR,TMP,TEMP",
      `--allow-read=${folder}`,
      `--allow-write=${folder}`,
      "--allow-net=127.0.0.1",
    ],
    ["demo"],
    { TMPDIR: folder },
  );
  assertEquals([code, err], [0, ""]);
  assertStringIncludes(out, "all of them cleo's");
  assertEquals([...Deno.readDirSync(folder)], []);
  await Deno.remove(folder);
});

Deno.test("cli.ts credits says that the environment overrides the store", async () => {
  await using it = await bench({
    alice: account("alice"),
    bob: account("bob"),
  });
  const { code, out, err } = await spawn(
    [
      `--allow-read=${it.folder}`,
      `--allow-write=${it.folder}`,
      `--allow-env=${CREDITS}`,
    ],
    ["credits", "bob", "--store", it.path],
    { CODEX_ROTATOR_CREDIT_ACCOUNTS: "alice" },
  );
  assertEquals(code, 0);
  assertStringIncludes(out, "Only alice may spend");
  assertStringIncludes(out, "set by the environment");
  assertStringIncludes(
    err,
    "does not count until CODEX_ROTATOR_CREDIT_ACCOUNTS is unset",
  );
  assertEquals(it.state().settings.creditAccountAliases, ["bob"]);
});

Deno.test("cli.ts ends with 130 when it is interrupted", async () => {
  // a backend that never answers, so that the signal comes in the middle
  await using fake = await startFakeCodex({
    accounts: { me: { usageAlways: { hang: true } } },
  });
  const { access, refresh, id, expiresAt } = fake.tokens("me");
  const tokens = { access, refresh, id, expiresAt };
  await using it = await bench({ me: account("me", { tokens }) });
  const flags = ["--backend", fake.backend, "--issuer", fake.issuer];
  const child = command(["-A"], ["refresh", "--store", it.path, ...flags])
    .spawn();
  const output = child.output();
  while (fake.log.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  child.kill("SIGINT");
  assertEquals((await output).code, 130);
});

Deno.test("cli.ts ends quietly when the reader goes away", async () => {
  const names = Array.from({ length: 400 }, (_, i) => `account-${i}`);
  await using it = await bench(
    Object.fromEntries(names.map((name) => [name, account(name)])),
  );
  const child = command(["-A"], ["status", "--json", "--store", it.path])
    .spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  const error = await new Response(child.stderr).text();
  await child.status;
  assertEquals(error, "");
});

Deno.test("cli.ts prints no colour into a pipe", async () => {
  await using it = await bench({ alice: account("alice") });
  const { out } = await spawn(["-A"], ["status", "--store", it.path]);
  assert(!out.includes("\u001b"));
});

Deno.test({
  name: "demo leaves nothing behind when its reader goes away early",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using it = await bench({});
    const demo = command(["-A"], ["demo"], { TMPDIR: it.folder }).spawn();
    const reader = demo.stdout.getReader();
    await reader.read();
    await reader.cancel();
    await demo.stderr.cancel();
    await demo.status;
    const left = [...Deno.readDirSync(it.folder)].map(({ name }) => name);
    assertEquals(left.filter((name) => name.includes("demo")), []);
  },
});
