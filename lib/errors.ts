/** What can go wrong before a request is sent, to be told apart by code. */
export type RotatorErrorCode =
  | "no_accounts"
  | "store_corrupt"
  | "store_version"
  | "store_locked"
  | "store_unwritable";

/**
 * An error of the rotator itself, never of the backend.
 *
 * @example
 * ```ts
 * import { RotatorError } from "@codex-rotator/core";
 *
 * const error = new RotatorError("no_accounts", "No account is in the store");
 * if (error.code !== "no_accounts") throw error;
 * ```
 */
export class RotatorError extends Error {
  /** Always the same. */
  override readonly name = "RotatorError";
  /** What went wrong, stable across versions. */
  readonly code: RotatorErrorCode;

  /**
   * Makes the error.
   *
   * @param code What went wrong.
   * @param message What was found, what is wanted, and what to do next.
   * @param options The cause, where there is one.
   */
  constructor(code: RotatorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Whether Deno was not permitted to: its owner must hear of that as it is, as it names the flag. */
export function isDenied(error: unknown): error is Error {
  return error instanceof Error && error.name === "NotCapable";
}

/** The text of what was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Why a connection failed, by what runtimes say of it. A new one is a row here. */
const REASONS: readonly [pattern: RegExp, reason: string][] = [
  [/\btunnel/i, "the proxy did not connect"],
  [/ECONNREFUSED|connection ?refused/i, "connection refused"],
  [/ECONNRESET|EPIPE|connection ?reset|broken pipe/i, "connection reset"],
  [/ENOTFOUND|EAI_AGAIN|dns error/i, "host not found"],
  [/EHOSTUNREACH|ENETUNREACH|unreachable/i, "host not reachable"],
  [/ETIMEDOUT|UND_ERR_\w*_TIMEOUT|timed out/i, "no answer in time"],
  [/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/i, "certificate not trusted"],
  [
    /UND_ERR_SOCKET|ConnectionClosed|CONNECTION_(?:CLOSED|DESTROYED)|other side closed|connection closed/i,
    "connection closed by the other side",
  ],
];

/** Why a connection failed, in words; undefined where that is not known. */
export function networkReason(error: unknown): string | undefined {
  const texts = causesOf(error).map((it) => `${codeOf(it)} ${it.message}`);
  return REASONS.find(([pattern]) => texts.some((it) => pattern.test(it)))?.[1];
}

/**
 * Returns the text of a network error with its cause, which the message of most
 * runtimes leaves to `cause`. Of the URL no more than the host is told.
 */
export function networkErrorText(error: unknown, url: string): string {
  const chain = causesOf(error);
  const reason = networkReason(error);
  const last = chain.at(-1);
  if (reason === undefined) {
    // a query may hold a secret
    return (last?.message ?? String(error)).replaceAll(/\?[^\s)]*/g, "");
  }
  const where = addressOf(chain) ?? URL.parse(url)?.host ?? "an unknown host";
  return `fetch failed: ${reason} at ${where}`;
}

/**
 * An error of the network that says its cause, to be thrown in place of one
 * that does not; any other is returned as it is.
 */
export function explained(error: unknown, url: string): unknown {
  // of other kinds are those of a fetch that its owner wrote
  const isRuntimes = error instanceof TypeError ||
    (error instanceof Error && codeOf(error) !== "");
  if (!isRuntimes) return error;
  const message = networkErrorText(error, url);
  const isVague = message !== error.message;
  const text = message.startsWith("fetch failed")
    ? message
    : `fetch failed: ${message}`;
  return isVague ? new TypeError(text, { cause: error }) : error;
}

/** More causes of causes are not looked at. */
const MAX_CAUSES = 5;

/** An error and its causes, as far as they are errors; of several at once the first. */
function causesOf(error: unknown): Error[] {
  const chain: Error[] = [];
  for (
    let it = error;
    it instanceof Error && chain.length < MAX_CAUSES;
    it = it instanceof AggregateError ? it.errors[0] : it.cause
  ) chain.push(it);
  return chain;
}

function codeOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "";
}

/** The address that was tried, which may be a proxy's. */
function addressOf(chain: readonly Error[]): string | undefined {
  for (const error of chain) {
    const { address, port } = error as { address?: unknown; port?: unknown };
    if (typeof address !== "string" || typeof port !== "number") continue;
    return address.includes(":")
      ? `[${address}]:${port}`
      : `${address}:${port}`;
  }
  return undefined;
}
