/** What the contract obliges each process to know of each account, by every reading of it. */
import type { Account } from "./account.ts";
import type { Standing } from "./belief.ts";
import { MINUTE, now, SECOND } from "./clock.ts";
import { metersOf, wholePercent } from "./told.ts";
import { readingsOf, Viewpoint } from "./viewpoint.ts";
import {
  type Attempt,
  clockOf,
  type Limit,
  type Process,
  type Told,
} from "./witness.ts";

/** A choice: which process makes it, for which model. */
export interface Choice {
  process: Process;
  model: string;
}

/** A throttle longer than this no longer keeps a request from spending, ms. */
const LONG_THROTTLE = 15 * MINUTE;

export class Duties {
  readonly #accounts: readonly Account[];
  readonly #views = new Map<Process, Viewpoint[]>();
  readonly #askedAt = new Map<Account, number>();
  /** Clocks differ by this much, ms. */
  readonly #skew: number;

  constructor(
    accounts: readonly Account[],
    processes: readonly Process[],
    skew: number,
  ) {
    this.#accounts = accounts;
    this.#skew = skew;
    for (const process of processes) {
      const open = (it: Viewpoint["reading"]) =>
        new Viewpoint(process, it, accounts);
      this.#views.set(process, readingsOf(skew).map(open));
    }
  }

  asked(account: Account): void {
    this.#askedAt.set(account, now());
  }

  told(process: Process, account: Account, told: Told): void {
    for (const view of this.#all()) view.told(process, account, told);
  }

  limited(process: Process, account: Account, limit: Limit): void {
    for (const view of this.#all()) view.limited(process, account, limit);
  }

  throttled(attempt: Attempt, until: number): void {
    for (const view of this.#all()) view.throttled(attempt, until);
  }

  sent(attempt: Attempt): void {
    for (const view of this.#views.get(attempt.process)!) view.sent(attempt);
  }

  /** How an account may stand, by all readings. */
  standings(account: Account, { process, model }: Choice): Standing[] {
    return this.#views.get(process)!.map((view) =>
      view.standing(account, model)
    );
  }

  /** Whether an account may have been asked so lately that it need not be asked again. */
  wasAsked(account: Account): boolean {
    const askedAt = this.#askedAt.get(account) ?? -Infinity;
    return now() - askedAt < 62 * SECOND + this.#skew;
  }

  /**
   * Whether a process must know that an account, which is included in truth,
   * is so: by what was told, or since it had to ask. A throttle of less than 15
   * minutes changes nothing about that.
   */
  mustKnow(account: Account, choice: Choice): "known" | "askable" | "no" {
    const standings = this.standings(account, choice);
    const limit = clockOf(choice.process) + LONG_THROTTLE - MINUTE;
    if (standings.some((it) => it.throttledUntil > limit)) return "no";
    if (standings.every(({ state }) => state === "included")) return "known";
    if (standings.some(({ state }) => state === "blocked")) return "no";
    if (standings.some(({ throttledUntil }) => throttledUntil > 0)) return "no";
    const isUnknown = standings.every(({ state }) => state === "unknown");
    if (!isUnknown && this.isHeld(choice)) return "no";
    return this.#wouldOpen(account, choice) ? "askable" : "no";
  }

  /** Whether a process must know that an account can be paid for and serve. */
  mustPay(account: Account, choice: Choice): boolean {
    return this.standings(account, choice).every((it) =>
      it.state === "exhausted" && it.throttledUntil === 0 && it.canSpend
    );
  }

  /** Whether an account keeps a process from serving: it waits, or the throttle is told to the caller. */
  isThrottled(account: Account, choice: Choice): boolean {
    return this.standings(account, choice).some((it) => it.throttledUntil > 0);
  }

  /** Whether some account may count as included, so that no later pool opens. */
  isHeld(choice: Choice): boolean {
    return this.#accounts.some((account) =>
      this.standings(account, choice).some(({ state }) => state === "included")
    );
  }

  /** Whether the account had to be asked, and its answer would let it serve. */
  #wouldOpen(account: Account, { process, model }: Choice): boolean {
    if (this.wasAsked(account) || account.trouble.usageDown > now()) {
      return false;
    }
    // which of two anchors it would tell is not known beforehand
    if (account.options.flipMs !== 0) return false;
    const told = usageOf(process, account);
    return this.#views.get(process)!.every((view) =>
      view.wouldOpen(account, model, told)
    );
  }

  #all(): Viewpoint[] {
    return [...this.#views.values()].flat();
  }
}

/** What an account would tell if it were asked now, out of the oldest cache. */
function usageOf(process: Process, account: Account): Told {
  const { cached, options: { cacheMs } } = account;
  const isCached = cached && now() - cached.at < cacheMs + 2 * SECOND;
  const shown = wholePercent(isCached ? cached.shown : account.show(now()));
  return {
    kind: "usage",
    began: clockOf(process),
    arrived: clockOf(process),
    shown,
    meters: metersOf(shown),
    tellsCredits: true,
    isRefresh: false,
  };
}
