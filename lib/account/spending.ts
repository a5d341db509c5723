/**
 * Paid requests: admitted under the owner's cap, booked by what the balance
 * loses, in all processes that share the store.
 */
import { randomUUID } from "node:crypto";
import { clearTimeout, setTimeout } from "node:timers";
import type { PooledAccount } from "../pool/account_pool.ts";
import {
  type CapVerdict,
  capVerdict,
  endAllForgotten,
  isCapped,
} from "../pool/caps.ts";
import { recordOfLogin } from "../pool/facts.ts";
import {
  cancelPaid,
  costSoFar,
  endPaid,
  startPaid,
  takePaid,
} from "../pool/spending.ts";
import type { PaidRequest } from "../spending_types.ts";
import type { NormalRecord, NormalState } from "../normal_types.ts";
import { delay, withTimeLimit } from "../abort.ts";
import type { AccountContext } from "./context.ts";
import type { UsageChecker } from "./usage_check.ts";

/** A request that only others keep out waits for their cost so long, ms. */
const MAX_WAIT_MS = 60_000;
/** How often it is looked whether their cost is known, ms. */
const LOOK_MS = 200;
/** Under a cap the balance is asked for at most this often, ms. */
const ASK_INTERVAL_MS = 5_000;
/** A burst is over when nothing was paid for so long, ms. */
const BURST_MS = 500;
/** `close` waits for the last balance at most so long, ms. */
const CLOSE_LIMIT_MS = 5_000;
/** A balance that cannot be had is asked for so often. */
const MAX_TRIES = 3;

/** A paid request of this process whose cost is not known yet. */
interface Paid {
  readonly account: PooledAccount;
  readonly id: string;
  hasEnded: boolean;
  tries: number;
  resolve(cost: PaidRequest | undefined): void;
}

/** Whether a paid request may be sent; "outdated": it waited, and an account has to be chosen anew. */
export type Admission =
  | { kind: "open"; /** What names it. */ id: string }
  | { kind: "capped" }
  | { kind: "outdated" };

/** Admits paid requests and finds out what they cost. */
export class Spending {
  readonly #context: AccountContext;
  readonly #usage: UsageChecker;
  readonly #paid = new Map<string, Paid>();
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #askedAt = new Map<string, number>();
  readonly #asking = new Set<Promise<void>>();

  constructor(context: AccountContext, usage: UsageChecker) {
    this.#context = context;
    this.#usage = usage;
  }

  /**
   * Admits a paid request, where the caps allow it; waits for the cost of
   * others where only those keep it out.
   *
   * @param isStillBest Asked once the store was read, and after each wait: the owner may
   * have forbidden it, and what costs nothing may be there by then.
   */
  async admit(
    account: PooledAccount,
    isStillBest: () => boolean,
    signal?: AbortSignal | null,
  ): Promise<Admission> {
    const id = randomUUID();
    const { accounts, cache, now } = this.#context;
    // a change is applied again when it is written, which is later
    const startedAt = now();
    const paid = { account, id, hasEnded: false, tries: 0, resolve: () => {} };
    if (!isCapped(accounts.caps, account.alias)) {
      void cache.writeRecord(account, (it) => startPaid(it, id, startedAt));
      this.#paid.set(id, paid);
      return { kind: "open", id };
    }
    for (let waited = 0; waited <= MAX_WAIT_MS; waited += LOOK_MS) {
      const kind = await this.#tryAdmit(account, id);
      if (kind === "open") {
        this.#paid.set(id, paid);
        if (isStillBest()) return { kind, id };
        this.cancel(account, id);
        return { kind: "outdated" };
      }
      if (kind === "capped") return { kind };
      this.#askSoon(account);
      await delay(LOOK_MS, signal);
      if (!isStillBest()) return { kind: "outdated" };
    }
    return { kind: "capped" };
  }

