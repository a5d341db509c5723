/** The Codex CLI itself, in front of `serve`: by a provider of its own, by an API key, and signed in. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import type { FakeAnswer, FakeLogEntry } from "../../lib/testing/fake_codex.ts";
import { KEY, type Serving, startServing } from "../serve/serving.ts";
import { clientPath, missing, type Ran, runClient } from "./offline.ts";

const FULL = [{ seconds: 18_000, usedPercent: 100 }];
const TEN_CREDITS = { hasCredits: true, unlimited: false, balance: "10" };
const ignore = missing("codex");
/** Nothing is approved and nothing is kept from running, as it is what the stand-in asks for. */
const FREE = [
  "--skip-git-repo-check",
  "--dangerously-bypass-approvals-and-sandbox",
];

type Way = "provider" | "key" | "signed in";

interface Home extends AsyncDisposable {
  path: string;
  /** Runs `codex exec`. */
  exec(...args: string[]): Promise<Ran>;
}

/** A home for the CLI that has it ask the server, in one of three ways. */
async function openHome(
  { baseURL, origin, fake }: Serving,
  way: Way,
): Promise<Home> {
  const path = await Deno.makeTempDir();
  const provider = {
    provider: 'model_provider = "rotator"',
    key: `openai_base_url = "${baseURL}"`,
    // its own token takes the place of the key, which goes into the path
    "signed in": `openai_base_url = "${origin}/k/${KEY}/v1"`,
  }[way];
  await Deno.writeTextFile(
    join(path, "config.toml"),
    `model = "gpt-5.5"
${provider}
chatgpt_base_url = "${origin}/k/${KEY}/backend-api/"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
plugins = false
apps = false

[model_providers.rotator]
name = "codex-rotator"
base_url = "${baseURL}"
wire_api = "responses"
env_key = "CODEX_ROTATOR_SERVE_KEY"
`,
  );
  const { id, access, refresh, accountId } = fake.tokens("bob");
  const tokens = {
    id_token: id,
    access_token: access,
    refresh_token: refresh,
    account_id: accountId,
  };
  const auth = {
    provider: undefined,
    key: { OPENAI_API_KEY: KEY },
    "signed in": { auth_mode: "chatgpt", OPENAI_API_KEY: null, tokens },
  }[way];
  if (auth) {
    await Deno.writeTextFile(join(path, "auth.json"), JSON.stringify(auth));
  }
  const env = {
    CODEX_HOME: path,
    ...(way === "provider" && { CODEX_ROTATOR_SERVE_KEY: KEY }),
  };
  return {
    path,
    exec: (...args) => runClient("codex", ["exec", ...args], path, env),
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

function attempts({ fake }: Serving): FakeLogEntry[] {
  return fake.log.filter((it) => it.kind === "responses");
}

function served(serving: Serving): (string | null)[] {
  return attempts(serving).filter((it) => it.status === 200)
    .map((it) => it.account);
}

interface Item {
  type: string;
  role?: string;
  output?: unknown;
  encrypted_content?: string;
}

function inputOf(entry: FakeLogEntry | undefined): Item[] {
  return (entry?.json as { input?: Item[] } | undefined)?.input ?? [];
}

/** An answer that has the CLI run a command. */
function command(cmd: string): FakeAnswer {
  const item = {
    type: "function_call",
    id: "fc_1",
    call_id: "call_1",
    name: "exec_command",
    arguments: JSON.stringify({ cmd }),
  };
  const response = { id: "resp_tool", object: "response", created_at: 1 };
  const usage = {
    input_tokens: 12,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 4,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 16,
  };
  return {
    for: "/responses",
    events: [
      { type: "response.created", response },
      { type: "response.output_item.done", output_index: 0, item },
      {
        type: "response.completed",
        response: { ...response, status: "completed", output: [item], usage },
      },
    ],
  };
}

const COMPACT_NOW = ["-c", "model_auto_compact_token_limit=10"];

for (const way of ["provider", "key", "signed in"] as const) {
  Deno.test({
    name:
      `Codex CLI (${way}) uses a tool, goes on with the next account when the first one runs out, and compacts the conversation`,
    ignore,
  }, async () => {
    await using serving = await startServing({
      accounts: {
        alice: { plan: "pro", queue: [command("echo $((4700 + 11))")] },
        bob: {},
      },
      settings: { creditAccountAliases: "none" },
      args: ["--log"],
    });
    await using home = await openHome(serving, way);
    const first = await home.exec(...FREE, "Compute it");
    assertEquals(
      [first.code, first.out.trim()],
      [0, "Hello from alice"],
      first.err,
    );
    assertEquals(served(serving), ["alice", "alice"]);
    const [asked, answered] = attempts(serving);
    assertEquals(Object.hasOwn(Object(asked?.json), "instructions"), false);
    assertEquals(inputOf(asked)[0]?.role, "developer");
    const output = inputOf(answered).find((it) => it.output !== undefined);
    assertStringIncludes(JSON.stringify(output), "4711");
    for (const { headers } of [asked!, answered!]) {
      const encoding = way === "signed in" ? "zstd" : undefined;
      assertEquals(headers["content-encoding"], encoding, "its own bytes");
      assert(!JSON.stringify(headers).includes(KEY));
      assertStringIncludes(headers["user-agent"] ?? "", "codex");
      assertEquals(headers.version, "0.171.0");
    }

    serving.fake.account("alice").windows = FULL;
    serving.fake.clearLog();
    const resume = ["resume", "--last", ...FREE];
    const second = await home.exec(...resume, "Which number?");
    assertEquals(
      [second.code, second.out.trim()],
      [0, "Hello from bob"],
      second.err,
    );
    const last = attempts(serving).at(-1);
    assertEquals([last?.account, last?.status], ["bob", 200]);
    assertStringIncludes(last!.text, "4711");

    serving.fake.clearLog();
    const third = await home.exec(...resume, ...COMPACT_NOW, "Go on");
    assertEquals(
      [third.code, third.out.trim()],
      [0, "Hello from bob"],
      third.err,
    );
    assertStringIncludes(third.err, "context compacted");
    const [compacted, after, ...more] = attempts(serving)
      .filter(({ status }) => status === 200);
    assertEquals([after?.account, more], ["bob", []]);
    if (way !== "provider") {
      assertEquals(inputOf(compacted).at(-1)?.type, "compaction_trigger");
      const kept = inputOf(after).find(({ type }) => type === "compaction");
      assertEquals(kept?.encrypted_content, `enc:bob:${compacted?.n}`);
    } // else it writes the summary itself, in words

    assertEquals([serving.fake.charged, serving.fake.violations], [[], []]);
    assertEquals([first, second, third].flatMap((it) => it.outside), []);
    const upgrades = serving.err().match(/\b426\b/g) ?? [];
    // one attempt per process: it goes on over HTTP at once
    assertEquals(upgrades.length, way === "provider" ? 0 : 3, serving.err());
    const sessions = serving.err().match(/(?<= session=)[\w-]{2,}/g);
    assertEquals(new Set(sessions).size, 1, serving.err());
  });
}

Deno.test({
  name: "Codex CLI shows the limit when only forbidden credits are left",
  ignore,
}, async () => {
  const account = { windows: FULL, credits: TEN_CREDITS };
  await using serving = await startServing({
    accounts: { alice: account, bob: account },
    settings: { creditAccountAliases: "none" },
  });
  await using home = await openHome(serving, "provider");
  const { code, out, err } = await home.exec(...FREE, "What is 2 + 2?");
  assertEquals([code, out], [1, ""]);
  assertStringIncludes(err, "hit your usage limit");
  assertEquals([served(serving), serving.fake.charged], [[], []]);
});

/** Talks to `codex app-server` in lines of JSON. */
function startAppServer(home: string) {
  const child = new Deno.Command(clientPath("codex")!, {
    args: ["app-server"],
    cwd: home,
    clearEnv: true,
    env: {
      PATH: Deno.env.get("PATH") ?? "",
      HOME: home,
      CODEX_HOME: home,
      HTTPS_PROXY: "http://127.0.0.1:9",
      NO_PROXY: "127.0.0.1,localhost",
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let count = 0;
  const send = (message: unknown) =>
    writer.write(new TextEncoder().encode(`${JSON.stringify(message)}\n`));
  return {
    send,
    async call(method: string, params?: unknown): Promise<unknown> {
      const id = ++count;
      await send({ id, method, ...(params !== undefined && { params }) });
      for (;;) {
        const lines = text.split("\n");
        text = lines.pop()!;
        const answers = lines.filter(Boolean).map((line) => JSON.parse(line));
        const answer = answers.find((it) => it.id === id);
        if (answer) return answer.result ?? answer.error;
        const { done, value } = await reader.read();
        if (done) throw new Error("It ended");
        text += value;
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill();
      await writer.close().catch(() => {});
      await reader.cancel();
      await child.status;
    },
  };
}

Deno.test({
  name:
    "Codex app-server shows less than 100 % while an account can serve, and 100 % when none can",
  ignore,
}, async () => {
  await using serving = await startServing({
    accounts: { alice: { windows: FULL }, bob: {} },
    settings: { creditAccountAliases: "none" },
  });
  await using home = await openHome(serving, "signed in");
  await using server = startAppServer(home.path);
  const clientInfo = { name: "test", title: null, version: "1" };
  await server.call("initialize", { clientInfo });
  await server.send({ method: "initialized" });
  const percent = async () => {
    // what is known comes from requests
    const body = { model: "gpt-5.5", input: "Hello" };
    const response = await fetch(`${serving.baseURL}/responses`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY}` },
      body: JSON.stringify(body),
    });
    await response.body?.cancel();
    const limits = await server.call("account/rateLimits/read") as {
      rateLimits: { primary: { usedPercent: number } };
    };
    return limits.rateLimits.primary.usedPercent;
  };
  const one = await percent();
  assert(one > 0 && one < 100, `${one} %`);
  serving.fake.account("bob").windows = FULL;
  assertEquals(await percent(), 100);
  const shown = serving.fake.log.map(({ headers }) => headers.authorization);
  assert(!shown.join().includes(KEY));
});
