/** What the contract says of choosing besides money: bursts spread, failures move on, nobody is asked too often. */
import type { Account } from "./account.ts";
import { MINUTE, now, SECOND } from "./clock.ts";
import type { Choice, Duties } from "./duties.ts";
import type { Fleet } from "./fleet.ts";
import type { Attempt, Process } from "./witness.ts";

/** Accounts that a burst could be served by when it began. */
export interface Burst {
  choice: Choice;
  /** How many requests. */
  width: number;
  accounts: readonly Account[];
}

/** Plans that go first inside a pool, as one group. */
const PREFERRED = ["pro", "prolite", "promax"];
/** A failing account may go behind the others for as long, ms. */
const FAILING = 15 * MINUTE;

export class Conduct {
  readonly #fleet: Fleet;
  readonly #duties: Duties;
  readonly #askedAt = new Map<Process, Map<Account, number>>();
  readonly #refreshedAt = new Map<Process, number>();
  readonly #paidAt = new Map<Account, number>();
  readonly #failedAt = new Map<Account, number>();

  constructor(fleet: Fleet, duties: Duties) {
    this.#fleet = fleet;
    this.#duties = duties;
  }

  /** Whether this process asked the account less than 60 s ago, though nobody wanted that. */
  asked(process: Process, account: Account): boolean {
    const all = this.#askedAt.get(process) ?? new Map<Account, number>();
    this.#askedAt.set(process, all);
    const before = all.get(account) ?? -Infinity;
    all.set(account, now());
    if (process.isRefreshing) this.#refreshedAt.set(process, now());
    const refreshedAt = this.#refreshedAt.get(process) ?? -Infinity;
    // after a request that may be paid the balance may be asked for
    const paidAt = this.#paidAt.get(account) ?? -Infinity;
    const isExcused = now() - Math.max(refreshedAt, paidAt) < 20 * MINUTE;
    if (isExcused || this.#fleet.setsClocks) return false;
    return now() - before < 60 * SECOND - 5;
  }

  sent(attempt: Attempt): void {
    const standings = this.#duties.standings(attempt.account, attempt);
    if (standings.every(({ state }) => state === "included")) return;
    this.#paidAt.set(attempt.account, now());
  }

  failed(account: Account): void {
    this.#failedAt.set(account, now());
  }

  /** The account that has to be tried before a failure is returned. */
  untried(tried: readonly Attempt[], choice: Choice): Account | undefined {
    const failures = tried.filter(({ outcome }) => outcome === "failed");
    if (failures.length !== tried.length || failures.length > 2) {
      return undefined;
    }
    // what may have been charged is not repeated
    const isPaid = (account: Account) =>
      this.#duties.standings(account, choice).some(({ state }) =>
        state !== "included"
      );
    if (tried.some(({ account }) => isPaid(account))) return undefined;
    return this.#fleet.accounts.find((account) =>
      tried.every((attempt) => attempt.account !== account) &&
      account.isIncluded(choice.model, now()) &&
      account.trouble.throttled <= now() &&
      !this.#duties.isThrottled(account, choice) &&
      this.#duties.mustKnow(account, choice) === "known"
    );
  }

  /** A burst without a session begins. */
  begin(choice: Choice, width: number): Burst {
    const { accounts } = this.#fleet;
    const open = accounts.filter((account) => this.#canServe(account, choice));
    const best = Math.max(...open.map(rank));
    return {
      choice,
      width,
      accounts: open.filter((account) => rank(account) === best),
    };
  }

  /** The account that a burst left idle though it would have been its turn. */
  idle(burst: Burst, attempts: readonly Attempt[]): Account | undefined {
    const { options: { strategy } } = this.#fleet;
    const { accounts, choice, width } = burst;
    const isLarge = width >= 2 * accounts.length;
    if (strategy !== "round-robin" || !isLarge) return undefined;
    return accounts.find((account) =>
      account.options.owner.reserve === 0 &&
      this.#canServe(account, choice) &&
      attempts.every((attempt) => attempt.account !== account)
    );
  }

  #canServe(account: Account, choice: Choice): boolean {
    const { overloaded, throttled, usageDown } = account.trouble;
    if (Math.max(overloaded, throttled, usageDown) > now()) return false;
    const failedAt = this.#failedAt.get(account) ?? -Infinity;
    if (now() - failedAt < FAILING) return false;
    if (!account.isIncluded(choice.model, now())) return false;
    return this.#duties.standings(account, choice).every((it) =>
      (it.state === "included" || it.state === "unknown") &&
      it.throttledUntil === 0
    );
  }
}

/** The higher, the sooner it is chosen, whatever the strategy. */
function rank({ options: { plan, owner } }: Account): number {
  return 2 * owner.priority + (PREFERRED.includes(plan) ? 1 : 0);
}
