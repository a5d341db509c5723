/**
 * A response stream as the one JSON response that it amounts to.
 *
 * @module
 */
import { isRecord } from "./json.ts";

/** Collects what a stream says, until it says that it is complete. */
export class Folder {
  readonly #items = new Map<number, unknown>();
  #hasContent = false;

  /** Whether any content has come. */
  get hasContent(): boolean {
    return this.#hasContent;
  }

  /** Takes the data of a content event. */
  take(data: string): void {
    this.#hasContent = true;
    // deltas are most of a stream and are repeated in the items
    if (!data.includes("response.output_item.done")) return;
    const json: unknown = parse(data);
    if (!isRecord(json) || json.type !== "response.output_item.done") return;
    const index = typeof json.output_index === "number"
      ? json.output_index
      : this.#items.size;
    this.#items.set(index, json.item);
  }

  /** The whole response; its output is put together where it carries none. */
  finish(response: Record<string, unknown>): Record<string, unknown> {
    const { output } = response;
    if (Array.isArray(output) && output.length > 0) return response;
    const items = [...this.#items].sort(([a], [b]) => a - b);
    return { ...response, output: items.map(([, item]) => item) };
  }
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

/** The status that a failure in a stream would have had. */
export function statusOfFailure(error: Record<string, unknown>): number {
  const { status, code, type } = error;
  if (typeof status === "number" && status >= 400 && status <= 599) {
    return status;
  }
  switch (code ?? type) {
    case "invalid_request_error":
    case "invalid_prompt":
    case "invalid_encrypted_content":
    case "context_length_exceeded":
      return 400;
    case "usage_limit_reached":
    case "usage_not_included":
    case "rate_limit_exceeded":
    case "insufficient_quota":
    case "credit_balance_exhausted":
    case "organization_spend_limit_exceeded":
    case "project_spend_limit_exceeded":
    case "organization_usage_limit_exceeded":
      return 429;
    case "server_is_overloaded":
    case "slow_down":
      return 503;
    default:
      return 502;
  }
}
