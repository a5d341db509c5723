/**
 * No token is anywhere but where it belongs. Every token of the stand-in
 * carries a marker; backend and issuer echo tokens in all their errors; all
 * that is said and written meanwhile is searched for the marker.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { fromFileUrl, join, relative } from "@std/path";
import {
  type FakeAnswer,
  type FakeCodex,
  startFakeCodex,
} from "../lib/testing/fake_codex.ts";
import { jsonStore, type Store } from "../mod.ts";
import { writeBundle } from "./bundle.ts";
import { spawn } from "./spawn.ts";
import { run } from "./cli/run.ts";
import { HOUR, recordOf, requestBody, startFleet } from "./fleet.ts";
import { commandOf, RUNTIMES } from "./runtimes.ts";
import { KEY } from "./serve/serving.ts";

const WORKER = fromFileUrl(
  new URL("./account/refresh_worker.ts", import.meta.url),
);

/** All that was said, by where; nothing of it may hold a token. */
class Heard {
  readonly #texts: [where: string, text: string][] = [];

  add(where: string, text: string): void {
    this.#texts.push([where, text]);
  }

  /** @param least Less than that would mean that nothing was heard. */
  assertNoToken(canary: string, least: number): void {
    const said = this.#texts.filter(([, text]) => text !== "");
    assert(said.length >= least, `Only ${said.length} texts were heard`);
    for (const [where, text] of said) {
      assert(!holdsToken(text, canary), `A token in ${where}`);
    }
  }
}

/** Whether a text holds a token, or the part of one that has no marker. */
function holdsToken(text: string, canary: string): boolean {
  return text.includes(canary) || /\beyJ[\w-]{16,}/.test(text);
}

/** An address at which nobody listens. */
function nowhere(): string {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  return `http://127.0.0.1:${listener.addr.port}`;
}

/** What one that has all tokens of an account may say of them. */
function echoesOf(tokens: readonly string[]): FakeAnswer[] {
  const text = `Cannot use ${tokens.join(" or ")}, nor Bearer ${tokens[0]}`;
  const error = { type: "invalid", code: tokens[1], message: text };
  return [
    { status: 400, body: { detail: text } },
    { status: 400, body: { error } },
    { status: 401, body: { error: tokens[0]!, error_description: text } },
    { status: 402, body: { detail: { code: tokens[1], message: text } } },
    {
      status: 402,
      body: { detail: { code: "deactivated_workspace", message: text } },
    },
    { status: 403, body: text },
    { status: 404, body: { error } },
    { status: 429, body: { error } },
    {
      status: 429,
      body: { error: { type: "usage_limit_reached", message: text } },
    },
    {
      status: 429,
      body: { error: { code: "insufficient_quota", message: text } },
    },
    { status: 500, body: text },
    { status: 503, body: { error } },
    {
      events: [{
        type: "response.failed",
        response: { error: { code: "rate_limit_exceeded", message: text } },
      }],
    },
    { redirect: `${nowhere()}/${encodeURIComponent(text)}` },
  ];
}

/** Works with accounts whose every answer of one kind echoes their tokens. */
async function workWithEcho(index: number): Promise<void> {
  const heard = new Heard();
  await using fleet = await startFleet({
    credits: "none",
    accounts: { a: {}, b: {}, expired: { accessLifetimeMs: -HOUR } },
  });
  const { fake, rotator } = fleet;
  const { accounts } = await (fleet.store as Store).read();
  for (const name of ["a", "b", "expired"]) {
    const { access = "", refresh = "", id = "" } = accounts[name]?.tokens ??
      {};
    const echo = echoesOf([access, refresh, id])[index]!;
    const account = fake.account(name);
    account.tokenAlways = echo;
    if (name !== "b") account.always = echo;
    if (name === "b") account.usageAlways = echo;
  }
  const report = await rotator.refresh();
  heard.add("refresh()", JSON.stringify(report));
  for (let count = 0; count < 3; count++) {
    // what the backend says is the caller's, as it is, and so is the
    // runtime's error that quotes where it redirects to; all else is ours
    const answer = await fleet.ask().catch(() => undefined);
    if (answer?.alias === undefined) heard.add("refusal", answer?.text ?? "");
  }
  fake.revoke("a", "access");
  await fleet.ask().catch(() => {});
  heard.add("events", JSON.stringify(fleet.events));
  heard.add("status()", JSON.stringify(await rotator.status()));
  heard.assertNoToken(fake.canary, 3);
}