  /** One admission, in one transaction with what it depends on. */
  async #tryAdmit(
    account: PooledAccount,
    id: string,
  ): Promise<CapVerdict["kind"]> {
    const { accounts, cache } = this.#context;
    const { alias, record } = account;
    const now = this.#context.now();
    let kind: CapVerdict["kind"] = "capped";
    await cache.save((state) => {
      const stored = recordOfLogin(state, alias, record);
      // it may be applied again to what holds it already
      if (!stored || stored.spending?.paid[id]) return;
      endAllForgotten(state.accounts, now);
      ({ kind } = capVerdict(state.accounts, {
        alias: aliasOf(state, stored),
        caps: accounts.caps,
        now,
        countsPending: true,
        spentByRemoved: state.settings.spentByRemoved,
      }));
      if (kind === "open") startPaid(stored, id, now);
    });
    if (!cache.isBehind) return kind;
    // what cannot be booked is not spent
    this.cancel(account, id);
    return "capped";
  }

  /** Forgets a request that cost nothing. */
  cancel(account: PooledAccount, id: string): void {
    this.#paid.delete(id);
    void this.#context.cache.writeRecord(account, (it) => cancelPaid(it, id));
  }

  /**
   * Notes that the answer to a paid request has ended.
   *
   * @returns What it cost, once a balance asked for later tells; undefined when none does.
   */
  end(id: string, tokens: number | null): Promise<PaidRequest | undefined> {
    const paid = this.#paid.get(id);
    if (!paid) return Promise.resolve(undefined);
    paid.hasEnded = true;
    const { cache, now } = this.#context;
    const end = { endedAt: now(), tokens };
    void cache.writeRecord(paid.account, (it) => endPaid(it, id, end));
    this.#askSoon(paid.account);
    return new Promise((resolve) => paid.resolve = resolve);
  }

  /** Asks for the last balances, and waits for them for a while. */
  async close(): Promise<void> {
    for (const { account } of this.#ended()) this.#ask(account);
    try {
      await withTimeLimit({ ms: CLOSE_LIMIT_MS }, async () => {
        while (this.#asking.size > 0) await Promise.all(this.#asking);
      });
    } catch {
      // what is not told by then stays untold
    }
    for (const timer of this.#timers.values()) clearTimeout(timer);
    for (const paid of this.#ended()) this.#settle(paid, undefined);
  }

  #ended(): Paid[] {
    return [...this.#paid.values()].filter((it) => it.hasEnded);
  }

  /** Tells what it cost; where that is not known, what is booked so far. */
  #settle(paid: Paid, cost: PaidRequest | undefined): void {
    const { account: { record }, id, resolve } = paid;
    this.#paid.delete(id);
    resolve(cost ?? costSoFar(record, id));
  }

  /** After a burst, and under a cap every few seconds: requests may wait for it. */
  #askSoon(account: PooledAccount): void {
    const { alias } = account;
    if (this.#timers.has(alias)) return;
    const isUnderCap = isCapped(this.#context.accounts.caps, alias);
    const since = performance.now() - (this.#askedAt.get(alias) ?? -Infinity);
    const wait = isUnderCap ? Math.max(0, ASK_INTERVAL_MS - since) : BURST_MS;
    const timer = setTimeout(() => {
      this.#timers.delete(alias);
      const isBusy = !isUnderCap &&
        [...this.#paid.values()].some((it) =>
          it.account === account && !it.hasEnded
        );
      if (!isBusy) this.#ask(account);
    }, wait);
    timer.unref();
    this.#timers.set(alias, timer);
  }

  #ask(account: PooledAccount): void {
    const { alias } = account;
    clearTimeout(this.#timers.get(alias));
    this.#timers.delete(alias);
    this.#askedAt.set(alias, performance.now());
    const asking = this.#usage.check(alias).then(() => this.#collect(account))
      .catch(() => {})
      .finally(() => this.#asking.delete(asking));
    this.#asking.add(asking);
  }

  /** Takes the costs that are known now out of the store; asks again for the others. */
  async #collect(account: PooledAccount): Promise<void> {
    const own = this.#ended().filter((it) => it.account === account);
    const costs = new Map<string, PaidRequest>();
    await this.#context.cache.writeRecord(account, (record) => {
      for (const { id } of own) {
        const cost = takePaid(record, id);
        if (cost) costs.set(id, cost);
      }
    });
    for (const paid of own) {
      const cost = costs.get(paid.id);
      if (!cost && ++paid.tries < MAX_TRIES) this.#askSoon(account);
      else this.#settle(paid, cost);
    }
  }
}

function aliasOf({ accounts }: NormalState, record: NormalRecord): string {
  return Object.keys(accounts).find((alias) => accounts[alias] === record)!;
}
