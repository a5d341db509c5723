/** OpenCode in front of `serve`, and with the rotator as its plugin. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import {
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";
import { recordOf } from "../fleet.ts";
import { KEY, startServing } from "../serve/serving.ts";
import { missing, type Ran, runClient } from "./offline.ts";

const ignore = missing("opencode");
const FULL = [{ seconds: 18_000, usedPercent: 100 }];
/** Nothing is fetched, and nothing is tried again that the test lets nobody reach. */
const OFFLINE = {
  npm_config_fetch_retries: "0",
  OPENCODE_DISABLE_MODELS_FETCH: "1",
  OPENCODE_DISABLE_AUTOUPDATE: "1",
  OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
};

/** Asks OpenCode something, with this configuration. */
async function ask(
  config: Record<string, unknown>,
  home: string,
  env: Record<string, string> = {},
): Promise<Ran> {
  const text = JSON.stringify({
    autoupdate: false,
    share: "disabled",
    ...config,
  });
  await Deno.writeTextFile(join(home, "opencode.json"), text);
  const args = ["run", "What is 2 + 2?"];
  return await runClient("opencode", args, home, { ...OFFLINE, ...env });
}

/** The hosts outside, but for that of a package which OpenCode can do without. */
function outsideOf({ outside }: Ran): string[] {
  return outside.filter((host) => !host.startsWith("registry."));
}

function answersOf({ log }: FakeCodex) {
  return log.filter(({ kind }) => kind === "responses");
}

Deno.test({ name: "OpenCode answers through serve", ignore }, async () => {
  await using serving = await startServing({
    accounts: { alice: { reply: { text: "Four, says alice" } } },
    settings: { creditAccountAliases: "none" },
  });
  const home = await Deno.makeTempDir();
  const rotator = {
    npm: "@ai-sdk/openai",
    name: "codex-rotator",
    options: {
      baseURL: serving.baseURL,
      apiKey: "{env:CODEX_ROTATOR_SERVE_KEY}",
      setCacheKey: true,
    },
    models: { "gpt-5.3-codex": { name: "GPT-5.3 Codex" } },
  };
  const ran = await ask(
    {
      model: "rotator/gpt-5.3-codex",
      small_model: "rotator/gpt-5.3-codex",
      enabled_providers: ["rotator"],
      provider: { rotator },
    },
    home,
    { CODEX_ROTATOR_SERVE_KEY: KEY },
  );
  assertEquals(ran.code, 0, ran.err);
  assertStringIncludes(ran.out, "Four, says alice");
  const sent = answersOf(serving.fake);
  assertEquals(new Set(sent.map((it) => it.status)), new Set([200]));
  assertStringIncludes(sent.map((it) => it.text).join(), "prompt_cache_key");
  assertEquals(serving.fake.violations, []);
  assertEquals(outsideOf(ran), []);
  await Deno.remove(home, { recursive: true });
});

/** Somebody else's models, for a key of their own. */
async function startStranger() {
  const keys: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    keys.push(request.headers.authorization);
    request.resume();
    const error = { message: "No", type: "invalid_request_error" };
    response.writeHead(400, { "content-type": "application/json" })
      .end(JSON.stringify({ error }));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    keys,
    baseURL: `http://127.0.0.1:${port}/v1`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

Deno.test({
  name:
    "OpenCode with the plugin gets one answer from the second account, and another provider its own key",
  ignore,
}, async () => {
  await using stranger = await startStranger();
  await using fake = await startFakeCodex({
    accounts: { alice: { windows: FULL, plan: "pro" }, bob: {} },
  });
  const accounts = {
    alice: recordOf(fake, "alice"),
    bob: recordOf(fake, "bob"),
  };
  const home = await Deno.makeTempDir();
  const store = join(home, "accounts.json");
  await Deno.writeTextFile(store, JSON.stringify({ version: 1, accounts }), {
    mode: 0o600,
  });
  const { backend, issuer } = fake;
  const options = { store, backend, issuer, credits: "none" };
  const plugin = new URL("../../lib/opencode.ts", import.meta.url).href;
  const ran = await ask({
    plugin: [[plugin, options]],
    model: "openai/gpt-5.5",
    // titles come from there
    small_model: "other/small",
    provider: {
      other: {
        npm: "@ai-sdk/openai-compatible",
        options: { baseURL: stranger.baseURL, apiKey: "sk-other" },
        models: { small: {} },
      },
    },
  }, home);
  assertEquals(ran.code, 0, ran.err);
  assertStringIncludes(ran.out, "Hello from bob");
  assertEquals(
    answersOf(fake).map(({ account, status }) => [account, status]),
    [["bob", 200]],
  );
  const [sent] = answersOf(fake);
  assertStringIncludes(sent?.headers["user-agent"] ?? "", "opencode");
  assertEquals([fake.charged, fake.violations], [[], []]);
  assertEquals(new Set(stranger.keys), new Set(["Bearer sk-other"]));
  assertEquals(outsideOf(ran), []);
  await Deno.remove(home, { recursive: true });
});