Deno.test("no event, report or refusal holds a token, whatever backend and issuer echo", async () => {
  await Promise.all(echoesOf([]).map((_, index) => workWithEcho(index)));
});

Deno.test("a fetch that quotes its request in its errors makes nothing of ours hold a token", async () => {
  const heard = new Heard();
  await using fleet = await startFleet({
    credits: "none",
    accounts: { a: {}, b: { accessLifetimeMs: -HOUR } },
    fetch: (input, init) => {
      const headers = [...new Headers(init?.headers)].join();
      const text = `Cannot fetch ${input} with ${headers}: ${init?.body}`;
      return Promise.reject(new TypeError(text));
    },
  });
  heard.add("refresh()", JSON.stringify(await fleet.rotator.refresh()));
  await fleet.ask().catch(() => {});
  heard.add("events", JSON.stringify(fleet.events));
  heard.add("status()", JSON.stringify(await fleet.rotator.status()));
  heard.assertNoToken(fleet.fake.canary, 3);
});

/** A person's home with a command line in it, whose every run is heard. */
async function openHome() {
  const root = await mkdtemp(join(tmpdir(), "codex-rotator-secrets-"));
  const home = join(root, "home");
  const temp = join(root, "tmp");
  await Promise.all([mkdir(home), mkdir(temp)]);
  const cli = join(root, "cli.mjs");
  await writeBundle(cli);
  const fake = await startFakeCodex({
    accounts: {
      codex: {},
      opencode: {},
      device: {},
      browser: {},
      expired: { accessLifetimeMs: -HOUR },
      refused: { accessLifetimeMs: -HOUR },
      limited: {},
      broken: {},
    },
    deviceInterval: 0.01,
  });
  const store = join(home, ".config", "codex-rotator", "accounts.json");
  const env = {
    HOME: home,
    USERPROFILE: home,
    XDG_CONFIG_HOME: join(home, ".config"),
    XDG_DATA_HOME: join(home, ".local", "share"),
    CODEX_HOME: join(home, ".codex"),
    TMPDIR: temp,
    CODEX_ROTATOR_DEBUG: "1",
    CODEX_ROTATOR_CREDIT_ACCOUNTS: "none",
    CODEX_ROTATOR_BACKEND_URL: fake.backend,
    CODEX_ROTATOR_ISSUER_URL: fake.issuer,
    CODEX_ROTATOR_SERVE_KEY: KEY,
  };
  const heard = new Heard();
  let runs = 0;
  return {
    fake,
    root,
    home,
    store,
    env,
    heard,
    cli,
    /** Runs a command, each time on another runtime. */
    async run(...args: string[]) {
      const runtime = RUNTIMES[runs++ % RUNTIMES.length]!;
      const ran = await spawn([...commandOf(runtime), cli, ...args], { env });
      heard.add(`${args.join(" ")} on ${runtime}`, ran.out + ran.err);
      return ran;
    },
    async [Symbol.asyncDispose]() {
      await fake.close();
      await rm(root, { recursive: true });
    },
  };
}

type Home = Awaited<ReturnType<typeof openHome>>;

