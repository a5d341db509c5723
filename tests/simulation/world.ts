/** A backend without sockets: answers as the accounts' truth has it, and tells a witness all it does. */
import { type Account, costOf, type Verdict } from "./account.ts";
import { now, sleep } from "./clock.ts";
import { json, streamOf } from "./http.ts";
import type { Random } from "./random.ts";
import { limit, overload, tellHeaders, throttle } from "./refusals.ts";
import {
  eventOf,
  metersOf,
  type Shown,
  type ShownMeter,
  usageBody,
  wholePercent,
} from "./told.ts";
import {
  type Attempt,
  clockOf,
  type Process,
  type Witness,
} from "./witness.ts";

/** What the backend is like. */
export interface WorldOptions {
  accounts: readonly Account[];
  random: Random;
  /** How often a connection breaks. */
  breaks: number;
  /** How large a request is; 1 is an ordinary one. */
  sizeOf: (request: number) => number;
}

export class World {
  readonly accounts: readonly Account[];
  readonly #options: WorldOptions;
  readonly #random: Random;
  #witness: Witness;

  constructor(options: WorldOptions, witness: Witness) {
    this.accounts = options.accounts;
    this.#options = options;
    this.#random = options.random;
    this.#witness = witness;
  }

  /** The network of one process. */
  readonly fetchFor =
    (process: Process) =>
    async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
      const request = new Request(input, init);
      const token = request.headers.get("authorization") ?? "";
      const account = this.accounts.find(({ alias }) =>
        token === `Bearer token-${alias}`
      );
      if (!account) return json(401, { detail: "Unauthorized" });
      const { pathname } = new URL(request.url);
      if (pathname.endsWith("/usage")) {
        return await this.#usage(process, account, request.signal);
      }
      if (request.method !== "POST" || !pathname.endsWith("/codex/responses")) {
        return json(404, { detail: "Not Found" });
      }
      const text = await request.text();
      const attempt = this.#attempt(process, account, text);
      return await this.#respond(attempt, request.signal);
    };

  #attempt(process: Process, account: Account, text: string): Attempt {
    const { model } = JSON.parse(text) as { model: string };
    const attempt: Attempt = {
      request: Number(/#(\d+)/.exec(text)?.[1]),
      process,
      account,
      model,
      at: now(),
      began: clockOf(process),
      hadIncluded: account.isIncluded(model, now()),
      outcome: "running",
      charged: 0,
    };
    this.#witness.sent(attempt);
    return attempt;
  }

  async #usage(
    process: Process,
    account: Account,
    signal: AbortSignal,
  ): Promise<Response> {
    const random = this.#random;
    const began = clockOf(process);
    const isRefresh = process.isRefreshing;
    this.#witness.asked(process, account);
    if (account.trouble.usageDown > now()) {
      await sleep(random.pick([200, 200, 30_000]), signal);
      return json(503, { detail: "unavailable" });
    }
    await sleep(random.between(50, 1500), signal);
    const shown = this.#cached(account);
    const told = wholePercent(shown);
    if (told.main) told.main = this.#flip(account, told.main);
    this.#witness.told(process, account, {
      kind: "usage",
      began,
      arrived: clockOf(process),
      shown: told,
      meters: metersOf(told),
      tellsCredits: true,
      isRefresh,
    });
    return json(200, usageBody(told, now()));
  }

  #cached(account: Account): Shown {
    const { cached, options: { cacheMs } } = account;
    if (cached && now() - cached.at < cacheMs) return cached.shown;
    const shown = account.show(now());
    account.cached = { at: now(), shown };
    return shown;
  }

  #flip(account: Account, meter: ShownMeter): ShownMeter {
    const { flipMs } = account.options;
    if (flipMs === 0 || this.#random.chance(0.6)) return meter;
    const longest = Math.max(...meter.windows.map(({ seconds }) => seconds));
    const windows = meter.windows.map((window) =>
      window.seconds === longest
        ? { ...window, resetsAt: window.resetsAt + flipMs }
        : window
    );
    return { ...meter, windows };
  }

  async #respond(attempt: Attempt, signal: AbortSignal): Promise<Response> {
    const { account, model, at } = attempt;
    const { trouble } = account;
    const random = this.#random;
    const answering = { random, witness: this.#witness, signal };
    if (trouble.overloaded > at) return await overload(attempt, answering);
    if (trouble.throttled > at) return await throttle(attempt, answering);
    const verdict = account.judge(model, at);
    if (verdict.kind === "unsupported") {
      attempt.outcome = "unsupported";
      const detail =
        `The '${model}' model is not supported when using Codex with a ChatGPT account.`;
      return json(400, { detail });
    }
    if (verdict.kind === "limit" || verdict.kind === "credits-refused") {
      return await limit(attempt, verdict, answering);
    }
    const breaks = random.chance(this.#options.breaks);
    const size = this.#options.sizeOf(attempt.request);
    const settlesNow = account.options.settles === "start";
    if (settlesNow) this.#settle(attempt, size, verdict);
    await sleep(random.between(300, 3000), signal);
    if (breaks) {
      if (!settlesNow) this.#settle(attempt, size, verdict);
      attempt.outcome = "failed";
      throw new TypeError("connection reset");
    }
    const settle = settlesNow
      ? () => {}
      : () => this.#settle(attempt, size, verdict);
    return this.#stream(attempt, settle, signal);
  }

  /** Books a request: on the plan as long as it has room, else as a charge. */
  #settle(attempt: Attempt, size: number, begun: Verdict): void {
    const { account, model } = attempt;
    const end = account.judge(model, now());
    const isFull = begun.kind === "included" && end.kind === "charged";
    if (begun.kind === "included" && begun.meter) {
      account.use(begun.meter, costOf(account, model, size), now());
    }
    if (begun.kind !== "charged" && !isFull) return;
    attempt.charged = size;
    account.charge(size);
    this.#witness.charged(attempt);
  }

  #stream(
    attempt: Attempt,
    settle: () => void,
    signal: AbortSignal,
  ): Response {
    const { account } = attempt;
    const seconds = this.#random.pick([2, 5, 10, 20, 40, 90, 300]);
    const headers = tellHeaders(attempt, attempt.began, this.#witness);
    const body = streamOf(signal, async (send) => {
      send({ type: "response.created", response: { id: "r" } });
      await sleep(300, signal);
      send({ type: "response.output_text.delta", delta: "…" });
      await sleep(seconds * 1000, signal).finally(() => {
        settle();
        attempt.outcome = "served";
      });
      if (account.options.tellsEvents) {
        const shown = account.show(now());
        send(this.#event(attempt, shown));
        await sleep(20);
      }
      const usage = { input_tokens: 100, output_tokens: 10 };
      send({ type: "response.completed", response: { id: "r", usage } });
    });
    headers["content-type"] = "text/event-stream";
    return new Response(body, { headers });
  }

  #event(attempt: Attempt, shown: Shown): Record<string, unknown> {
    const { account, process } = attempt;
    const told = wholePercent(shown);
    this.#witness.told(process, account, {
      kind: "event",
      began: clockOf(process),
      arrived: clockOf(process),
      shown: told,
      meters: metersOf(told),
      tellsCredits: true,
      attempt,
      isRefresh: false,
    });
    return eventOf(told, now());
  }
}
