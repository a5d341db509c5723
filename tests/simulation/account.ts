/** What is true of one simulated account, whatever it tells. */
import { HOUR, MINUTE } from "./clock.ts";
import {
  MAIN,
  RESERVE,
  type Shown,
  type ShownMeter,
  type ShownModel,
  SPARK,
} from "./told.ts";

export const FIVE_HOURS = 5 * 3600;
export const WEEK = 7 * 86_400;
export const MONTH = 30 * 86_400;

/** A window begins with its first request and is over after its length. */
export interface TrueWindow {
  seconds: number;
  /** Percent; above the meter's limit nothing is left. */
  used: number;
  /** Epoch ms; null while nothing was used. */
  resetsAt: number | null;
}

export interface TrueMeter {
  id: string;
  limitName: string;
  windows: TrueWindow[];
  /** The percentage at which it refuses; above 100 for accounts that are served although full. */
  limit: number;
}

export interface TrueCredits {
  hasCredits: boolean;
  unlimited: boolean;
  /** null: the balance is not told, a cap is what counts. */
  balance: number | null;
  /** Bought by itself when the balance runs out. */
  topUp: number;
}

/** Until when something is wrong with an account, epoch ms. */
export interface Trouble {
  /** Answers 503, or fails in the stream. */
  overloaded: number;
  /** Answers 429 without any quota code. */
  throttled: number;
  /** The backend counts it as full while it shows room. */
  disagrees: number;
  /** Refuses to spend credits that are there. */
  creditsRefused: number;
  /** Its usage cannot be asked. */
  usageDown: number;
  /** Windows go on counting although their reset has passed. */
  overrun: number;
  /** Refused by flags alone, below 100 %. */
  flagged: number;
}

/** How an account is made. */
export interface AccountOptions {
  alias: string;
  plan: string;
  meters: TrueMeter[];
  credits: TrueCredits | null;
  individual: { limit: number; used: number } | null;
  /** What an ordinary request takes of each window, by its length, percent. */
  costs: Record<number, number>;
  /** Requests of this account count when they begin or when they end. */
  settles: "start" | "end";
  /** How old an answer of its usage endpoint can be, ms. */
  cacheMs: number;
  tellsCredits: boolean;
  tellsEvents: boolean;
  /** Usage now and then tells another anchor of the longest window, this far off, ms. */
  flipMs: number;
  bankedResets: number;
  /** Headers name windows this much too short, minutes. */
  minutesOff: number;
  /** Headers leave out windows of which nothing was used. */
  hidesUnused: boolean;
  /** Usage answers and events never speak of its credits. */
  hidesCredits: boolean;
  /** What the owner set for it. */
  owner: { priority: number; reserve: number; weight: number };
}

/** What becomes of a request on an account. */
export type Verdict =
  | { kind: "included"; meter: TrueMeter | null }
  | { kind: "charged"; meter: TrueMeter | null }
  | { kind: "limit"; meter: TrueMeter | null; about: "meter" | "model" }
  | { kind: "credits-refused"; meter: TrueMeter | null }
  | { kind: "unsupported" };

export class Account {
  readonly options: AccountOptions;
  readonly models: Record<string, ShownModel> = {};
  readonly trouble: Trouble = {
    overloaded: 0,
    throttled: 0,
    disagrees: 0,
    creditsRefused: 0,
    usageDown: 0,
    overrun: 0,
    flagged: 0,
  };
  overageReached = false;
  /** What usage answers from until it is too old. */
  cached: { at: number; shown: Shown } | undefined;

  constructor(options: AccountOptions) {
    this.options = options;
  }

  get alias(): string {
    return this.options.alias;
  }

  /** The meter that this model counts on; undefined: the account lacks it; null: no plan, only credits. */
  meterOf(model: string): TrueMeter | null | undefined {
    const id = meterIdOf(model);
    const found = this.options.meters.find((meter) => meter.id === id);
    return found ?? (id === MAIN ? null : undefined);
  }

  /** What would become of a request that began now. */
  judge(model: string, now: number): Verdict {
    this.#roll(now);
    const meter = this.meterOf(model);
    if (meter === undefined) return { kind: "unsupported" };
    const limited = this.models[model];
    if (
      limited && !limited.available &&
      (limited.availableAt === null || limited.availableAt > now)
    ) {
      return limited.creditsWouldEnable && this.canSpend(now)
        ? { kind: "charged", meter }
        : { kind: "limit", meter, about: "model" };
    }
    const isMain = !meter || meter.id === MAIN;
    const isFull = !meter || isUsedUp(meter) ||
      (isMain && Math.max(this.trouble.disagrees, this.trouble.flagged) > now);
    if (!isFull) return { kind: "included", meter };
    if (!isMain) return { kind: "limit", meter, about: "meter" };
    if (this.canSpend(now)) return { kind: "charged", meter };
    return this.#hasCredits()
      ? { kind: "credits-refused", meter }
      : { kind: "limit", meter, about: "meter" };
  }

