import type { AccountRecord, CreditPolicy, PoolState } from "../types.ts";
import { maySpend } from "./credits.ts";
import { FUTURE_TOLERANCE_MS } from "./clock.ts";
import { type PoolIndex, poolIndexOf } from "./pools.ts";
import { assess, type Assessment } from "./standing.ts";

/**
 * One account as a candidate: its record, and what choosing remembers of it in
 * this process. Keeps its last verdict for as long as that holds.
 */
export class PooledAccount {
  readonly alias: string;
  record: AccountRecord;
  /** Whether the policy lets it spend credits. */
  creditsAllowed = false;
  /** Position of its last use among all uses in this process; orders uses of one millisecond. */
  sequence = 0;
  /** How often the backend limited it in this process; tells answers asked for before from those after. */
  limits = 0;
  /** How much of the next pick is its own by smooth weighted round robin; undefined before its first. */
  owed: number | undefined;
  /** What its last answer said; for whoever learns from answers. */
  said: unknown;
  #verdict: Assessment | undefined;
  #model: string | undefined;
  #madeAt = 0;
  #changesAt = -Infinity;
  #place: PoolIndex = 3;
  #preferPlans: ReadonlySet<string> | undefined;
  #isPreferred = false;

  constructor(alias: string, account: AccountRecord) {
    this.alias = alias;
    this.record = account;
  }

  /** Whether its plan is one of these; found out once, as every choice asks all. */
  isPreferred(preferPlans: ReadonlySet<string>): boolean {
    if (preferPlans !== this.#preferPlans) {
      const { plan } = this.record;
      this.#preferPlans = preferPlans;
      this.#isPreferred = plan !== undefined && preferPlans.has(plan);
    }
    return this.#isPreferred;
  }

  /** Forgets what was derived: to be called when the facts changed. */
  invalidate(): void {
    this.#changesAt = -Infinity;
    this.#preferPlans = undefined;
  }

  /** The verdict for `model` at `now` (epoch ms). */
  assess(model: string | undefined, now: number): Assessment {
    this.#update(model, now);
    return this.#verdict!;
  }

  /** The place of the verdict's pool, without a look at the verdict itself: choosing asks all for it. */
  placeOf(model: string | undefined, now: number): PoolIndex {
    this.#update(model, now);
    return this.#place;
  }

  #update(model: string | undefined, now: number): void {
    const holds = now < this.#changesAt && now >= this.#madeAt &&
      this.#model === model;
    if (holds) return;
    const creditsAllowed = this.creditsAllowed;
    const verdict = assess(this.record, { model, creditsAllowed, now });
    this.#verdict = verdict;
    this.#place = poolIndexOf(verdict.standing);
    this.#model = model;
    this.#madeAt = now;
    this.#changesAt = verdict.validUntil;
  }
}

/** All accounts as candidates, in step with the state. */
export class AccountPool {
  #byAlias = new Map<string, PooledAccount>();
  #runners: readonly PooledAccount[] = [];
  #uses = 0;
  /** The latest use that is known, epoch ms. */
  #latest = 0;

  /** Every account, sorted by alias. */
  get all(): readonly PooledAccount[] {
    return this.#runners;
  }

  /** The account of that name, if there is one. */
  get(alias: string): PooledAccount | undefined {
    return this.#byAlias.get(alias);
  }

  /** Takes over a state; what this process remembers of an alias stays. */
  load(state: PoolState, policy: CreditPolicy): void {
    const byAlias = new Map<string, PooledAccount>();
    this.#latest = 0;
    for (const alias of Object.keys(state.accounts).sort()) {
      const account = state.accounts[alias]!;
      const runner = this.#byAlias.get(alias) ??
        new PooledAccount(alias, account);
      runner.record = account;
      runner.creditsAllowed = maySpend(policy, alias);
      runner.invalidate();
      byAlias.set(alias, runner);
      this.#latest = Math.max(this.#latest, account.lastUsedAt ?? 0);
    }
    this.#byAlias = byAlias;
    this.#runners = [...byAlias.values()];
  }

  /** Forgets all verdicts: to be called when facts changed. */
  invalidate(): void {
    for (const runner of this.#runners) runner.invalidate();
  }

  /** Notes that a request is being sent on an account at `now` (epoch ms). */
  use(runner: PooledAccount, now: number): void {
    runner.sequence = ++this.#uses;
    runner.record.requests = (runner.record.requests ?? 0) + 1;
    runner.record.lastUsedAt = this.#latestUse(now);
  }

  /** Takes back the last use of an account: nothing was sent. */
  release(runner: PooledAccount): void {
    runner.record.requests = Math.max(0, (runner.record.requests ?? 0) - 1);
  }

  /** `now`, unless the clock was set back: then the account just used must not look the longest unused. */
  #latestUse(now: number): number {
    const ahead = this.#latest - now;
    if (ahead <= 0 || ahead > FUTURE_TOLERANCE_MS) this.#latest = now;
    return this.#latest;
  }
}
