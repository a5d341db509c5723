/** The plugin as OpenCode calls it; with OpenCode itself: tests/clients. */
import { assertEquals, assertThrows } from "@std/assert";
import type { RotatorEvent, RotatorOptions } from "../mod.ts";
import {
  CodexRotatorPlugin,
  type OpenCodeConfig,
  type OpenCodeInput,
} from "../lib/opencode.ts";
import * as entry from "../lib/opencode.ts";
import { CREDITED, requestBody, startKnown } from "./fleet.ts";
import { test } from "./test.ts";

type Toast = Parameters<
  OpenCodeInput["client"]["tui"]["showToast"]
>[0]["body"];

/** A client that remembers its toasts. */
function fakeClient(): OpenCodeInput & { toasts: Toast[] } {
  const toasts: Toast[] = [];
  const tui = {
    showToast({ body }: { body: Toast }) {
      toasts.push(body);
      return Promise.reject(new Error("There is no terminal"));
    },
  };
  return { client: { tui }, toasts };
}

/** Starts the plugin in front of a fleet, and gives the fetch of OpenCode's provider. */
async function startPlugin(options: Parameters<typeof startKnown>[0]) {
  const fleet = await startKnown(options);
  const input = fakeClient();
  const events: RotatorEvent[] = [];
  const hooks = await CodexRotatorPlugin(input, {
    store: fleet.store,
    backend: fleet.fake.backend,
    issuer: fleet.fake.issuer,
    now: () => fleet.clock.now,
    onEvent: (event) => events.push(event),
  });
  const config: OpenCodeConfig = {};
  await hooks.config(config);
  const fetch = config.provider?.openai?.options
    ?.fetch as typeof globalThis.fetch;
  return {
    fleet,
    events,
    toasts: input.toasts,
    async ask() {
      const response = await fetch("https://api.openai.com/v1/responses", {
        method: "POST",
        headers: { authorization: "Bearer unused" },
        body: JSON.stringify(requestBody()),
      });
      return await response.text();
    },
    async [Symbol.asyncDispose]() {
      await hooks.dispose();
      await fleet[Symbol.asyncDispose]();
    },
  };
}

test("the OpenCode plugin tells of a switch, and of nothing else that costs nothing", async () => {
  await using plugin = await startPlugin({
    accounts: { alice: { plan: "pro" }, bob: {} },
  });
  await plugin.ask();
  assertEquals(plugin.toasts, []);
  plugin.fleet.fake.account("alice").queue.push({
    status: 429,
    body: { error: { type: "usage_limit_reached", message: "Used up" } },
  });
  await plugin.ask();
  assertEquals(plugin.toasts, [{
    title: "Codex: alice → bob",
    message: "Used up",
    variant: "info",
  }]);
  assertEquals(
    plugin.events.map(({ type }) => type).includes("selected"),
    true,
  );
});

test("the OpenCode plugin tells of credits that are spent", async () => {
  await using plugin = await startPlugin({ accounts: { alice: CREDITED } });
  await plugin.ask();
  assertEquals(plugin.toasts, [{
    title: "Codex: credits of alice",
    message: "Served on purchased credits",
    variant: "warning",
  }]);
});

test("the OpenCode plugin keeps what is configured, and touches no other provider", async () => {
  const hooks = await CodexRotatorPlugin(fakeClient(), { credits: "none" });
  const other = { options: { apiKey: "sk-other" } };
  const config: OpenCodeConfig = {
    provider: {
      other,
      openai: { options: { apiKey: "sk-mine", timeout: 5 } },
    },
  };
  await hooks.config(config);
  const { fetch, ...options } = config.provider!.openai!.options!;
  assertEquals(typeof fetch, "function");
  assertEquals(options, { apiKey: "sk-mine", timeout: 5 });
  assertEquals(config.provider!.other, { options: { apiKey: "sk-other" } });
  const models = { "gpt-5.5": { name: "GPT-5.5", cost: { input: 9 } } };
  assertEquals<unknown>(await hooks.provider.models({ models }), {
    "gpt-5.5": {
      name: "GPT-5.5",
      cost: { input: 0, output: 0, cache: { read: 0, write: 0 } },
    },
  });
  await hooks.dispose();
});

test("the OpenCode plugin refuses an option that would not do what it seems to", () => {
  const options = { credit: "none" } as RotatorOptions;
  assertThrows(
    () => CodexRotatorPlugin(fakeClient(), options),
    TypeError,
    "did you mean credits?",
  );
});

test("lib/opencode.ts exports nothing but the plugin, as OpenCode starts all it exports", () => {
  assertEquals(Object.keys(entry), ["CodexRotatorPlugin"]);
});