/** The logins of two other tools, in their files. */
async function signInElsewhere({ home, fake }: Home): Promise<void> {
  const codex = fake.tokens("codex", { lifetimeMs: -HOUR });
  const opencode = fake.tokens("opencode");
  const write = async (folder: string, content: unknown) => {
    await mkdir(join(home, folder), { recursive: true });
    const file = join(home, folder, "auth.json");
    await writeFile(file, JSON.stringify(content), { mode: 0o600 });
  };
  await write(".codex", {
    OPENAI_API_KEY: null,
    tokens: {
      id_token: codex.id,
      access_token: codex.access,
      refresh_token: codex.refresh,
      account_id: codex.accountId,
    },
  });
  await write(join(".local", "share", "opencode"), {
    openai: {
      type: "oauth",
      refresh: opencode.refresh,
      access: opencode.access,
      expires: opencode.expiresAt,
      accountId: opencode.accountId,
    },
  });
}

/** Signs in by device and in the browser, in this process, where a person is at hand. */
async function signIn({ fake, store, heard }: Home): Promise<void> {
  const urls = ["--backend", fake.backend, "--issuer", fake.issuer];
  const flags = ["--store", store, ...urls];
  let shown = "";
  const device = await run(["login", "--device", ...flags], {}, {
    err(text) {
      shown += text;
      const code = /\n {2}([A-Z0-9]+-[A-Z0-9]+)\n/.exec(text)?.[1];
      if (code) fake.approveDevice(code, "device");
    },
  });
  fake.signInAs = "browser";
  const address = Promise.withResolvers<string>();
  let page = "";
  const browser = await run(["login", ...flags], {}, {
    err: (text) => void (shown += text),
    openUrl: address.resolve,
    async *lines() {
      const opened = await address.promise;
      const start = await fetch(opened, { redirect: "manual" });
      await start.body?.cancel();
      const url = start.headers.get("location")!;
      const answer = await fetch(url, { redirect: "manual" });
      await answer.body?.cancel();
      // a stranger's callback first, which echoes a code
      const back = new URL(answer.headers.get("location")!);
      const wrong = new URL(back);
      wrong.searchParams.set("state", "wrong");
      yield wrong.href;
      const shownPage = await fetch(back).catch(() => undefined);
      page = await shownPage?.text() ?? "";
      yield back.href;
    },
  });
  assertEquals([device.code, browser.code], [0, 0], shown);
  heard.add("login", device.out + browser.out + shown + page);
}

/** Adds accounts to the store, and has backend and issuer echo their tokens. */
async function addTroubled({ fake, store }: Home): Promise<void> {
  const names = ["expired", "refused", "limited", "broken"];
  const echoes: Record<string, FakeAnswer[]> = {};
  await jsonStore(store).update(({ accounts }) => {
    for (const name of names) {
      const record = accounts[name] = recordOf(fake, name);
      const { access = "", refresh = "", id = "" } = record.tokens ?? {};
      echoes[name] = echoesOf([access, refresh, id]);
    }
  });
  const saying = (name: string, status: number) =>
    echoes[name]!.find((echo) => echo.status === status)!;
  fake.account("expired").accessLifetimeMs = HOUR;
  fake.account("refused").tokenAlways = saying("refused", 401);
  fake.account("limited").always = saying("limited", 429);
  fake.account("broken").always = saying("broken", 500);
  fake.account("broken").usageAlways = saying("broken", 403);
}

