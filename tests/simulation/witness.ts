/** What a simulated backend tells of each request and each answer. */
import type { Account } from "./account.ts";
import { now } from "./clock.ts";
import type { Shown, ShownMeter } from "./told.ts";

/** A rotator process, with a clock that may be wrong. */
export interface Process {
  readonly name: string;
  /** How far its clock is ahead, ms. */
  skew: number;
  /** It runs an explicit refresh just now. */
  isRefreshing: boolean;
}

/** What the clock of a process shows, epoch ms. */
export function clockOf(process: Process): number {
  return now() + process.skew;
}

/** One request as it reached an account. */
export interface Attempt {
  /** Whose request it belongs to. */
  readonly request: number;
  readonly process: Process;
  readonly account: Account;
  readonly model: string;
  /** Epoch ms. */
  readonly at: number;
  /** The same by the clock of the process. */
  readonly began: number;
  /** Something was left on the plan when it began. */
  readonly hadIncluded: boolean;
  outcome:
    | "running"
    | "served"
    | "limited"
    | "failed"
    | "throttled"
    | "unsupported";
  /** What it cost, in credits. */
  charged: number;
}

/** What a response tells, at once or in its stream. */
export interface Told {
  kind: "usage" | "headers" | "event";
  /** When it was asked for and when it came, by the clock of the process, epoch ms. */
  began: number;
  arrived: number;
  /** As shown; `meters` are those that this answer speaks of. */
  shown: Shown;
  meters: readonly ShownMeter[];
  tellsCredits: boolean;
  /** The request that it answers; absent for usage. */
  attempt?: Attempt;
  /** It answers an explicit refresh. */
  isRefresh: boolean;
}

/** A 429 about quota. */
export interface Limit {
  attempt: Attempt;
  /** As for what is told. */
  began: number;
  arrived: number;
  /** It came with a code that speaks of credits or of spend limits. */
  isAboutCredits: boolean;
  /** The meter that its headers name; null: no headers. */
  named: ShownMeter | null;
  /** Epoch ms; null: not told. */
  until: number | null;
}

/** Whoever watches the backend. */
export interface Witness {
  asked(process: Process, account: Account): void;
  told(process: Process, account: Account, told: Told): void;
  limited(process: Process, account: Account, limit: Limit): void;
  throttled(attempt: Attempt, until: number): void;
  sent(attempt: Attempt): void;
  charged(attempt: Attempt): void;
}

/** Tells all of these the same. */
export function broadcast(all: readonly Witness[]): Witness {
  return {
    asked: (...it) => all.forEach((witness) => witness.asked(...it)),
    told: (...it) => all.forEach((witness) => witness.told(...it)),
    limited: (...it) => all.forEach((witness) => witness.limited(...it)),
    throttled: (...it) => all.forEach((witness) => witness.throttled(...it)),
    sent: (...it) => all.forEach((witness) => witness.sent(...it)),
    charged: (...it) => all.forEach((witness) => witness.charged(...it)),
  };
}
