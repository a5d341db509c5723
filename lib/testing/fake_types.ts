/**
 * What the stand-in's accounts, answers and log look like.
 *
 * @module
 */

/** The slot in which a window is sent. It says nothing about its length. */
export type FakeSlot = "primary" | "secondary" | "tertiary";

/** One window of a meter. */
export interface FakeWindow {
  /** Length in seconds; null: not told. */
  seconds: number | null;
  /** Used share in percent; 100 or more is used up. */
  usedPercent: number;
  /**
   * When it starts afresh, epoch ms; null: never, and not told.
   *
   * @default now + `seconds`
   */
  resetAt?: number | null;
  /**
   * In which slot it is sent.
   *
   * @default by its place in the list
   */
  slot?: FakeSlot;
}

/** A further meter beside the main one. */
export interface FakeMeter {
  /** null: sent as `rate_limit: null`. */
  windows: FakeWindow[] | null;
  /** Shown to people, for example `GPT-5.3-Codex-Spark`. */
  limitName?: string;
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
  /**
   * How much of the balance each charged request takes.
   *
   * @default 1
   */
  costPerRequest?: number;
}

/** The content of an ordinary answer to `POST …/responses`. */
export interface FakeReply {
  /**
   * What the message says.
   *
   * @default "Hello from NAME"
   */
  text?: string;
  /**
   * In how many deltas the text is sent.
   *
   * @default 2
   */
  deltas?: number;
  /**
   * Adds deltas of 64 KiB, at least this many bytes of them. They are not
   * repeated in the events that end the message.
   *
   * @default 0
   */
  padBytes?: number;
  /** Sends `response.completed` with an empty `output`. */
  emptyOutput?: boolean;
  /** Sends a `codex.rate_limits` event before the content. */
  rateLimitsEvent?: boolean;
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
  /**
   * The status.
   *
   * @default 200, or 307 for `redirect`
   */
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

/**
 * An account as the backend knows it. It is live: change it between requests
 * as the backend would.
 */
export interface FakeAccount {
  /** Its name in the stand-in. */
  readonly name: string;
  /**
   * Plan as the backend names it.
   *
   * @default "plus"
   */
  plan: string;
  /**
   * E-mail address.
   *
   * @default "NAME@example.com"
   */
  email: string;
  /**
   * The person.
   *
   * @default "user-NAME"
   */
  userId: string;
  /**
   * The person's account or workspace.
   *
   * @default "account-NAME"
   */
  accountId: string;
  /** The token's claims ask for the `X-OpenAI-Fedramp` header. */
  fedramp: boolean;
  /**
   * The main meter; null: `rate_limit: null`, every request is charged.
   *
   * @default 5 hours and a week, both at 0 %
   */
  windows: FakeWindow[] | null;
  /** Further meters by their `metered_feature`; `codex_bengalfox` serves the Spark models. */
  meters: Record<string, FakeMeter>;
  /**
   * How many percent each request on included usage adds to its meter's windows.
   *
   * @default 0
   */
  costPercent: number;
  /**
   * Purchased credits; null: sent as null, without headers.
   *
   * @default none left: `{ hasCredits: false, unlimited: false, balance: "0" }`
   */
  credits: FakeCredits | null;
  /** A spend limit; `individualLimit` is sent as it is and backs the credits. */
  spendControl: {
    reached: boolean;
    individualLimit?: Record<string, unknown> | null;
  } | null;
  /** For example `workspace_member_credits_depleted`; undefined: what the windows say. */
  rateLimitReachedType: string | null | undefined;
  /** `model_usage` by model; `availableAt` in epoch ms. */
  modelUsage: Record<string, {
    available: boolean;
    availableAt?: number | null;
    creditsWouldEnable?: boolean;
  }>;
  /** Banked resets; null: not told. */
  bankedResets: number | null;
  /** Refuses every other model with 400; undefined: serves all. */
  supportedModels: readonly string[] | undefined;
  /** Answers 402, as for a deactivated workspace. */
  deactivated: boolean;
  /** Answers 429 `usage_not_included`. */
  noCodex: boolean;
  /** Answers 429 with this code instead of drawing credits. */
  creditsRefused: string | false;
  /** Answers 401 to tokens that are good. */
  rejectAll: boolean;
  /** Lifetime of new access tokens, ms; undefined: the stand-in's. */
  accessLifetimeMs: number | undefined;
  /** What a refresh answers with; without `refresh_token` the shown one stays good. */
  tokenFields: readonly FakeTokenField[];
  /** The content of ordinary answers. */
  reply: FakeReply;
  /** Changes the headers of `POST …/responses` answers. */
  headers: (defaults: Record<string, string>) => Record<string, string>;
  /** Changes the usage payload; a string is sent as it is. */
  usageOverride: (payload: Record<string, unknown>) => unknown;
  /** Answers to the next requests below `/codex`, one each. */
  queue: FakeAnswer[];
  /** The answer once `queue` is empty. */
  always: FakeAnswer | undefined;
  /** Answers to the next usage requests, one each. */
  usageQueue: FakeAnswer[];
  /** The answer once `usageQueue` is empty. */
  usageAlways: FakeAnswer | undefined;
  /** Answers to the next token requests, one each. */
  tokenQueue: FakeAnswer[];
  /** The answer once `tokenQueue` is empty. */
  tokenAlways: FakeAnswer | undefined;
}

/** What an account starts with; all of it is optional. */
export type FakeAccountOptions = Partial<Omit<FakeAccount, "name">>;

/** The tokens of one login. */
export interface FakeTokens {
  /** The access token, a JWT. */
  access: string;
  /** The refresh token. */
  refresh: string;
  /** The id token, a JWT. */
  id: string;
  /** The account id that goes with the access token. */
  accountId: string;
  /** When the access token expires, epoch ms. */
  expiresAt: number;
}

/** What a request was for. */
export type FakeKind =
  | "responses"
  | "compact"
  | "models"
  | "usage"
  | "token"
  | "authorize"
  | "device"
  | "other";

/** One request as it arrived, and what became of it. Holds tokens: never print it. */
export interface FakeLogEntry {
  /** Position among all requests, from 1. */
  readonly n: number;
  /** When it arrived, epoch ms of the stand-in's clock. */
  readonly at: number;
  /** What it was for. */
  readonly kind: FakeKind;
  /** In upper case. */
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** The account whose token was shown; null: none. */
  readonly account: string | null;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** As it came over the wire. */
  readonly body: Uint8Array;
  /** Length of `body`. */
  readonly bodyBytes: number;
  /** SHA-256 of `body`, in hex. */
  readonly bodyHash: string;
  /** The body as text, decompressed. */
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  readonly json: unknown;
  /** The `model` of its JSON body. */
  readonly model: string | null;
  /** How many requests of this kind were under way when it arrived, itself included. */
  readonly parallel: number;
  /** 0 until the headers of the answer were sent. */
  readonly status: number;
  /** It drew purchased credits. */
  readonly charged: boolean;
  /** The client went away before the answer was complete. */
  readonly aborted: boolean;
  /** The exchange is over, one way or another. */
  readonly done: boolean;
}
