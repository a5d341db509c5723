/**
 * Real SDKs on every runtime, each in a process of its own. One account runs
 * out in the middle of every scenario and the SDK must notice nothing.
 */
import { existsSync } from "node:fs";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { DELIMITER, fromFileUrl, join } from "@std/path";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import { recordOf } from "../fleet.ts";
import { commandOf, type Runtime, RUNTIMES } from "../runtimes.ts";
import { RAN_OUT, toolCall } from "./sdk/stand_in.mjs";

const FOLDER = fromFileUrl(new URL(".", import.meta.url));
const MODULES = join(FOLDER, "node_modules");

interface Scenario {
  result: unknown;
  /** "ACCOUNT STATUS" for each request to the backend, in order. */
  attempts: string[];
  /** How many more than expected. */
  switches: number;
  /** Requests to anything but the backend's known paths. */
  other: number;
  violations: string[];
}

function isInstalled(name: string): boolean {
  return existsSync(join(MODULES, name));
}

/** The caller's own, without what would change how an SDK or the rotator works. */
function environment(): Record<string, string> {
  const kept = Object.entries(Deno.env.toObject())
    .filter(([name]) => !/^(OPENAI|CODEX|OPENCODE)_/.test(name));
  const env = Object.fromEntries(kept);
  const runtimes = join(FOLDER, "..", "..", "node_modules", ".bin");
  return { ...env, PATH: [runtimes, env.PATH].join(DELIMITER), NO_COLOR: "1" };
}

/** Runs a script and reads what it prints. */
async function run(
  runtime: Runtime,
  script: string,
  env: Record<string, string> = {},
): Promise<string> {
  return (await runTo(runtime, script, env)).text;
}

async function runTo(
  runtime: Runtime,
  script: string,
  env: Record<string, string> = {},
): Promise<{ text: string; err: string }> {
  const flags = ["-A", "--node-modules-dir=manual"];
  const [command, ...args] = commandOf(runtime, flags);
  const child = new Deno.Command(command!, {
    args: [...args, script],
    cwd: FOLDER,
    env: { ...environment(), ...env },
    clearEnv: true,
  });
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder().decode(stdout);
  const err = new TextDecoder().decode(stderr);
  assertEquals(code, 0, text + err);
  return { text, err };
}

async function scenarios(
  runtime: Runtime,
  script: string,
): Promise<Record<string, Scenario>> {
  const results: Record<string, Scenario> = JSON.parse(
    await run(runtime, join("sdk", script)),
  );
  for (
    const [name, { other, violations, switches }] of Object.entries(results)
  ) {
    assertEquals([name, other, violations], [name, 0, []]);
    assertEquals(
      [name, switches],
      [name, 0],
      "it switched as often as it had to",
    );
  }
  return results;
}

const THREE_TEXTS = ["Hello from alice", "Hello from bob", "Hello from bob"];
const LIMITED = ["alice 200", "alice 429", "bob 200", "bob 200"];
/** The failed stream is a 200 as well. */
const FAILED_STREAM = ["alice 200", "alice 200", "bob 200"];
/** Bob cannot read what Alice thought, so he gets the conversation without it. */
const HEALED = ["bob 400", "bob 200"];

function assertRan(
  scenario: Scenario | undefined,
  result: unknown,
  attempts: string[],
): void {
  assertEquals(scenario?.result, result);
  assertEquals(scenario?.attempts, attempts);
}

