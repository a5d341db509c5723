import {
  meterFacts,
  type MeterNames,
  meterNames,
  meterOfModel,
  ownMeterNames,
} from "../meters.ts";
import type { CreditPolicy } from "../report_types.ts";
import type { CreditCaps } from "../spending_types.ts";
import type { NormalRecord, NormalState } from "../normal_types.ts";
import { FUTURE_TOLERANCE_MS } from "./clock.ts";
import { currentCooldowns } from "./cooldowns.ts";
import {
  type CapPolicy,
  type CapVerdict,
  capVerdict,
  isCapped,
} from "./caps.ts";
import { maySpend } from "./credits.ts";
import { believableUsage, isSameLogin } from "./facts.ts";
import { assess, type Assessment } from "./standing.ts";

/** An account that failed goes behind the others for this long, ms; doubled each time until it serves. */
const FAILING_MS = 60_000;
/** No longer than this, ms. */
const MAX_FAILING_MS = 15 * 60_000;

/**
 * One account as a candidate: its record, and what choosing remembers of it in
 * this process. Keeps its last verdict for as long as that holds.
 */
export class PooledAccount {
  readonly alias: string;
  record: NormalRecord;
  creditsAllowed = false;
  /** Meters of all accounts of the pool, of one name its own. */
  names: MeterNames = new Map();
  /** What the caps say of one more paid request at a time (epoch ms); undefined: no cap binds it. */
  capAt: ((now: number) => CapVerdict) | undefined;
  /** Position of its last use among all uses in this process; orders uses of one millisecond. */
  sequence = 0;
  /** Requests given to it since its last answer: what they take is not told yet. */
  unanswered = 0;
  /** How often the backend limited it in this process; tells answers asked for before from those after. */
  limits = 0;
  /** How much of the next pick is its own by smooth weighted round robin; undefined before its first. */
  owed: number | undefined;
  #failures = 0;
  #failingUntil = -Infinity;
  #verdict: Assessment | undefined;
  #model: string | undefined;
  #madeAt = 0;

  constructor(alias: string, record: NormalRecord) {
    this.alias = alias;
    this.record = record;
  }

  /** Forgets what was derived: to be called when the facts changed. */
  invalidate(): void {
    this.#verdict = undefined;
  }

  assess(model: string | undefined, now: number): Assessment {
    const known = this.#verdict;
    if (
      known && now < known.validUntil && now >= this.#madeAt &&
      this.#model === model
    ) return known;
    const { creditsAllowed, names } = this;
    this.#model = model;
    this.#madeAt = now;
    return this.#verdict = assess(this.record, {
      model,
      creditsAllowed,
      names,
      now,
      cap: this.capAt?.(now),
    });
  }

  /** Whether its last answer (epoch ms) was an overload, a gateway's error or a broken connection. */
  isFailing(now: number): boolean {
    return now < this.#failingUntil;
  }

  /** Puts it behind the others for a while, from `now` (epoch ms) on. */
  fail(now: number): void {
    // parallel requests that fail together are one failure
    if (this.isFailing(now) && this.#failures > 0) return;
    const pause = Math.min(FAILING_MS * 2 ** this.#failures, MAX_FAILING_MS);
    this.#failures++;
    this.#failingUntil = now + pause;
  }

  /** It serves: whatever failed before is over. */
  serve(): void {
    this.#failures = 0;
    this.#failingUntil = -Infinity;
  }

  fullestPercent(model: string | undefined): number {
    const meter = meterFacts(this.record, meterOfModel(model, this.names));
    const used = meter?.windows.map(({ usedPercent }) => usedPercent) ?? [];
    return Math.max(0, ...used);
  }
}

/** All accounts as candidates, in step with the state. */
export class AccountPool {
  #byAlias = new Map<string, PooledAccount>();
  /** Every account, sorted by alias. */
  all: readonly PooledAccount[] = [];
  /** Those that may serve at all, by what the owner pinned. */
  candidates: readonly PooledAccount[] = [];
  /** The name of the only account that may serve; null when all may. */
  pinned: string | null = null;
  /** Who may spend credits: nobody before it is known. */
  policy: CreditPolicy = { allow: "none", source: "default" };
  capPolicy: CapPolicy = { caps: {} };
  /** What accounts had spent that were removed, by UTC day. */
  spentByRemoved: Record<string, string> = {};
  #uses = 0;
  /** The latest use that is known, epoch ms. */
  #latest = 0;

  get caps(): CreditCaps {
    return this.capPolicy.caps;
  }

  get(alias: string): PooledAccount | undefined {
    return this.#byAlias.get(alias);
  }

  /**
   * Takes over a state, changed in place where another clock wrote it. What this
   * process remembers belongs to a login, not to its name.
   */
  load(state: NormalState, policy: CreditPolicy, now: number): void {
    const byAlias = new Map<string, PooledAccount>();
    this.policy = policy;
    const { spentByRemoved = {} } = state.settings;
    this.spentByRemoved = spentByRemoved;
    this.#latest = 0;
    for (const alias of Object.keys(state.accounts).sort()) {
      const record = state.accounts[alias]!;
      if (record.usage) record.usage = believableUsage(record.usage, now);
      record.cooldowns = currentCooldowns(record.cooldowns, now);
      const known = this.#byAlias.get(alias);
      const account = known && isSameLogin(known.record, record)
        ? known
        : new PooledAccount(alias, record);
      account.record = record;
      account.creditsAllowed = maySpend(policy, alias);
      account.capAt = isCapped(this.caps, alias)
        ? (at) => {
          const query = { alias, caps: this.caps, now: at, spentByRemoved };
          return capVerdict(state.accounts, { ...query, countsPending: false });
        }
        : undefined;
      byAlias.set(alias, account);
      this.#latest = Math.max(this.#latest, record.lastUsedAt ?? 0);
    }
    this.#byAlias = byAlias;
    this.all = [...byAlias.values()];
    const { pinned } = state.settings;
    this.pinned = pinned;
    this.candidates = pinned === null
      ? this.all
      : this.all.filter(({ alias }) => alias === pinned);
    this.invalidate();
  }

  /** Forgets all verdicts: to be called when facts changed. */
  invalidate(): void {
    const names = meterNames(this.all.map(({ record }) => record));
    for (const account of this.all) {
      account.names = ownMeterNames(account.record, names);
      account.invalidate();
    }
  }

  /** Counts a use of an account; returns what takes it back: nothing was sent. */
  use(account: PooledAccount, now: number): () => void {
    const { sequence: before, record: { lastUsedAt } } = account;
    const usedAt = this.#latestUse(now);
    const sequence = ++this.#uses;
    account.sequence = sequence;
    account.unanswered++;
    account.record.requests++;
    account.record.lastUsedAt = usedAt;
    return () => {
      const { record } = account;
      account.unanswered = Math.max(0, account.unanswered - 1);
      record.requests = Math.max(0, record.requests - 1);
      if (account.sequence !== sequence) return;
      record.lastUsedAt = lastUsedAt;
      account.sequence = before;
    };
  }

  /** `now`, unless the clock was set back: then the account just used must not look the longest unused. */
  #latestUse(now: number): number {
    const ahead = this.#latest - now;
    if (ahead <= 0 || ahead > FUTURE_TOLERANCE_MS) this.#latest = now;
    return this.#latest;
  }
}
