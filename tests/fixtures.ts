/** What the backend really sent, in `tests/fixtures`. */
import { readFileSync } from "node:fs";

/**
 * Reads a fixture.
 *
 * @param name Its path below the folder, without `.json`.
 */
export function fixture(name: string): Record<string, unknown> {
  const url = new URL(`./fixtures/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(url, "utf8"));
}
