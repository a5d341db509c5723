/**
 * What is counted of the requests, and told to Prometheus.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type {
  AccountStatus,
  RotatorEvent,
  StatusReport,
} from "../report_types.ts";
import type { Result, ServedRequest } from "./served_request.ts";

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

/** The counters, and the labels of each. */
const COUNTERS = {
  requests: {
    labels: ["account", "standing", "result"],
    help: "Requests, by who served them, on what, and how they ended",
  },
  charged_requests: {
    labels: ["account", "certain"],
    help: "Requests that drew purchased credits, or may have (certain=false)",
  },
  switches: {
    labels: ["from", "account"],
    help: "How often a request or a session went on with another account",
  },
  cooldowns: {
    labels: ["account", "cause"],
    help: "How often the backend said not now",
  },
  wrong_keys: {
    labels: [],
    help: "Requests without the key of this server, or with a wrong one",
  },
} satisfies Record<string, { labels: readonly string[]; help: string }>;

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
 * import { createRotator, memoryStore } from "../../mod.ts";
 * import { createHandler, Metrics } from "./mod.ts";
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
        this.count("charged_requests", event.alias, String(event.certain));
        return;
      case "switched":
        this.count("switches", event.from, event.alias);
        return;
      case "cooldown":
        this.count("cooldowns", event.alias, event.cause.split(":")[0]!);
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
    this.count("requests", account ?? "", standing ?? "", result);
    try {
      this.onRequest?.(request);
    } catch {
      // a log that cannot be written stops no request
    }
  }

  /** Counts something by the values of its labels, and returns how often it was. */
  count(counter: Counter, ...labels: string[]): number {
    const counts = this.#counts.get(counter) ?? new Map<string, number>();
    this.#counts.set(counter, counts);
    const key = JSON.stringify(labels);
    const times = (counts.get(key) ?? 0) + 1;
    counts.set(key, times);
    return times;
  }

  /** Returns all metrics in Prometheus' text format. */
  text({ accounts }: StatusReport): string {
    const counters = Object.entries(COUNTERS).map(([name, { labels, help }]) =>
      family(`${name}_total`, help, this.#samples(name as Counter, labels))
    );
    const gauges = [
      family("requests_running", "Requests being served", [
        [{}, this.#running],
      ]),
      family(
        "window_used_percent",
        "Used share of a usage window",
        accounts.flatMap(windowSamples),
      ),
      family(
        "credits_balance",
        "Purchased credits that an account has left, where it is told",
        accounts.flatMap(balanceSample),
      ),
      family(
        "account_standing",
        "1 for the standing that an account has now",
        accounts.map(({ alias, standing, reason }): Sample => [
          { account: alias, standing, reason: reason ?? "" },
          1,
        ]),
      ),
      family(
        "account_blocked_until_seconds",
        "When a blocked account is back, seconds since the epoch",
        accounts.flatMap(untilSample),
      ),
    ];
    return [...counters, ...gauges].join("");
  }

  #samples(counter: Counter, names: readonly string[]): Sample[] {
    return [...this.#counts.get(counter) ?? []].map(([key, value]) => {
      const values: string[] = JSON.parse(key);
      const labels = names.map((name, i) => [name, values[i]!]);
      return [Object.fromEntries(labels), value];
    });
  }
}

function windowSamples({ alias, windows }: AccountStatus): Sample[] {
  return windows.map(({ meter, windowSeconds, usedPercent }) => [
    {
      account: alias,
      meter,
      window_seconds: windowSeconds === null ? "" : String(windowSeconds),
    },
    usedPercent,
  ]);
}

function balanceSample({ alias, credits }: AccountStatus): Sample[] {
  const balance = Number(credits?.balance ?? NaN);
  return Number.isFinite(balance) ? [[{ account: alias }, balance]] : [];
}

function untilSample(
  { alias, standing, reason, until }: AccountStatus,
): Sample[] {
  if (standing !== "blocked" || until === null) return [];
  const labels = { account: alias, reason: reason ?? "" };
  return [[labels, Date.parse(until) / 1000]];
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