/** `serve`, and callers whose requests meet every kind of trouble. */
async function serve({ cli, env, heard, fake }: Home): Promise<void> {
  fake.revoke("device", "access");
  const [program, ...flags] = commandOf("deno");
  const child = new Deno.Command(program!, {
    args: [...flags, cli, "serve", "--port=0", "--log"],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const baseURL = (await output.read()).value?.trim() ?? "";
  await output.cancel();
  const headers = {
    "authorization": `Bearer ${KEY}`,
    "content-type": "application/json",
  };
  for (let count = 0; count < 8; count++) {
    const answer = await fetch(`${baseURL}/responses`, {
      method: "POST",
      headers,
      body: JSON.stringify(requestBody()),
    });
    // an answer of the backend is the caller's, as it is
    await answer.text();
    const shown = [...answer.headers].flat().join(" ");
    heard.add("headers from serve", shown);
  }
  for (const path of ["/status", "/metrics", "/health", "/nothing"]) {
    const page = await fetch(new URL(path, baseURL), { headers });
    heard.add(path, `${[...page.headers]} ${await page.text()}`);
  }
  child.kill("SIGTERM");
  await child.status;
  const logged = await errors;
  assertStringIncludes(logged, "chosen=yes");
  assertStringIncludes(logged, "result=ok");
  assert(
    fake.log.some(({ kind, status }) => kind === "responses" && status === 429),
  );
  assert(
    fake.log.some(({ kind, status }) => kind === "responses" && status === 401),
  );
  heard.add("serve", baseURL + logged);
}

/** Everything that the command line does, with all kinds of trouble in between. */
async function live(it: Home): Promise<void> {
  await signInElsewhere(it);
  assertEquals((await it.run("import")).code, 0);
  await signIn(it);
  await addTroubled(it);
  const commands = [
    "refresh",
    "refresh --json",
    "status --refresh",
    "status --json",
    "doctor",
    "doctor --emails",
    "doctor --json",
    "credits",
    "import --from codex",
    "rename expired fresh",
    "use fresh",
    "use --auto",
    "disable fresh",
    "refresh nobody",
    "demo",
  ];
  for (const command of commands) {
    const { out, err } = await it.run(...command.split(" "));
    assert(out + err !== "", command);
  }
  await serve(it);
  for (const runtime of RUNTIMES) {
    const args = [it.store, it.fake.backend, it.fake.issuer];
    const ran = await spawn([...commandOf(runtime), WORKER, ...args], {
      env: it.env,
      input: "5\n",
    });
    assertStringIncludes(ran.out, "closed", ran.err);
    assertStringIncludes(ran.err, "chosen=yes");
    it.heard.add(`the library on ${runtime}`, ran.out + ran.err);
  }
  // a store cut off in the middle of a token
  const text = await readFile(it.store, "utf8");
  const cut = text.indexOf(it.fake.canary) + it.fake.canary.length;
  await writeFile(it.store, text.slice(0, cut));
  for (const command of ["status", "refresh", "doctor", "restore", "status"]) {
    await it.run(command);
  }
  await it.run("remove", "fresh");
  for (const path of [it.store, `${it.store}.bak`]) {
    const { accounts } = JSON.parse(await readFile(path, "utf8"));
    assertEquals([path, "fresh" in accounts, "codex" in accounts], [
      path,
      false,
      true,
    ]);
  }
}

/** Files that are there to hold tokens, below the home. */
const THEIR_PLACE =
  /^home\/(?:\.config\/codex-rotator\/accounts\.json(?:\.bak(?:\.[23])?|\.corrupt-[\dTZ.-]+)?|\.codex\/auth\.json|\.local\/share\/opencode\/auth\.json)$/;

async function assertTokensInTheirPlace(
  { root, fake }: { root: string; fake: FakeCodex },
): Promise<void> {
  const holding: string[] = [];
  for (const entry of await readdir(root, { recursive: true })) {
    const path = join(root, entry);
    const facts = await stat(path);
    if (!facts.isFile()) continue;
    const text = await readFile(path, "latin1");
    if (!text.includes(fake.canary)) continue;
    const name = relative(root, path).replaceAll("\\", "/");
    holding.push(name);
    assert(THEIR_PLACE.test(name), `A token in ${name}`);
    if (Deno.build.os === "windows") continue;
    assertEquals(facts.mode & 0o777, 0o600, `The mode of ${name}`);
  }
  // store, three backups, what was damaged, and two files of other tools
  assertEquals(holding.length, 7, holding.join());
}

Deno.test("no output and no file but those meant for tokens holds one, whatever is done", async () => {
  await using it = await openHome();
  await live(it);
  it.heard.assertNoToken(it.fake.canary, 30);
  await assertTokensInTheirPlace(it);
  assertEquals(it.fake.violations, []);
});
