/**
 * What the backend refuses about a request, in its own words.
 *
 * @module
 */
import { decompress, type Entry } from "./log.ts";
import type { FakeAccount } from "./account.ts";

/** A refusal before it has a form. */
export interface Refusal {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** What `POST …/responses` takes no matter the value. */
const UNSUPPORTED = [
  "max_output_tokens",
  "max_completion_tokens",
  "max_tokens",
  "stream_options",
  "temperature",
  "top_p",
  "frequency_penalty",
  "presence_penalty",
  "metadata",
  "user",
  "safety_identifier",
  "prompt_cache_retention",
  "prompt_cache_options",
  "truncation",
  "previous_response_id",
];
const UNSUPPORTED_TIERS: readonly unknown[] = ["auto", "default"];

/** The oldest client (0.N) that may ask for a model, by the beginning of its name. */
const MINIMAL_VERSIONS: readonly [model: RegExp, minor: number][] = [
  [/^gpt-5\.6/, 144],
  [/^gpt-6-astra/, 153],
  [/^gpt-6-(sol|luna)/, 155],
];
/** Names that a model can have; any other is not found. */
const MODEL_NAMES = /^(gpt-\d|gpt-image-|gpt-reserve$|codex-)/;
const MODELS = [
  "gpt-6-astra",
  "gpt-6-sol",
  "gpt-6-luna",
  "gpt-5.6-luna",
  "gpt-5.5",
  "gpt-5.4",
  "gpt-5.3-codex",
  "gpt-5.3-codex-spark",
];

type Fields = Record<string, unknown>;

function detail(text: string): Refusal {
  return { status: 400, body: { detail: text } };
}

function notFound(message: string): Refusal {
  const type = "invalid_request_error";
  return { status: 404, body: { error: { message, type } } };
}

/** What is wrong with the body of a request to serve a model; undefined: nothing. */
export function bodyRefusal(entry: Entry): Refusal | undefined {
  const encoding = entry.headers["content-encoding"];
  // what this runtime cannot decompress is taken on trust
  if (decompress(entry.body, encoding) === undefined) return undefined;
  const body = entry.json;
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    return detail("Request body must be a JSON object");
  }
  if (entry.kind === "responses") return responsesRefusal(body as Fields);
  if (entry.kind === "compact") return inputRefusal(body as Fields);
  return entry.kind === "search" && "prompt_cache_key" in body
    ? detail("Unsupported parameter: prompt_cache_key")
    : undefined;
}

function responsesRefusal(body: Fields): Refusal | undefined {
  const input = inputRefusal(body);
  if (input) return input;
  if (body.store !== false) return detail("Store must be set to false");
  if (body.stream !== true) return detail("Stream must be set to true");
  const name = UNSUPPORTED.find((it) => Object.hasOwn(body, it));
  if (name !== undefined) return detail(`Unsupported parameter: ${name}`);
  if (UNSUPPORTED_TIERS.includes(body.service_tier)) {
    return detail(`Unsupported service_tier: ${body.service_tier}`);
  }
  return itemRefusal(itemsOf(body));
}

/** Codex's own requests have their prompt in a first item, others in `instructions`, be it empty. */
function inputRefusal(body: Fields): Refusal | undefined {
  if (!Array.isArray(body.input)) return detail("Input must be a list");
  const [first] = itemsOf(body);
  const hasPrompt = typeof body.instructions === "string" ||
    first?.role === "developer";
  return hasPrompt ? undefined : detail("Instructions are required");
}

function itemRefusal(items: readonly Fields[]): Refusal | undefined {
  for (const item of items) {
    if (item.role === "system") {
      return detail("System messages are not allowed");
    }
    const unkept = item.type === "item_reference" ||
      (item.type === "reasoning" && typeof item.encrypted_content !== "string");
    if (!unkept) continue;
    return notFound(
      `Item with id '${item.id}' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`,
    );
  }
  return undefined;
}

/** The items of a body's input; a list of anything. */
export function itemsOf(body: unknown): Fields[] {
  const { input } = Object(body);
  return Array.isArray(input) ? input.filter((it) => Object(it) === it) : [];
}

/** Why this account and this client may not ask for the model; undefined: they may. */
export function modelRefusal(
  entry: Entry,
  account: FakeAccount,
): Refusal | undefined {
  const { model } = entry;
  if (model === null) return undefined;
  if (account.supportedModels?.includes(model) === false) {
    return unsupported(model);
  }
  const known = account.supportedModels !== undefined ||
    Object.hasOwn(account.modelUsage, model) || MODEL_NAMES.test(model);
  if (!known) return notFound(`Model not found ${model}`);
  if (!isNewEnough(model, entry.headers.version)) {
    return detail(
      `The '${model}' model requires a newer version of Codex. Please upgrade to the latest app or CLI and try again.`,
    );
  }
  return model === "gpt-reserve" && !account.meters.base_model_inference
    ? unsupported(model)
    : undefined;
}

const unsupported = (model: string) =>
  detail(
    `The '${model}' model is not supported when using Codex with a ChatGPT account.`,
  );

function minimalMinor(model: string): number {
  return MINIMAL_VERSIONS.find(([pattern]) => pattern.test(model))?.[1] ?? 0;
}

function isNewEnough(model: string, version = ""): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 0 || (minor || 0) >= minimalMinor(model);
}

export function modelsFor(account: FakeAccount, version: string): Fields[] {
  return (account.supportedModels ?? MODELS)
    .filter((slug) => isNewEnough(slug, version))
    .map((slug) => ({
      slug,
      display_name: slug,
      minimal_client_version: `0.${minimalMinor(slug) || 1}.0`,
    }));
}

/** Why the ciphertext in a body cannot be read by this account; undefined: it can. */
export function ciphertextRefusal(
  body: unknown,
  account: FakeAccount,
): Refusal | undefined {
  const own = `enc:${account.name}:`;
  const item = itemsOf(body).find((it) =>
    ciphertexts(it).some((text) => !text.startsWith(own))
  );
  if (item === undefined) return undefined;
  const type = "invalid_request_error";
  const isOwnKind = item.type === "reasoning" || item.type === "compaction";
  const code = isOwnKind ? "invalid_encrypted_content" : "invalid_request_body";
  const message = isOwnKind
    ? "The encrypted content could not be verified."
    : "Encrypted function output content could not be decrypted or decoded.";
  const error = { message, type, code, param: null };
  return { status: 400, body: { error } };
}

/** Every `encrypted_content` in an item, at any depth. */
function ciphertexts(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, it]) =>
    name === "encrypted_content" && typeof it === "string"
      ? it
      : ciphertexts(it)
  );
}
