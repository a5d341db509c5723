/**
 * A plugin for OpenCode: the models of its `openai` provider are served by the
 * accounts of a rotator. What other providers ask for passes it by.
 *
 * ```jsonc
 * // opencode.json; the options are those of createRotator
 * { "plugin": [["file:///PATH/dist/opencode.mjs", { "credits": "none" }]] }
 * ```
 *
 * @module
 */
import { createRotator, type RotatorOptions } from "./rotator.ts";
import type { RotatorEvent } from "./report_types.ts";
import type { FetchLike } from "./types.ts";

/** The provider whose models are served. */
const PROVIDER = "openai";

/** What the plugin uses of what OpenCode gives it. */
export interface OpenCodeInput {
  /** Talks to OpenCode. */
  client: {
    tui: {
      /** Shows a short message beside the conversation. */
      showToast(toast: {
        body: {
          title: string;
          message: string;
          variant: "info" | "warning";
        };
      }): Promise<unknown>;
    };
  };
}

/** What the plugin looks at of OpenCode's configuration. */
export interface OpenCodeConfig {
  /** Providers by their id. */
  provider?: Record<string, OpenCodeProvider>;
}

/** One provider of the configuration. */
export interface OpenCodeProvider {
  /** What its SDK is made with. */
  options?: Record<string, unknown>;
}

/** What the plugin answers to OpenCode. */
export interface OpenCodeHooks {
  /** Has the provider fetch through the rotator. */
  config(config: OpenCodeConfig): Promise<void>;
  /** Tells OpenCode that requests are paid for by a plan. */
  provider: {
    id: string;
    models<Model extends object>(
      provider: { models: Record<string, Model> },
    ): Promise<Record<string, Model>>;
  };
  /** Writes what is pending. */
  dispose(): Promise<void>;
}

/** The plugin; its options are those of {@linkcode createRotator}. */
export function CodexRotatorPlugin(
  { client }: OpenCodeInput,
  options: RotatorOptions = {},
): Promise<OpenCodeHooks> {
  const rotator = createRotator({
    ...options,
    onEvent(event) {
      options.onEvent?.(event);
      const toast = toastOf(event);
      if (toast) client.tui.showToast({ body: toast }).catch(() => {});
    },
  });
  return Promise.resolve({
    config(config) {
      serveThrough(rotator.fetch, config);
      return Promise.resolve();
    },
    provider: {
      id: PROVIDER,
      models: ({ models }) => Promise.resolve(withoutPrices(models)),
    },
    dispose: () => rotator.close(),
  });
}

/** Has a provider's SDK fetch through the rotator, which needs no key of its own. */
function serveThrough(fetch: FetchLike, config: OpenCodeConfig): void {
  config.provider ??= {};
  const provider = config.provider[PROVIDER] ??= {};
  provider.options = { apiKey: "unused", ...provider.options, fetch };
}

/** The same models, but a request costs nothing: what credits cost, toasts tell. */
function withoutPrices<Model extends object>(
  models: Record<string, Model>,
): Record<string, Model> {
  const cost = { input: 0, output: 0, cache: { read: 0, write: 0 } };
  return Object.fromEntries(
    Object.entries(models).map(([id, model]) => [id, { ...model, cost }]),
  );
}

type Toast = Parameters<
  OpenCodeInput["client"]["tui"]["showToast"]
>[0]["body"];

/** What a person at work wants to know of an event. */
function toastOf(event: RotatorEvent): Toast | undefined {
  switch (event.type) {
    case "switched":
      return {
        title: `Codex: ${event.from} → ${event.alias}`,
        message: event.reason,
        variant: "info",
      };
    case "credits-spent":
      return {
        title: `Codex: credits of ${event.alias}`,
        message: event.reason,
        variant: "warning",
      };
    default:
      return undefined;
  }
}
