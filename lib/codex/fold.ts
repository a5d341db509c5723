/**
 * A response stream as the one JSON response that it amounts to.
 *
 * @module
 */
import { isRecord, parseJson } from "./json.ts";

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
    const json = parseJson(data);
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