  /** Whether a request would be served on the plan now. */
  isIncluded(model: string, now: number): boolean {
    return this.judge(model, now).kind === "included";
  }

  #hasCredits(): boolean {
    const { credits } = this.options;
    return credits !== null && (credits.hasCredits || credits.unlimited);
  }

  canSpend(now: number): boolean {
    const { credits, individual } = this.options;
    if (!credits || !this.#hasCredits()) return false;
    if (this.overageReached || this.trouble.creditsRefused > now) return false;
    if (individual && individual.used >= individual.limit) return false;
    return credits.unlimited || credits.balance === null || credits.balance > 0;
  }

  /** Books included usage; windows that had not begun begin now. */
  use(meter: TrueMeter, cost: (seconds: number) => number, now: number): void {
    this.#roll(now);
    for (const window of meter.windows) {
      window.resetsAt ??= now + window.seconds * 1000;
      window.used = Math.min(meter.limit, window.used + cost(window.seconds));
    }
  }

  /** Books a charge, in credits. */
  charge(amount: number): void {
    const { credits, individual } = this.options;
    if (individual) individual.used += amount;
    if (!credits || credits.balance === null) return;
    credits.balance = Math.max(0, credits.balance - amount);
    if (credits.balance > 0 || credits.unlimited) return;
    credits.balance = credits.topUp;
    credits.hasCredits = credits.topUp > 0;
  }

  addCredits(amount: number): void {
    const { credits } = this.options;
    if (!credits || credits.balance === null) return;
    credits.balance += amount;
    credits.hasCredits = true;
  }

  /** The backend starts all windows afresh before their time. */
  resetEarly(): void {
    for (const window of this.options.meters.flatMap((it) => it.windows)) {
      window.used = 0;
      window.resetsAt = null;
    }
  }

  /** What the account shows of itself now. */
  show(now: number): Shown {
    this.#roll(now);
    const { plan, meters, credits, individual, bankedResets, hidesCredits } =
      this.options;
    const shown = meters.map((meter) => this.#showMeter(meter, now));
    return {
      plan,
      main: shown.find(({ id }) => id === MAIN) ?? null,
      others: shown.filter(({ id }) => id !== MAIN),
      credits: hidesCredits ? null : credits && {
        hasCredits: credits.hasCredits,
        unlimited: credits.unlimited,
        balance: credits.balance === null ? null : credits.balance.toFixed(2),
      },
      overageReached: this.overageReached,
      individual: individual && { ...individual },
      models: structuredClone(this.models),
      bankedResets,
    };
  }

  #showMeter(meter: TrueMeter, now: number): ShownMeter {
    const isMain = meter.id === MAIN;
    const hides = isMain && this.trouble.disagrees > now;
    const isFull = (isUsedUp(meter) && !hides) ||
      (isMain && this.trouble.flagged > now);
    return {
      id: meter.id,
      limitName: meter.limitName,
      allowed: !isFull,
      limitReached: isFull,
      windows: meter.windows.map(({ used, seconds, resetsAt }) => ({
        used: Math.min(hides ? 60 : 100, Math.round(used * 100) / 100),
        seconds,
        resetsAt: Math.floor((resetsAt ?? now + seconds * 1000) / 1000) * 1000,
      })),
    };
  }

  /** Starts afresh the windows that are over. */
  #roll(now: number): void {
    if (this.trouble.overrun > now) return;
    for (const window of this.options.meters.flatMap((it) => it.windows)) {
      if (window.resetsAt === null || window.resetsAt > now) continue;
      window.used = 0;
      window.resetsAt = null;
    }
  }
}

function isUsedUp({ windows, limit }: TrueMeter): boolean {
  return windows.some(({ used }) => used >= limit);
}

export function meterIdOf(model: string): string {
  if (model.startsWith("gpt-5.3-codex-spark")) return SPARK;
  return model === "gpt-reserve" ? RESERVE : MAIN;
}

/** How much more than an ordinary one a request to these models takes. */
const MODEL_COSTS: Record<string, number> = { "gpt-6-astra": 2 };

/** What one request takes of a window, percent; `size` is 1 for an ordinary one. */
export function costOf({ options }: Account, model: string, size: number) {
  const factor = size * (MODEL_COSTS[model] ?? 1);
  return (seconds: number): number => factor * (options.costs[seconds] ?? 1);
}

/** How long the troubles last, ms: from, to. */
export const DURATIONS: Record<keyof Trouble, [number, number]> = {
  overloaded: [10 * MINUTE, 8 * HOUR],
  throttled: [5_000, 12 * MINUTE],
  disagrees: [2 * MINUTE, 90 * MINUTE],
  creditsRefused: [MINUTE, HOUR],
  usageDown: [MINUTE, 3 * HOUR],
  overrun: [MINUTE, 6 * HOUR],
  flagged: [5 * MINUTE, 2 * HOUR],
};
