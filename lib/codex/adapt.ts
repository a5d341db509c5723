/**
 * Makes a request body acceptable to the Codex backend, only where it is not
 * already.
 */
import { isRecord, readText } from "../values.ts";

/** Parameters that the backend refuses, whatever their value. */
const REFUSED_PARAMETERS: readonly string[] = [
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
];
/** Service tiers that the backend refuses; none at all means the same. */
const REFUSED_TIERS: readonly string[] = ["auto", "default"];
/** Without these a request would mean something else, so their refusal is for the caller to see. */
const MEANT: ReadonlySet<string> = new Set([
  "conversation",
  "input",
  "instructions",
  "model",
  "previous_response_id",
  "prompt",
  "store",
  "stream",
  "text",
  "tool_choice",
  "tools",
]);
const REFUSED_PARAMETER =
  /unsupported parameter:\s*['"`]?([a-z_][\w.]*\w)(?![\w.[])/i;
const REFUSED_TIER = /unsupported service_tier:\s*['"`]?([\w-]+)/i;
const MISSING_INSTRUCTIONS = /instructions are required/i;
/** For a backend that refuses empty ones. */
const DEFAULT_INSTRUCTIONS = "You are a helpful assistant.";
const CIPHERTEXT = "reasoning.encrypted_content";
/** Stands in for an output of which nothing can be read any more: a call needs one. */
const UNREADABLE = "(This output is encrypted and cannot be read any more)";

type Json = Record<string, unknown>;

interface Adapted {
  /** The body to send; undefined: the caller's conforms, byte for byte. */
  json: Json | undefined;
  /** The caller did not ask for a stream, so it is to be folded into one response. */
  folds: boolean;
  /** The caller takes the answer for stored, and may go on from its items by their ids. */
  refersBack: boolean;
}

/** What the backend refuses in a body: what is known of it, and what it said since. */
export class RefusedParts {
  /** Names, or paths with dots. */
  readonly parameters: Set<string> = new Set(REFUSED_PARAMETERS);
  readonly tiers: Set<string> = new Set(REFUSED_TIERS);
  /** What takes the place of missing instructions; undefined: nothing has to. */
  readonly #instructions: Record<"prompted" | "other", string | undefined> = {
    prompted: undefined,
    other: "",
  };

  /** Remembers what the text of a refusal says about a body. */
  learn(text: string, json: Json): void {
    const parameter = REFUSED_PARAMETER.exec(text)?.[1];
    if (parameter !== undefined && !MEANT.has(parameter)) {
      this.parameters.add(parameter);
    }
    const tier = REFUSED_TIER.exec(text)?.[1];
    if (tier !== undefined) this.tiers.add(tier);
    if (MISSING_INSTRUCTIONS.test(text)) {
      const isEmpty = json.instructions === "";
      this.#instructions[kindOf(json)] = isEmpty ? DEFAULT_INSTRUCTIONS : "";
    }
  }

  /** The instructions to send with a body; undefined: none. */
  instructionsFor(json: Json): unknown {
    const { instructions } = json;
    const fallback = this.#instructions[kindOf(json)];
    const isMissing = instructions === undefined || instructions === null;
    return isMissing || (instructions === "" && fallback)
      ? fallback ?? instructions
      : instructions;
  }
}

/** More than this of served items is not remembered, characters of JSON. */
const MAX_ITEMS_LENGTH = 4 * 1024 * 1024;

/** Items of answers that their caller takes for stored: it names them later, and sends them no more. */
export class ServedItems {
  readonly #texts = new Map<string, string>();
  #length = 0;

  /** Remembers an item; reasoning is left to the account that can read it. */
  note(item: unknown): void {
    if (!isRecord(item) || item.type === "reasoning") return;
    const id = readText(item.id);
    if (id === null) return;
    this.#forget(id);
    const text = JSON.stringify(item);
    this.#texts.set(id, text);
    this.#length += text.length;
    for (const oldest of this.#texts.keys()) {
      if (this.#length <= MAX_ITEMS_LENGTH) return;
      this.#forget(oldest);
    }
  }

  /** The item of that id; undefined when it is not known (any more). */
  get(id: unknown): unknown {
    const text = this.#texts.get(String(id));
    return text === undefined ? undefined : JSON.parse(text);
  }

  #forget(id: string): void {
    this.#length -= this.#texts.get(id)?.length ?? 0;
    this.#texts.delete(id);
  }
}

export interface Learned {
  readonly refused: RefusedParts;
  readonly items: ServedItems;
}

/** Codex's own requests have their prompt in a first item of the developer. */
function kindOf({ input }: Json): "prompted" | "other" {
  const first: unknown = Array.isArray(input) ? input[0] : undefined;
  return isRecord(first) && first.role === "developer" ? "prompted" : "other";
}

export function adaptBody(json: Json, { refused, items }: Learned): Adapted {
  const adapted = withoutRefused(json, refused);
  if (json.store !== false) {
    adapted.store = false;
    adapted.include = withCiphertext(json.include);
  }
  const folds = json.stream !== true;
  adapted.stream = true;
  adapted.input = adaptInput(json.input, items);
  adapted.instructions = refused.instructionsFor(adapted);
  for (const name of ["input", "instructions"]) {
    if (adapted[name] === undefined) delete adapted[name];
  }
  return {
    json: isSame(json, adapted) ? undefined : adapted,
    folds,
    refersBack: json.store !== false,
  };
}

function withoutRefused(
  json: Json,
  { parameters, tiers }: RefusedParts,
): Json {
  const adapted = { ...json };
  for (const path of parameters) removeAt(adapted, path.split("."));
  const { service_tier: tier, previous_response_id: previous } = json;
  if (typeof tier === "string" && tiers.has(tier)) delete adapted.service_tier;
  // one that names a response is refused by the backend: nobody could go on from it
  if (previous === null) delete adapted.previous_response_id;
  return adapted;
}

/** Removes what is at a path, copying what the path leads through. */
function removeAt(json: Json, [name = "", ...rest]: readonly string[]): void {
  if (!Object.hasOwn(json, name)) return;
  if (rest.length === 0) {
    delete json[name];
    return;
  }
  const inner = json[name];
  if (!isRecord(inner)) return;
  const copy = { ...inner };
  removeAt(copy, rest);
  if (!isSame(inner, copy)) json[name] = copy;
}

/** What has to come with an answer that is stored nowhere, or its reasoning is lost. */
function withCiphertext(include: unknown): unknown[] {
  const given: unknown[] = Array.isArray(include) ? include : [];
  return given.includes(CIPHERTEXT) ? given : [...given, CIPHERTEXT];
}

/** The input as a list that holds nothing that would have to be stored. */
function adaptInput(input: unknown, served: ServedItems): unknown {
  if (typeof input === "string") {
    const content = [{ type: "input_text", text: input }];
    return [{ type: "message", role: "user", content }];
  }
  if (!Array.isArray(input)) return input;
  const items = input.map((item) => adaptItem(item, served))
    .filter((item) => item !== undefined);
  return isSame(input, items) ? input : items;
}

/** An item as the backend takes it; undefined: it stands for one that the backend has not kept. */
function adaptItem(item: unknown, served: ServedItems): unknown {
  if (!isRecord(item)) return item;
  if (item.type === "item_reference") return served.get(item.id);
  if (item.type === "reasoning") {
    return readText(item.encrypted_content) === null ? undefined : item;
  }
  return item.role === "system" ? { ...item, role: "developer" } : item;
}

/** Whether two objects or lists hold the very same values. */
function isSame(a: object, b: object): boolean {
  const entries = Object.entries(a);
  return entries.length === Object.keys(b).length &&
    entries.every(([name, value]) =>
      Object.hasOwn(b, name) && (b as Json)[name] === value
    );
}

/** A body without what only another account can read. */
export interface Readable {
  json: Json;
  /** The last ciphertext that was left out; undefined: only a response to go on from was. */
  last: string | undefined;
}

/**
 * A body without what only the account that made it can read; undefined when
 * there is nothing of that kind in it.
 *
 * @param isLast Tells the last ciphertext of another account: what comes after
 * it stays. By default nothing does.
 */
export function withoutCiphertext(
  json: Json,
  isLast?: (ciphertext: string) => boolean,
): Readable | undefined {
  const { previous_response_id: previous, ...rest } = json;
  const hasPrevious = !isLast && previous !== undefined && previous !== null;
  const input: unknown[] = Array.isArray(json.input) ? json.input : [];
  const end = isLast
    ? input.findLastIndex((item) => ciphertextsOf(item).some(isLast))
    : input.length - 1;
  const foreign = input.slice(0, end + 1);
  const last = foreign.flatMap(ciphertextsOf).at(-1);
  if (last === undefined && !hasPrevious) return undefined;
  const kept = foreign.map(readableItem).filter((item) => item !== undefined);
  const body = hasPrevious ? rest : { ...json };
  if (Array.isArray(json.input)) {
    body.input = [...kept, ...input.slice(end + 1)];
  }
  return { json: body, last };
}

/** Every ciphertext of an item: its own, and those of its parts. */
function ciphertextsOf(item: unknown): string[] {
  if (!isRecord(item)) return [];
  const parts = [item.content, item.output].filter(Array.isArray).flat();
  return [item, ...parts].filter(isEncrypted)
    .map(({ encrypted_content: text }) => text);
}

/** What every account can read of an item; undefined: nothing. */
function readableItem(item: unknown): unknown {
  if (!isRecord(item) || ciphertextsOf(item).length === 0) return item;
  const type = readText(item.type) ?? "";
  if (type === "reasoning" || type.startsWith("compaction")) return undefined;
  const { encrypted_content: _, ...readable } = item;
  for (const name of ["content", "output"]) {
    const parts = item[name];
    if (!Array.isArray(parts) || !parts.some(isEncrypted)) continue;
    const kept = parts.filter((part) => !isEncrypted(part));
    if (kept.length === 0 && name === "content") return undefined;
    readable[name] = kept.length === 0 ? UNREADABLE : kept;
  }
  return readable;
}

function isEncrypted(
  value: unknown,
): value is Json & { encrypted_content: string } {
  return isRecord(value) && readText(value.encrypted_content) !== null;
}
