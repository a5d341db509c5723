/**
 * An account of the stand-in, and how the stand-in starts with several.
 *
 * @module
 */
import type {
  FakeAnswer,
  FakeCredits,
  FakeFlags,
  FakeMeter,
  FakeModelUsage,
  FakeRefusalForm,
  FakeReply,
  FakeTokenField,
  FakeWindow,
} from "./types.ts";

/** What an account starts with; all of it is optional. */
export type FakeAccountOptions = Partial<Omit<FakeAccount, "name">>;

/** An account as the backend knows it. Live: change it between requests as the backend would. */
export class FakeAccount {
  /** Its name in the stand-in. */
  readonly name: string;
  /** As the backend names it (default "plus"). */
  plan = "plus";
  /** Default "NAME@example.com". */
  email: string;
  /** The person (default "user-NAME"). */
  userId: string;
  /** The person's account or workspace (default "account-NAME"). */
  accountId: string;
  /** The token's claims ask for the `X-OpenAI-Fedramp` header. */
  fedramp = false;

  /** The main meter (default 5 hours and a week at 0 %); null: `rate_limit: null`, all is charged. */
  windows: FakeWindow[] | null = [
    { seconds: 18_000, usedPercent: 0 },
    { seconds: 604_800, usedPercent: 0 },
  ];
  /** Outrank the percentages of the main meter. */
  flags: FakeFlags | null = null;
  /** Further meters by their `metered_feature`. */
  meters: Record<string, FakeMeter> = {};
  /** `model_usage` by model. */
  modelUsage: Record<string, FakeModelUsage> = {};
  /**
   * Refuses as used up until then (epoch ms), whatever usage says. The headers
   * of its 429 show usage's windows or, by default, none.
   */
  limited: { until: number; showsWindows?: boolean } | null = null;
  /** How many percent each request adds to its meter's windows (default 0). */
  costPercent = 0;
  /** Purchased credits (default none left); null: sent as null, without headers. */
  credits: FakeCredits | null = {
    hasCredits: false,
    unlimited: false,
    balance: "0",
  };
  /** A spend limit; `individualLimit` is sent as it is, backs the credits, and counts charges. */
  spendControl: {
    reached: boolean;
    individualLimit?: Record<string, unknown> | null;
  } | null = null;
  /** Banked resets; null: not told. */
  bankedResets: number | null = null;
  /** What a request uses up counts when its answer ends, on what is left then. */
  chargesAtEnd = false;
  /** The usage endpoint answers out of a cache of this age (seconds). */
  usageCacheSeconds = 0;

  /** Refuses every other model with 400; undefined: serves all. */
  supportedModels: readonly string[] | undefined = undefined;
  /** Answers 402, as for a deactivated workspace. */
  deactivated = false;
  /** Answers 403 with this code, while usage is answered. */
  workspaceRefusal: string | null = null;
  /** Answers 503 with this code, for example `server_is_overloaded`. */
  overloaded: string | null = null;
  /** Answers 429 with this code instead of drawing credits. */
  creditsRefused: string | false = false;
  /** How a limit, an overload or foreign ciphertext is told. */
  refusals: FakeRefusalForm = {};
  /** Answers 401 to tokens that are good. */
  rejectAll = false;

  /** Lifetime of new access tokens (ms); undefined: the stand-in's. */
  accessLifetimeMs: number | undefined = undefined;
  /** What a refresh answers with; without `refresh_token` the shown one stays good. */
  tokenFields: readonly FakeTokenField[] = [
    "id_token",
    "access_token",
    "refresh_token",
  ];

  /** The content of ordinary answers. */
  reply: FakeReply = {};
  /** Changes the headers of `POST …/responses` answers. */
  headers: (defaults: Record<string, string>) => Record<string, string> = (
    it,
  ) => it;
  /** Changes the usage payload; a string is sent as it is. */
  usageOverride: (payload: Record<string, unknown>) => unknown = (it) => it;
  /** Answers to the next requests below `/codex`, one each. */
  queue: FakeAnswer[] = [];
  /** The answer once `queue` is empty. */
  always: FakeAnswer | undefined = undefined;
  /** Answers to the next usage requests, one each. */
  usageQueue: FakeAnswer[] = [];
  /** The answer once `usageQueue` is empty. */
  usageAlways: FakeAnswer | undefined = undefined;
  /** Answers to the next token requests, one each. */
  tokenQueue: FakeAnswer[] = [];
  /** The answer once `tokenQueue` is empty. */
  tokenAlways: FakeAnswer | undefined = undefined;

  /**
   * Makes a Plus account that has used nothing, but for `options`; they may be
   * shared between accounts.
   */
  constructor(name: string, options: FakeAccountOptions) {
    this.name = name;
    this.email = `${name}@example.com`;
    this.userId = `user-${name}`;
    this.accountId = `account-${name}`;
    Object.assign(this, copied(options));
  }
}

/** Lists and plain objects anew, at any depth; promises and functions as they are. */
function copied<T>(value: T): T {
  if (Array.isArray(value)) return value.map(copied) as T;
  const isPlain = typeof value === "object" && value !== null &&
    Object.getPrototypeOf(value) === Object.prototype;
  return isPlain
    ? Object.fromEntries(
      Object.entries(value).map(([name, it]) => [name, copied(it)]),
    ) as T
    : value;
}

/** How a stand-in starts. */
export interface FakeCodexOptions {
  /** Its accounts by name (default none). */
  accounts?: Record<string, FakeAccountOptions>;
  /** The clock for all that depends on time but delays (epoch ms, default `Date.now`). */
  now?: () => number;
  /** Default any free one. */
  port?: number;
  /** The path of the backend's URL, "" for none (default "/backend-api"). */
  backendPath?: string;
  /**
   * Where, below the backend's URL, usage is answered; others are 404 (default
   * "/wham/usage", or "/api/codex/usage" where `backendPath` lacks "/backend-api").
   */
  usagePaths?: readonly string[];
  /** Lifetime of access tokens (ms, default 1 hour). */
  accessLifetimeMs?: number;
  /** The ports of `http://localhost:PORT/auth/callback` that a browser login may return to (default 1455 and 1457). */
  redirectPorts?: readonly number[];
  /** Between two polls of a device login (seconds, default 5). */
  deviceInterval?: number;
}
