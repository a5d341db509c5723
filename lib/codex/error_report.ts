/** Error bodies, in all the shapes they come in, as codes and text. */
import { isRecord, parseJson } from "../values.ts";

export interface ErrorReport {
  /** The body is a JSON object or list. */
  isJson: boolean;
  /** The body is a page of HTML, as something between us and the backend answers. */
  isHtml: boolean;
  /** All that may be a code, innermost first. */
  codes: readonly string[];
  /** All texts for people, joined. */
  text: string;
  /** The text to show, short and harmless; empty when there is none. */
  detail: string;
  /** The objects of the body, innermost first, to look fields up in. */
  objects: readonly Record<string, unknown>[];
}

const MAX_DEPTH = 4;
const MAX_ITEMS = 10;

/** Reads an error body; plain text is its own message, a page of HTML says nothing. */
export function readErrorBody(body: string | undefined): ErrorReport {
  const text = body ?? "";
  const json = parseJson(text);
  if (typeof json === "object" && json !== null) return readErrorJson(json);
  const plain = typeof json === "string" ? json : text;
  const isHtml = plain.trimStart().startsWith("<");
  return { ...readErrorJson(isHtml ? "" : plain), isHtml };
}

/** The same for JSON that was parsed already. */
export function readErrorJson(json: unknown): ErrorReport {
  const found: Found = { codes: [], messages: [], strings: [], objects: [] };
  visit(json, found, 0);
  return {
    isJson: typeof json === "object" && json !== null,
    isHtml: false,
    codes: found.codes,
    text: [...found.messages, ...found.strings].join("\n"),
    detail: shortText(found.messages[0] ?? found.strings[0] ?? ""),
    objects: found.objects,
  };
}

/** The first field of that name that holds something. */
export function fieldOf(report: ErrorReport, name: string): unknown {
  return report.objects.find((object) => object[name] !== undefined)?.[name];
}

/** Text from elsewhere as one line that no terminal acts upon. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, " ");
}

/** Text from the backend made fit for a terminal and a log: one short line, no secrets. */
export function shortText(text: string): string {
  return oneLine(text.slice(0, 2000))
    .replaceAll(/\b(?:eyJ|sk-|rt_|gAAAA)[\w.=-]{8,}/g, "…")
    // no word of a message is that long, but a secret may be
    .replaceAll(/[\w.+/=-]{48,}/g, "…")
    .trim()
    .slice(0, 200);
}

interface Found {
  codes: string[];
  messages: string[];
  strings: string[];
  objects: Record<string, unknown>[];
}

function visit(value: unknown, found: Found, depth: number): void {
  if (depth > MAX_DEPTH) return;
  if (typeof value === "string") {
    found.codes.push(value);
    found.strings.push(value);
  } else if (Array.isArray(value)) {
    for (const item of value.slice(0, MAX_ITEMS)) {
      visit(item, found, depth + 1);
    }
  } else if (isRecord(value)) {
    visitObject(value, found, depth);
  }
}

function visitObject(
  object: Record<string, unknown>,
  found: Found,
  depth: number,
): void {
  visit(object.error, found, depth + 1);
  visit(object.detail, found, depth + 1);
  found.objects.push(object);
  for (const code of [object.code, object.type]) {
    if (typeof code === "string") found.codes.push(code);
  }
  for (const message of [object.message, object.msg]) {
    if (typeof message === "string") found.messages.push(message);
  }
}
