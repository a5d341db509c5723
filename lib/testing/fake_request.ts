/**
 * What the backend refuses about the body of a request.
 *
 * @module
 */

import type { Entry } from "./fake_log.ts";
import type { FakeAccount } from "./fake_types.ts";

const UNSUPPORTED = [
  "max_output_tokens",
  "max_completion_tokens",
  "max_tokens",
  "stream_options",
];

/** @returns The `detail` of the 400; undefined when there is nothing to refuse. */
export function refusal(entry: Entry): string | undefined {
  // What is compressed is taken on trust.
  if (entry.headers["content-encoding"] !== undefined) return undefined;
  const body = entry.json;
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    return "Request body must be a JSON object";
  }
  const fields = body as Record<string, unknown>;
  if (!isFilled(fields.instructions)) return "Instructions are required";
  if (!Array.isArray(fields.input)) return "Input must be a list";
  if (entry.kind === "compact") return undefined;
  if (fields.store !== false) return "Store must be set to false";
  if (fields.stream !== true) return "Stream must be set to true";
  const odd = UNSUPPORTED.find((name) => Object.hasOwn(fields, name));
  return odd === undefined ? undefined : `Unsupported parameter: ${odd}`;
}

function isFilled(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

/** What only this account can read back. */
export function mintCiphertext(account: FakeAccount, n: number): string {
  return `enc:${account.name}:${n}`;
}

/** Some reasoning or compaction item was not minted by this account. */
export function foreignCiphertext(
  body: unknown,
  account: FakeAccount,
): boolean {
  const input = (body as { input?: unknown } | null | undefined)?.input;
  if (!Array.isArray(input)) return false;
  return input.some((item) => {
    if (item?.type !== "reasoning" && item?.type !== "compaction") return false;
    const content: unknown = item.encrypted_content;
    return typeof content === "string" &&
      !content.startsWith(`enc:${account.name}:`);
  });
}