for (const runtime of RUNTIMES) {
  Deno.test({
    name: `openai on ${runtime} does not notice that an account runs out`,
    ignore: !isInstalled("openai"),
    fn: async () => {
      const all = await scenarios(runtime, "openai.mjs");
      const { plain, official, streaming, nobody } = all;
      assertRan(plain, THREE_TEXTS, LIMITED);
      assertRan(official, THREE_TEXTS, LIMITED);
      assertRan(streaming, {
        texts: THREE_TEXTS.slice(0, 2),
        created: 2,
        completed: 2,
        failed: 0,
      }, FAILED_STREAM);
      assertRan(all.parameters, "Hello from alice", ["alice 200"]);
      assertRan(all.previous, {
        name: "BadRequestError",
        status: 400,
        message: '400 {"detail":"Unsupported parameter: previous_response_id"}',
      }, ["alice 400"]);
      assertRan(all.models, ["model gpt-6-sol", "model gpt-5.5"], []);
      assertRan(all.unreachable, {
        name: "APIConnectionError",
        message: "Connection error.",
        cause: "fetch failed: connection refused at HOST",
      }, []);
      assertRan(all.tool, {
        text: "Hello from bob",
        toolOutput: "The sky over Oslo is clear",
      }, [...LIMITED.slice(0, 2), ...HEALED]);
      const { message, ...error } = nobody?.result as Record<string, unknown>;
      assertEquals(error, {
        name: "RateLimitError",
        status: 429,
        type: "usage_limit_reached",
        accounts: ["alice exhausted", "bob exhausted"],
      });
      assertMatch(String(message), /None of 2 accounts can serve/);
      assertEquals(nobody?.attempts, ["alice 429", "bob 429"], "no retries");
    },
  });

  Deno.test({
    name: `openai on ${runtime} has its user told to log in first`,
    ignore: !isInstalled("openai"),
    fn: async () => {
      const { text, err } = await runTo(runtime, join("sdk", "no_login.mjs"));
      assertEquals(JSON.parse(text), ["Connection error.", "no_accounts"]);
      const advice = /add one with .*codex-rotator login/g;
      assertEquals(err.match(advice)?.length, 1, err);
    },
  });

  Deno.test({
    name: `ai on ${runtime} does not notice that an account runs out`,
    ignore: !isInstalled("ai"),
    fn: async () => {
      const all = await scenarios(runtime, "ai.mjs");
      const { generate, official, stream, tool, streamedTool } = all;
      assertRan(generate, THREE_TEXTS, LIMITED);
      assertRan(official, THREE_TEXTS, LIMITED);
      assertRan(stream, THREE_TEXTS.slice(0, 2), FAILED_STREAM);
      const used = {
        text: "Hello from bob",
        called: ["Oslo"],
        toolOutput: JSON.stringify({ city: "Oslo", sky: "clear" }),
      };
      assertRan(tool, used, [...LIMITED.slice(0, 2), ...HEALED]);
      assertRan(streamedTool, used, [...LIMITED.slice(0, 2), ...HEALED]);
      assertRan(all.defaultTool, used, LIMITED.slice(0, 3));
      assertRan(all.conversation, {
        text: "Hello from bob",
        sent: [
          ["user", "Who are you?"],
          ["assistant", "Hello from alice"],
          ["user", "Sure?"],
        ],
      }, LIMITED.slice(0, 3));
    },
  });

  Deno.test({
    name:
      `@openai/agents on ${runtime} does not notice that an account runs out`,
    ignore: !isInstalled("@openai/agents"),
    fn: async () => {
      const { plain, tool, defaultTool, streamedTool } = await scenarios(
        runtime,
        "agents.mjs",
      );
      assertRan(plain, THREE_TEXTS, LIMITED);
      const used = {
        text: "Hello from bob",
        called: ["Oslo"],
        toolOutput: "The sky over Oslo is clear",
      };
      assertRan(tool, used, [...LIMITED.slice(0, 2), ...HEALED]);
      assertRan(defaultTool, used, [...LIMITED.slice(0, 2), ...HEALED]);
      assertRan(streamedTool, used, [...FAILED_STREAM.slice(0, 2), ...HEALED]);
    },
  });
}

const README = new URL("../../docs/sdk.md", import.meta.url);
/** Headings of the page with a `ts` block below. */
const EXAMPLES = ["openai", "ai", "@openai/agents"];

/** The first `ts` block under a heading of any level. */
function exampleOf(readme: string, heading: string): string {
  const lines = readme.split("\n");
  const start = lines.findIndex((line) =>
    /^#{2,5} /.test(line) &&
    line.replace(/^#+ /, "").replaceAll("`", "").trim() === heading
  );
  const section = lines.slice(start + 1).join("\n").split(/^#{1,5} /m)[0]!;
  const code = /```ts\n([\s\S]*?)```/.exec(section)?.[1];
  if (start < 0 || code === undefined) {
    throw new Error(`docs/sdk.md has no ts block under "${heading}"`);
  }
  return code;
}

for (const runtime of RUNTIMES) {
  Deno.test({
    name: `docs/sdk.md has an example for each SDK that runs on ${runtime}`,
    ignore: !isInstalled("openai") || !existsSync(README),
    fn: async () => {
      const readme = await Deno.readTextFile(README);
      for (const heading of EXAMPLES) {
        const printed = await runExample(runtime, exampleOf(readme, heading));
        assertEquals([heading, printed.trim()], [heading, "Hello from bob"]);
      }
    },
  });
}

/** Runs an example as it is printed, but with a stand-in's accounts; the first one calls a tool and runs out. */
async function runExample(runtime: Runtime, code: string): Promise<string> {
  const here = code.replace('"@codex-rotator/core"', '"./readme_rotator.mjs"');
  assert(here !== code, "The example does not import the rotator");
  await using fake = await startFakeCodex({
    accounts: {
      alice: {
        plan: "pro",
        queue: [toolCall("weather", { city: "Oslo" }), RAN_OUT],
      },
      // of two that nothing is known of, the first to answer serves
      bob: { usageQueue: [{ delayMs: 1000 }] },
    },
  });
  const accounts = {
    alice: recordOf(fake, "alice"),
    bob: recordOf(fake, "bob"),
  };
  const { backend, issuer } = fake;
  const folder = join(FOLDER, "sdk");
  const script = await Deno.makeTempFile({ dir: folder, suffix: ".mts" });
  try {
    await Deno.writeTextFile(script, here);
    const printed = await run(runtime, script, {
      STAND_IN: JSON.stringify({ accounts, backend, issuer }),
    });
    const last = fake.log.findLast(({ kind }) => kind === "responses");
    assertMatch(last?.text ?? "", /The sky over Oslo is clear/);
    return printed;
  } finally {
    await Deno.remove(script);
  }
}
