/**
 * A small rotator that follows the rules of money and nothing else, to judge
 * the oracle by: it must find nothing wrong here, and each rule left out.
 */
import type { Account } from "./account.ts";
import { MINUTE, now, SECOND, sleep } from "./clock.ts";
import { json } from "./http.ts";
import type { Policy } from "./fleet.ts";
import type { Standing } from "./belief.ts";
import { Viewpoint } from "./viewpoint.ts";
import type { Process, Witness } from "./witness.ts";

/** A rule that is left out. */
export type Fault =
  | "ignores the policy"
  | "lets the clock open"
  | "never asks"
  | "spends after a hiccup"
  | "spends first"
  | "refuses at the first limit"
  | "never spends"
  | "sends all to the first"
  | "gives up at the first failure"
  | "asks every time";

export interface ReferenceOptions {
  accounts: readonly Account[];
  process: Process;
  policy: Policy;
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  fault?: Fault | undefined;
}

const BACKEND = "https://backend.test/backend-api";

export class Reference {
  readonly #options: ReferenceOptions;
  /** What it has been told; to be fed by the world. */
  readonly view: Viewpoint;
  readonly #askedAt = new Map<Account, number>();
  readonly #asking = new Map<Account, Promise<void>>();
  readonly #servedBy = new WeakMap<Response, string>();
  readonly baseURL = `${BACKEND}/codex`;
  #turn = 0;

  constructor(options: ReferenceOptions) {
    this.#options = options;
    const { process, accounts } = options;
    const reading = { isStrict: true, isLate: false, slack: 0 };
    this.view = new Viewpoint(process, reading, accounts);
  }

  accountOf(response: Response): string | undefined {
    return this.#servedBy.get(response);
  }

  readonly fetch = async (
    _url: string | URL | Request,
    init: RequestInit = {},
  ): Promise<Response> => {
    const { model } = JSON.parse(String(init.body)) as { model: string };
    const { fault } = this.#options;
    const tried = new Set<Account>();
    let hiccup: Response | TypeError | undefined;
    for (;;) {
      const isOver = hiccup && fault === "gives up at the first failure";
      const account = isOver
        ? undefined
        : await this.#choose(model, tried, hiccup !== undefined);
      if (!account) {
        if (hiccup instanceof TypeError) throw hiccup;
        return hiccup ?? json(429, { error: { type: "usage" } });
      }
      tried.add(account);
      const { state } = this.#standing(account, model);
      const response = await this.#send(account, init).catch((error) => {
        // what may have been charged is not repeated
        if (state !== "included") throw error;
        hiccup = error;
      });
      if (!response) continue;
      const text = await response.text();
      const answer = new Response(text, response);
      const limited = response.status === 429 || text.includes('"error"');
      if (!limited && response.status === 200) {
        this.#servedBy.set(answer, account.alias);
        return answer;
      }
      if (response.status === 503 || text.includes("response.failed")) {
        hiccup = answer;
        this.#servedBy.set(answer, account.alias);
      }
      if (fault === "refuses at the first limit") {
        return json(429, { error: { type: "usage" } });
      }
    }
  };

  refresh(): Promise<void> {
    return this.#ask(this.#options.accounts, 0);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #choose(
    model: string,
    tried: ReadonlySet<Account>,
    isHeld: boolean,
  ): Promise<Account | undefined> {
    const { fault, accounts, policy } = this.#options;
    this.#turn++;
    const untried = accounts.filter((it) => !tried.has(it));
    const standing = (it: Account) => this.#standing(it, model);
    const inState = (state: Standing["state"]) =>
      this.#rotate(untried).filter((it) => standing(it).state === state);
    const included = () =>
      inState("included").find((it) => !standing(it).throttledUntil);
    const paid = () =>
      inState("exhausted").find((it) =>
        policy.maySpend(it.alias) || fault === "ignores the policy"
      );
    const isPaidFirst = fault === "spends first" && paid();
    if (isPaidFirst) return isPaidFirst;
    if (included()) return included();
    if (fault !== "never asks") await this.#ask(inState("unknown"));
    if (included()) return included();
    // an account that fails or is throttled keeps its pool, also one that was asked just now
    const isHiccup = () =>
      fault !== "spends after a hiccup" &&
      (isHeld || accounts.some((it) =>
        standing(it).state === "included" && standing(it).throttledUntil > 0
      ));
    if (isHiccup()) return undefined;
    if (fault !== "never asks") await this.#ask(inState("exhausted"));
    if (included()) return included();
    if (isHiccup()) return undefined;
    if (fault === "never spends") return undefined;
    const unsure = inState("unknown").find((it) => policy.maySpend(it.alias));
    return unsure ?? paid();
  }

  #standing(account: Account, model: string): Standing {
    const standing = this.view.standing(account, model);
    if (this.#options.fault !== "lets the clock open") return standing;
    return standing.state === "unknown"
      ? { ...standing, state: "included" }
      : standing;
  }

  #rotate(accounts: Account[]): Account[] {
    if (this.#options.fault === "sends all to the first") return accounts;
    const start = this.#turn % Math.max(1, accounts.length);
    return [...accounts.slice(start), ...accounts.slice(0, start)];
  }

  async #ask(accounts: readonly Account[], wait = MINUTE): Promise<void> {
    const pause = this.#options.fault === "asks every time" ? 0 : wait;
    await Promise.all(accounts.map((account) => {
      const under = this.#asking.get(account);
      if (under) return under;
      const askedAt = this.#askedAt.get(account) ?? -Infinity;
      if (now() - askedAt < pause) return undefined;
      this.#askedAt.set(account, now());
      const call = Promise.race([this.#askOne(account), sleep(5 * SECOND)])
        .finally(() => this.#asking.delete(account));
      this.#asking.set(account, call);
      return call;
    }));
  }

  async #askOne(account: Account): Promise<void> {
    const response = await this.#options.fetch(`${BACKEND}/wham/usage`, {
      headers: headersOf(account),
    });
    await response.text();
  }

  async #send(account: Account, init: RequestInit): Promise<Response> {
    return await this.#options.fetch(`${BACKEND}/codex/responses`, {
      ...init,
      headers: headersOf(account),
    });
  }
}

function headersOf({ alias }: Account): Record<string, string> {
  return { authorization: `Bearer token-${alias}` };
}

/** What the reference learns from. */
export function listener({ view }: Reference): Witness {
  const nothing = () => {};
  return {
    asked: nothing,
    told: (...it) => view.told(...it),
    limited: (...it) => view.limited(...it),
    throttled: (...it) => view.throttled(...it),
    sent: (attempt) => view.sent(attempt),
    charged: nothing,
  };
}
