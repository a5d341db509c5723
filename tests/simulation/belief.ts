/** What may be believed of one account after all that a process was told, by sections 2 to 4 of the contract. */
import { meterIdOf } from "./account.ts";
import { DAY, MINUTE } from "./clock.ts";
import { MeterBelief, type Observation, type Reading } from "./meter_belief.ts";
import { MAIN, RESERVE, type ShownModel, SPARK } from "./told.ts";
import type { Attempt, Limit, Told } from "./witness.ts";

/** A verdict on one account for one model. */
export interface Standing {
  state: "included" | "unknown" | "exhausted" | "blocked";
  /** A throttle keeps it from serving until then, epoch ms; 0: none. */
  throttledUntil: number;
  /** Nothing was ever told of its credits, or they were last told to be absent. */
  hasUntoldCredits: boolean;
  /** Credits may be spent as far as the facts go. */
  canSpend: boolean;
}

const FRESH = 15 * MINUTE;
/** Nothing hangs on so little, ms. */
const FRESH_SLACK = 5000;

/** Credits as told last. */
interface KnownCredits {
  began: number;
  hasCredits: boolean;
  unlimited: boolean;
  balance: number | null;
}

export class Belief {
  readonly #reading: Reading;
  readonly #isStrict: boolean;
  /** Facts older than this are not fresh, ms. */
  readonly #fresh: number;
  #meters = new Map<string, MeterBelief>();
  #plan: string;
  /** When the last usage answer began that had no rate limit; null: the last one had. */
  #creditOnlySince: number | null = null;
  #usageAt = -Infinity;
  #observedAt = -Infinity;
  #credits: KnownCredits | null = null;
  #noCreditsAt = -Infinity;
  #isCapped = false;
  #hasIndividual = false;
  #refusedUntil = 0;
  #models: Record<string, ShownModel> = {};
  #modelsAt = -Infinity;
  #modelLimits = new Map<string, number>();
  #throttledUntil = 0;
  /** How it stood when these requests were sent. */
  #sent = new WeakMap<Attempt, Standing["state"]>();

  constructor(plan: string, reading: Reading) {
    this.#plan = plan;
    this.#reading = reading;
    this.#isStrict = reading.isStrict;
    this.#fresh = FRESH + (reading.isStrict ? -FRESH_SLACK : FRESH_SLACK);
  }

