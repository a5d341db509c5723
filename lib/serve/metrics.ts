/** What is told of requests after their end, in a log and to Prometheus. */
import { AsyncLocalStorage } from "node:async_hooks";
import type {
  AccountStatus,
  RotatorEvent,
  StatusReport,
} from "../report_types.ts";

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

/** The content type of the text format. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** How metrics are kept. */
export interface MetricsOptions {
  /** Called with each request when it is over. */
  onRequest?: (request: ServedRequest) => void;
  /** The clock (epoch ms, default `Date.now`). */
  now?: () => number;
}

type Labels = Record<string, string>;
type Sample = readonly [Labels, number];

/** What is counted, for people. */
const COUNTERS: Record<Counter, string> = {
  requests: "Requests, by who served them, on what, and how they ended",
  charged_requests:
    "Requests that drew purchased credits, or may have (certain=false)",
  switches: "How often a request or a session went on with another account",
  cooldowns: "How often the backend said not now",
  wrong_keys: "Requests without the key of this server, or with a wrong one",
};

/** What is told of each account as it is now. */
const GAUGES: readonly [
  name: string,
  help: string,
  samples: (account: AccountStatus) => Sample[],
][] = [
  [
    "window_used_percent",
    "Used share of a usage window",
    ({ alias: account, windows }) =>
      windows.map(({ meter, windowSeconds, usedPercent }) => [
        { account, meter, window_seconds: String(windowSeconds ?? "") },
        usedPercent,
      ]),
  ],
  [
    "credits_balance",
    "Purchased credits that an account has left, where it is told",
    ({ alias: account, credits }) => {
      const balance = Number(credits?.balance ?? NaN);
      return Number.isFinite(balance) ? [[{ account }, balance]] : [];
    },
  ],
  [
    "account_standing",
    "1 for the standing that an account has now",
    ({ alias: account, standing, reason }) => [
      [{ account, standing, reason: reason ?? "" }, 1],
    ],
  ],
  [
    "account_blocked_until_seconds",
    "When a blocked account is back, seconds since the epoch",
    ({ alias: account, standing, reason, until }) =>
      standing === "blocked" && until !== null
        ? [[{ account, reason: reason ?? "" }, Date.parse(until) / 1000]]
        : [],
  ],
];

/** What is counted. */
export type Counter =
  | "requests"
  | "charged_requests"
  | "switches"
  | "cooldowns"
  | "wrong_keys";

/**
 * Counts the requests that a handler serves. Give its `onEvent` to the rotator
 * and itself to the handler.
 *
 * @example
 * ```ts
 * import { createRotator, memoryStore } from "@codex-rotator/core";
 * import { createHandler, Metrics } from "@codex-rotator/core/serve";
 *
 * const metrics = new Metrics();
 * const { onEvent } = metrics;
 * await using rotator = createRotator({ store: memoryStore(), onEvent });
 * const handler = createHandler(rotator, { key: "a-long-secret", metrics });
 * const answer = await handler(new Request("http://127.0.0.1/health"));
 * if (answer.status !== 401) throw new Error("The key was not asked for");
 * ```
 */
export class Metrics {
  /** Called with each request when it is over. */
  readonly onRequest: ((request: ServedRequest) => void) | undefined;
  readonly #now: () => number;
  readonly #current = new AsyncLocalStorage<ServedRequest>();
  readonly #counts = new Map<Counter, Map<string, number>>();
  #running = 0;

  /**
   * Starts counting.
   *
   * @param options What is called, and the clock.
   */
  constructor(options: MetricsOptions = {}) {
    this.onRequest = options.onRequest;
    this.#now = options.now ?? Date.now;
  }

  /** How many requests are being served. */
  get running(): number {
    return this.#running;
  }

  /** For the rotator's option of this name; may be called unbound. */
  readonly onEvent = (event: RotatorEvent): void => {
    switch (event.type) {
      case "selected": {
        // the events of a request come in its own asynchronous context
        const request = this.#current.getStore();
        if (request === undefined) return;
        request.attempts++;
        request.account = event.alias;
        request.model = event.model ?? null;
        request.session = event.session ?? null;
        request.standing = event.standing;
        return;
      }
      case "credits-spent":
        this.count("charged_requests", {
          account: event.alias,
          certain: String(event.certain),
        });
        return;
      case "switched":
        this.count("switches", { from: event.from, account: event.alias });
        return;
      case "cooldown":
        this.count("cooldowns", {
          account: event.alias,
          cause: event.cause.split(":")[0]!,
        });
    }
  };

  /** Begins a request. */
  begin(method: string, path: string): ServedRequest {
    this.#running++;
    return {
      at: this.#now(),
      method,
      path,
      model: null,
      session: null,
      account: null,
      standing: null,
      attempts: 0,
      status: 0,
      result: "ok",
      inputTokens: null,
      outputTokens: null,
      ms: 0,
    };
  }

  /** Runs what a request makes the rotator do. */
  watch<T>(request: ServedRequest, job: () => Promise<T>): Promise<T> {
    return this.#current.run(request, job);
  }

  /** Ends a request. */
  end(request: ServedRequest, result: Result): void {
    this.#running--;
    request.result = result;
    request.ms = this.#now() - request.at;
    if (request.account === null) request.standing = null;
    const { account, standing } = request;
    this.count("requests", {
      account: account ?? "",
      standing: standing ?? "",
      result,
    });
    try {
      this.onRequest?.(request);
    } catch {
      // a log that cannot be written stops no request
    }
  }

  /** Counts something by its labels, and returns how often it was. */
  count(counter: Counter, labels: Record<string, string> = {}): number {
    const counts = this.#counts.get(counter) ?? new Map<string, number>();
    this.#counts.set(counter, counts);
    const key = JSON.stringify(labels);
    const times = (counts.get(key) ?? 0) + 1;
    counts.set(key, times);
    return times;
  }

  /** Returns all metrics in Prometheus' text format. */
  text({ accounts }: StatusReport): string {
    const counters = Object.entries(COUNTERS).map(([name, help]) => {
      const counts = this.#counts.get(name as Counter) ?? [];
      const samples = [...counts]
        .map(([key, value]): Sample => [JSON.parse(key), value]);
      return family(`${name}_total`, help, samples);
    });
    const running: Sample[] = [[{}, this.#running]];
    const gauges = GAUGES.map(([name, help, samples]) =>
      family(name, help, accounts.flatMap(samples))
    );
    return [
      ...counters,
      family("requests_running", "Requests being served", running),
      ...gauges,
    ].join("");
  }
}

function family(name: string, help: string, samples: readonly Sample[]) {
  const full = `codex_rotator_${name}`;
  const type = name.endsWith("_total") ? "counter" : "gauge";
  const lines = samples.map(([labels, value]) =>
    `${full}${labelText(labels)} ${value}\n`
  );
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join("")}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
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
