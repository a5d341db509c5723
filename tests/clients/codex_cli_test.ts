/** The Codex CLI itself, in front of `serve`. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { KEY, type Serving, startServing } from "../serve/serving.ts";
import { missing, type Ran, runClient } from "./offline.ts";

const FULL = [{ seconds: 18_000, usedPercent: 100 }];
const TEN_CREDITS = { hasCredits: true, unlimited: false, balance: "10" };
const ignore = missing("codex");

/** A home for the CLI, with the provider as the README has it. */
async function makeHome({ baseURL, origin }: Serving): Promise<string> {
  const home = await Deno.makeTempDir();
  await Deno.writeTextFile(
    join(home, "config.toml"),
    `model = "gpt-5.3-codex"
model_provider = "rotator"
check_for_update_on_startup = false
# what the CLI asks for besides would go here, and is refused
chatgpt_base_url = "${origin}/elsewhere/"
openai_base_url = "${origin}/elsewhere/"

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
  return home;
}

function codex(home: string, ...args: string[]): Promise<Ran> {
  return runClient("codex", ["exec", "--skip-git-repo-check", ...args], home, {
    CODEX_HOME: home,
    CODEX_ROTATOR_SERVE_KEY: KEY,
  });
}

function served({ fake }: Serving): (string | null)[] {
  return fake.log.filter((it) => it.kind === "responses" && it.status === 200)
    .map((it) => it.account);
}

Deno.test(
  { name: "Codex CLI completes a turn through serve", ignore },
  async () => {
    await using serving = await startServing({
      accounts: { alice: { reply: { text: "Four, says alice" } }, bob: {} },
      settings: { creditAccountAliases: "none" },
    });
    const home = await makeHome(serving);
    const { code, out, err, outside } = await codex(home, "What is 2 + 2?");
    assertEquals([code, out.trim()], [0, "Four, says alice"], err);
    assertEquals(served(serving), ["alice"]);
    // its own key is not for the backend, its own name is
    const [sent] = serving.fake.log.filter((it) => it.kind === "responses");
    assert(!JSON.stringify(sent!.headers).includes(KEY));
    assertStringIncludes(sent!.headers["user-agent"] ?? "", "codex");
    assertEquals(serving.fake.violations, []);
    assertEquals(outside, []);
    await Deno.remove(home, { recursive: true });
  },
);

Deno.test({
  name:
    "Codex CLI goes on with the next account when the first one runs out between two turns",
  ignore,
}, async () => {
  await using serving = await startServing({
    accounts: { alice: {}, bob: {} },
    settings: { creditAccountAliases: "none" },
    args: ["--log"],
  });
  const home = await makeHome(serving);
  const first = await codex(home, "Remember the number 4711");
  assertEquals([first.code, first.out.trim()], [0, "Hello from alice"]);
  serving.fake.account("alice").windows = FULL;
  const second = await codex(home, "resume", "--last", "Which number?");
  assertEquals(
    [second.code, second.out.trim()],
    [0, "Hello from bob"],
    second.err,
  );
  assertEquals(served(serving), ["alice", "bob"]);
  const last = serving.fake.log.findLast((it) => it.kind === "responses")!;
  assertStringIncludes(last.text, "4711");
  assertStringIncludes(last.text, "Hello from alice");
  assertEquals(serving.fake.violations, []);
  assertEquals(serving.fake.charged, []);
  const sessions = serving.err().match(/(?<= session=)[\w-]+/g);
  assertEquals(new Set(sessions).size, 1, serving.err());
  await Deno.remove(home, { recursive: true });
});

Deno.test({
  name: "Codex CLI shows the limit when only forbidden credits are left",
  ignore,
}, async () => {
  await using serving = await startServing({
    accounts: {
      alice: { windows: FULL, credits: TEN_CREDITS },
      bob: { windows: FULL, credits: TEN_CREDITS },
    },
    settings: { creditAccountAliases: "none" },
  });
  const home = await makeHome(serving);
  const { code, out, err } = await codex(home, "What is 2 + 2?");
  assertEquals([code, out], [1, ""]);
  assertStringIncludes(err, "hit your usage limit");
  assertEquals([served(serving), serving.fake.charged], [[], []]);
  await Deno.remove(home, { recursive: true });
});