  /** A copy, to see what a telling would do. */
  clone(): Belief {
    const copy = new Belief(this.#plan, this.#reading);
    for (const [id, meter] of this.#meters) copy.#meters.set(id, meter.clone());
    copy.#creditOnlySince = this.#creditOnlySince;
    copy.#usageAt = this.#usageAt;
    copy.#observedAt = this.#observedAt;
    copy.#credits = this.#credits && { ...this.#credits };
    copy.#noCreditsAt = this.#noCreditsAt;
    copy.#isCapped = this.#isCapped;
    copy.#hasIndividual = this.#hasIndividual;
    copy.#refusedUntil = this.#refusedUntil;
    copy.#models = this.#models;
    copy.#modelsAt = this.#modelsAt;
    copy.#modelLimits = new Map(this.#modelLimits);
    copy.#throttledUntil = this.#throttledUntil;
    return copy;
  }

  sent(attempt: Attempt, now: number): void {
    this.#sent.set(attempt, this.standing(attempt.model, now).state);
  }

  told(told: Told): void {
    const { shown, meters, kind, isRefresh, began, arrived } = told;
    const isUsage = kind === "usage";
    const isNewest = isUsage && began >= this.#usageAt;
    const hadNoCredits = !this.#isStrict && this.#hasNoCredits(arrived);
    this.#learnCredits(told, isNewest);
    const hasNoCredits = hadNoCredits || this.#hasNoCredits(arrived);
    const seen: Observation = { kind, began, arrived, isRefresh, hasNoCredits };
    if (isUsage || meters.length > 0) {
      this.#observedAt = Math.max(this.#observedAt, began);
    }
    const ids = new Set(meters.map(({ id }) => id));
    for (const meter of meters) this.#meter(meter.id).observe(meter, seen);
    if (isNewest) {
      this.#usageAt = began;
      this.#plan = shown.plan;
      for (const [id, meter] of this.#meters) if (!ids.has(id)) meter.forget();
      this.#creditOnlySince = shown.main ? null : began;
      this.#models = shown.models;
      if (!this.#isStrict) this.#modelLimits.clear();
      this.#modelsAt = began;
      this.#isCapped = shown.overageReached || isReached(shown.individual);
      this.#hasIndividual = shown.individual !== null;
    }
  }

  #learnCredits(told: Told, isNewest: boolean): void {
    const { began, arrived, shown: { credits } } = told;
    if (!credits) {
      if (isNewest) this.#credits = null;
      return;
    }
    if (!told.tellsCredits || began < (this.#credits?.began ?? -Infinity)) {
      return;
    }
    const before = this.#credits?.balance ?? null;
    const balance = credits.balance === null
      ? (isNewest ? null : before)
      : Number(credits.balance);
    this.#credits = { ...credits, began, balance };
    if (!credits.hasCredits && !credits.unlimited) this.#noCreditsAt = began;
    else this.#noCreditsAt = -Infinity;
    const was = told.attempt && this.#sent.get(told.attempt);
    const fell = before !== null && balance !== null && balance < before;
    if (this.#isStrict && fell && was === "included") {
      this.#meter(MAIN).chargedUnexpectedly(arrived);
    }
  }

  limited(limit: Limit): void {
    const { attempt, named, isAboutCredits, began, arrived, until } = limit;
    const was = this.#sent.get(attempt);
    const isPaid = was !== "included";
    if (isPaid) this.#refusedUntil = arrived + 5 * MINUTE;
    const meter = this.#meter(meterIdOf(attempt.model));
    if (isAboutCredits) {
      this.#refusedUntil = arrived + 5 * MINUTE;
      if (isPaid) return;
      return meter.limit(arrived + 5 * MINUTE, began, arrived);
    }
    const isMain = !named || named.id === MAIN;
    const hasRoom = named !== null &&
      named.windows.every(({ used }) => used < 100);
    if (isMain && hasRoom) {
      const ends = until ?? arrived + 15 * MINUTE;
      this.#modelLimits.set(attempt.model, Math.max(ends, arrived + MINUTE));
    }
    const isNearlyFull = named?.windows.some(({ used }) => used >= 99.5);
    if (!isMain || !hasRoom || (this.#isStrict && isNearlyFull)) {
      meter.limit(until, began, arrived);
    }
  }

  throttled(until: number): void {
    this.#throttledUntil = Math.max(this.#throttledUntil, until);
  }

  standing(model: string, now: number): Standing {
    return {
      state: this.#state(model, now),
      throttledUntil: this.#throttledUntil > now ? this.#throttledUntil : 0,
      hasUntoldCredits: this.#credits === null,
      canSpend: this.#canSpend(now),
    };
  }

  #state(model: string, now: number): Standing["state"] {
    if ((this.#modelLimits.get(model) ?? 0) > now) return "blocked";
    const id = meterIdOf(model);
    const meter = this.#meters.get(id);
    if (!meter && this.#lacks(id)) return "blocked";
    const isSure = this.#hasNoCredits(now);
    const shut = meter?.state(now) ?? "open";
    const limited = this.#models[model];
    const isLimited = limited !== undefined && !limited.available;
    const limitEnds = limited?.availableAt ?? this.#modelsAt + 15 * MINUTE;
    if (id === MAIN && this.#isCreditOnly(now)) return "exhausted";
    if (shut === "shut" || (isLimited && limitEnds > now)) return "exhausted";
    const isUnseen = this.#observedAt === -Infinity ||
      (id === RESERVE && !meter);
    if (isUnseen) return "unknown";
    if (isSure) return "included";
    const freshAt = this.#isStrict
      ? Math.max(this.#usageAt, meter?.freshAt ?? -Infinity)
      : this.#observedAt;
    const isFresh = freshAt >= now - this.#fresh && freshAt <= now + MINUTE;
    if (!isFresh || shut === "ended") return "unknown";
    return isLimited && this.#isStrict ? "unknown" : "included";
  }

  /** An account that was asked and does not have the meter; Spark also goes to Pro plans. */
  #lacks(id: string): boolean {
    if (id === SPARK) return this.#plan !== "pro";
    return id === RESERVE && this.#usageAt > -Infinity;
  }

  #isCreditOnly(now: number): boolean {
    if (this.#creditOnlySince === null) return false;
    if (!this.#credits) return !this.#hasNoCredits(now);
    return this.#credits.hasCredits || this.#credits.unlimited;
  }

  #hasNoCredits(now: number): boolean {
    return this.#noCreditsAt >= now - DAY;
  }

  #canSpend(now: number): boolean {
    const credits = this.#credits;
    if (!credits || credits.began < now - this.#fresh) return false;
    if (credits.began > now + MINUTE || this.#refusedUntil > now) return false;
    if (!credits.hasCredits && !credits.unlimited) return false;
    if (this.#isCapped) return false;
    return credits.balance === null || this.#hasIndividual ||
      credits.balance > 0;
  }

  #meter(id: string): MeterBelief {
    const known = this.#meters.get(id) ?? new MeterBelief(this.#reading);
    this.#meters.set(id, known);
    return known;
  }
}

function isReached(individual: { limit: number; used: number } | null) {
  // what remains is told with two decimals
  return individual !== null && individual.limit - individual.used < 0.005;
}
