/**
 * What is told of a request after its end, and its line in a log.
 *
 * @module
 */

/**
 * How a request ended: "ok" is 2xx and delivered whole, "limited" 429,
 * "refused" another 4xx, "failed" 5xx or a broken stream, "cancelled" that the
 * caller went away first.
 */
export type Result = "ok" | "limited" | "refused" | "failed" | "cancelled";

/** One request, after its end. */
export interface ServedRequest {
  /** When it came (epoch ms). */
  at: number;
  /** HTTP method. */
  method: string;
  /** Without a key that stood in it. */
  path: string;
  /** null: unknown, or it was sent to nobody. */
  model: string | null;
  /** A hash; null: it has none, or it was sent to nobody. */
  session: string | null;
  /** Who served it; null: nobody, or it was not for the backend. */
  account: string | null;
  /** On what it was served; null: nobody served it. */
  standing: "included" | "credits" | "unconfirmed" | null;
  /** How often it was sent to the backend. */
  attempts: number;
  /** Of the answer. */
  status: number;
  /** How it ended. */
  result: Result;
  /** As the answer counts them; null: unknown. */
  inputTokens: number | null;
  /** The same for the output. */
  outputTokens: number | null;
  /** From its arrival to the last byte (ms). */
  ms: number;
}

/** Returns a request as a line of names and values, in which no caller can write what is not so. */
export function logLine(request: ServedRequest): string {
  const { at, ms, inputTokens, outputTokens, ...rest } = request;
  const fields = { ...rest, in: inputTokens, out: outputTokens, ms };
  const words = Object.entries(fields).map(([name, value]) => {
    const whole = typeof value === "number" ? Math.round(value) : value;
    const word = String(whole ?? "").replace(/[^\x21-\x7e]+/g, "_");
    return `${name}=${word.slice(0, 64) || "-"}`;
  });
  return `${new Date(at).toISOString()} ${words.join(" ")}\n`;
}
