/** OpenCode in front of `serve`. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { KEY, startServing } from "../serve/serving.ts";
import { missing, runClient } from "./offline.ts";

Deno.test({
  name: "OpenCode answers through serve",
  ignore: missing("opencode"),
}, async () => {
  await using serving = await startServing({
    accounts: { alice: { reply: { text: "Four, says alice" } } },
    settings: { creditAccountAliases: "none" },
  });
  const home = await Deno.makeTempDir();
  await Deno.writeTextFile(
    join(home, "opencode.json"),
    JSON.stringify({
      autoupdate: false,
      share: "disabled",
      model: "rotator/gpt-5.3-codex",
      small_model: "rotator/gpt-5.3-codex",
      enabled_providers: ["rotator"],
      provider: {
        rotator: {
          npm: "@ai-sdk/openai",
          name: "codex-rotator",
          options: {
            baseURL: serving.baseURL,
            apiKey: "{env:CODEX_ROTATOR_SERVE_KEY}",
            setCacheKey: true,
          },
          models: { "gpt-5.3-codex": { name: "GPT-5.3 Codex" } },
        },
      },
    }),
  );
  const { code, out, err, outside } = await runClient(
    "opencode",
    ["run", "What is 2 + 2?"],
    home,
    {
      CODEX_ROTATOR_SERVE_KEY: KEY,
      OPENCODE_DISABLE_MODELS_FETCH: "1",
      OPENCODE_DISABLE_AUTOUPDATE: "1",
      OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
    },
  );
  assertEquals(code, 0, err);
  assertStringIncludes(out, "Four, says alice");
  const sent = serving.fake.log.filter((it) => it.kind === "responses");
  assertEquals(new Set(sent.map((it) => it.status)), new Set([200]));
  assertStringIncludes(sent.map((it) => it.text).join(), "prompt_cache_key");
  assertEquals(serving.fake.violations, []);
  // but for a plugin package in the background, which it can do without
  assertEquals(outside.filter((host) => !host.startsWith("registry.")), []);
  await Deno.remove(home, { recursive: true });
});
