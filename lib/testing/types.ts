/**
 * What the stand-in's accounts, answers and tokens look like.
 *
 * @module
 */

/** One window of a meter. Its place in the list is the slot in which it is sent, and says nothing about its length. */
export interface FakeWindow {
  /** Length (seconds); null: not told. */
  seconds: number | null;
  /** Used share (percent); 100 or more is used up. */
  usedPercent: number;
  /**
   * When it starts afresh (epoch ms); null: never, and not told. Without it a
   * window at 0 % begins with the next request and is told as now + `seconds`
   * until then; any other window has begun now.
   */
  resetAt?: number | null;
  /** Keeps counting after its reset, which then lies in the past. */
  countsOn?: boolean;
}

/** What usage says beside the percentages, and what is enforced instead of them. */
export interface FakeFlags {
  /** Sent as `allowed`. */
  allowed?: boolean;
  /** Sent as `limit_reached`. */
  limitReached?: boolean;
}

/** A further meter beside the main one. */
export interface FakeMeter {
  /** null: sent as `rate_limit: null`. */
  windows: FakeWindow[] | null;
  /** Shown to people, for example `GPT-5.3-Codex-Spark`; a model of this name draws on the meter. */
  limitName?: string;
  /** Sent as `normal_model_slug`. */
  normalModelSlug?: string;
  /** Outrank the percentages. */
  flags?: FakeFlags;
}

/** Purchased credits. */
export interface FakeCredits {
  /** Sent as `has_credits`; turns false when the balance is used up. */
  hasCredits: boolean;
  /** Never used up. */
  unlimited: boolean;
  /** Decimal string; null: not told, and never used up. */
  balance: string | null;
  /** They are there and cannot be used. */
  overageLimitReached?: boolean;
  /** How much of the balance each charged request takes (default 1). */
  costPerRequest?: number;
}

/** What one request uses up; what is absent is as the account says. */
export interface FakeCost {
  /** Added to each window of the meter (percent). */
  percent?: number;
  /** Drawn when the request is charged (credits). */
  credits?: number;
}

/** A movement of purchased credits. */
export interface FakeBooking {
  /** Drawn or added. */
  readonly kind: "charge" | "top-up";
  /** Whose credits. */
  readonly account: string;
  /** What was asked for; null: a top-up, or a request without one. */
  readonly model: string | null;
  /** Credits drawn or added. */
  readonly amount: number;
  /** When (epoch ms). */
  readonly at: number;
  /** The request's `n` in the log; null: topped up by hand. */
  readonly request: number | null;
}

/** A limit on one model, as `model_usage` tells it. */
export interface FakeModelUsage {
  /** Sent as `available`. */
  available: boolean;
  /** Epoch ms. */
  availableAt?: number | null;
  /** Default true. */
  creditsWouldEnable?: boolean;
  /** Tells `available_at` in unix seconds, as older answers did. */
  inSeconds?: boolean;
}

/** The content of an ordinary answer to `POST …/responses`. */
export interface FakeReply {
  /** What the message says (default "Hello from NAME"). */
  text?: string;
  /** In how many deltas the text is sent (default 2). */
  deltas?: number;
  /** Adds deltas of 64 KiB, at least so many bytes; the message's last events lack them. */
  padBytes?: number;
  /** Sends `response.completed` with an empty `output`. */
  emptyOutput?: boolean;
  /** Sends every kind of event that is no output before the content, and a comment. */
  noise?: boolean;
}

/** How a limit, an overload or foreign ciphertext is told. */
export interface FakeRefusalForm {
  /** An HTTP status (default), or 200 and an event: `error` or `response.failed`. */
  as?: "status" | "error" | "failed";
  /** When it is told: so many ms after the request, or once the promise is settled. */
  after?: number | Promise<unknown>;
  /** Size of the events before the failure (bytes). */
  preambleBytes?: number;
}

/**
 * A scripted answer.
 *
 * One with none of `status`, `body`, `raw`, `events`, `redirect` and `hang` is
 * the ordinary answer, which uses up quota, rotates tokens and so on, and is
 * only delayed, decorated or dropped on its way. Any other one replaces the
 * ordinary answer: it uses up nothing and charges nothing.
 */
export interface FakeAnswer {
  /** Only for requests to this path below `/codex`, such as `/responses`; others leave it in the queue. */
  for?: string;
  /** Default 200, or 307 for `redirect`. */
  status?: number;
  /** Added to, or replacing, the headers of the answer. */
  headers?: Record<string, string>;
  /** An object is sent as JSON. */
  body?: string | object;
  /** Events to send as a stream, with the account's limit headers. */
  events?: readonly unknown[];
  /** The body byte for byte, each part in a write of its own. */
  raw?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** Redirects to this URL. */
  redirect?: string;
  /** Never answers. */
  hang?: true;
  /** The content of an ordinary answer, this once. */
  reply?: FakeReply;
  /** What an ordinary answer uses up, this once. */
  cost?: FakeCost;
  /** Waits so many ms before the answer is sent. */
  delayMs?: number;
  /** Waits for this promise before the answer is sent: no clock involved. */
  until?: Promise<unknown>;
  /** Waits so many ms between the parts of the body. */
  chunkDelayMs?: number;
  /**
   * Cuts the connection: before the headers, half-way through the body, or
   * after so many parts of it (events, for a stream). The request was served
   * all the same; a refresh token that was shown is spent.
   *
   * Runtimes may send a request again by themselves when a connection that was
   * used before is cut before the headers: Deno any but one whose body is a
   * stream, Bun a GET. Both requests are in the log.
   */
  drop?: "before-headers" | "mid-body" | number;
}

/** A member of the token endpoint's answer. */
export type FakeTokenField = "id_token" | "access_token" | "refresh_token";

/** The tokens of one login. */
export interface FakeTokens {
  /** A JWT. */
  access: string;
  /** Serves once. */
  refresh: string;
  /** A JWT. */
  id: string;
  /** The account id that goes with the access token. */
  accountId: string;
  /** When the access token expires (epoch ms). */
  expiresAt: number;
}
