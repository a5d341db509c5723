/**
 * The list of models, as Codex clients and as SDKs ask for it.
 *
 * @module
 */
import { isRecord, readText } from "./json.ts";

const PARAMETER = "client_version";

/** Whether this is the backend's list of models. */
export function isModelsUrl(url: string): boolean {
  return /\/codex\/models(\?|$)/.test(url);
}

/** The URL of the list for a client of this version; undefined: it names one already. */
export function withClientVersion(
  url: string,
  version: string,
): string | undefined {
  const versioned = new URL(url);
  if (versioned.searchParams.get(PARAMETER)) return undefined;
  versioned.searchParams.set(PARAMETER, version);
  return versioned.href;
}

/** The list in the shape of OpenAI's API; undefined when this is no list of models. */
export function openAIModels(
  json: unknown,
): Record<string, unknown> | undefined {
  if (!isRecord(json) || !Array.isArray(json.models)) return undefined;
  const data = json.models.flatMap((model) => {
    const id = isRecord(model) ? readText(model.slug) : null;
    // since when there is a model the backend does not tell
    return id === null
      ? []
      : [{ id, object: "model", created: 0, owned_by: "openai" }];
  });
  return { object: "list", data };
}
