/**
 * What may be believed of one meter after all that was told of it, by the
 * contract's sections 2 and 4. Where the contract can be read in two ways the
 * strict reading opens a meter later and the lenient one sooner.
 */
import { HOUR, MINUTE } from "./clock.ts";
import type { ShownMeter, ShownWindow } from "./told.ts";

/** How to read the contract where it can be read in two ways. */
export interface Reading {
  /** Opens a meter as late as the text allows, else as soon. */
  isStrict: boolean;
  /** Clocks of processes differ by this much, ms. */
  slack: number;
}

/** One telling of a meter. */
export interface Observation {
  kind: "usage" | "headers" | "event";
  /** By the clock of the process that was told, epoch ms. */
  began: number;
  arrived: number;
  isRefresh: boolean;
  /** An observation of the last 24 h says that the account has no credits. */
  hasNoCredits: boolean;
}

interface KnownWindow extends ShownWindow {
  firstArrived: number;
  lastArrived: number;
  /** The flags of its own usage answer said that it serves although full. */
  isOutranked: boolean;
}

/** A reason why a meter is shut; stays until an observation takes it away. */
interface Blocker {
  cause: "window" | "flags" | "cooldown" | "charge";
  /** Length of the window it is about. */
  seconds?: number;
  began: number;
  arrived: number;
  /** Epoch ms; afterwards the meter is unknown until it is seen open. */
  ends: number;
  /** The lengths of the windows that the flags are about. */
  blamed?: number[];
  /** When a header or an event showed it last, epoch ms. */
  answerArrived?: number | undefined;
  /** Usage cannot take it away before, epoch ms. */
  firmUntil?: number;
}

/** How a told window relates to what was known of that length. */
type Relation = "first" | "same" | "corrected" | "new" | "old";

/** Percent from which a window may count as full: 99.5 % is told as 100. */
const NEARLY_FULL = 99.5;
const UNKNOWN_RESET = 15 * MINUTE;
const CACHE = 2 * MINUTE;
const FIRM = [0, 15 * MINUTE, HOUR, 6 * HOUR];

export class MeterBelief {
  readonly #reading: Reading;
  readonly #isStrict: boolean;
  /** A usage answer asked for this much later is no old news, ms. */
  readonly #cache: number;
  /** Percent from which a window counts as full. */
  readonly #full: number;
  #windows: KnownWindow[] = [];
  #blockers: Blocker[] = [];
  #openedAt = 0;
  #clearedAt = -Infinity;
  #firmness = 0;
  /** When any telling of this meter began, epoch ms. */
  freshAt = -Infinity;

  constructor(reading: Reading) {
    const { isStrict, slack } = reading;
    this.#reading = reading;
    this.#isStrict = isStrict;
    this.#cache = CACHE + (isStrict ? slack : -slack);
    this.#full = isStrict ? NEARLY_FULL : 100;
  }

  /** Whether it is shut, open, or was shut until the clock alone ended that. */
  state(now: number): "open" | "shut" | "ended" {
    if (this.#blockers.length === 0) return "open";
    return this.#blockers.some(({ ends }) => ends > now) ? "shut" : "ended";
  }

  /** When it is no longer shut for sure, epoch ms. */
  get ends(): number {
    return Math.max(0, ...this.#blockers.map(({ ends }) => ends));
  }

  /** A copy, to see what a telling would do. */
  clone(): MeterBelief {
    const copy = new MeterBelief(this.#reading);
    copy.#windows = structuredClone(this.#windows);
    copy.#blockers = structuredClone(this.#blockers);
    copy.#openedAt = this.#openedAt;
    copy.#clearedAt = this.#clearedAt;
    copy.#firmness = this.#firmness;
    copy.freshAt = this.freshAt;
    return copy;
  }

  observe(told: ShownMeter, seen: Observation): void {
    this.freshAt = Math.max(this.freshAt, seen.began);
    const hasFlags = seen.kind !== "headers";
    const isOpen = hasFlags && told.allowed && !told.limitReached;
    const relations = new Map<number, Relation>();
    for (const window of told.windows) {
      const relation = this.#relate(window, seen);
      relations.set(window.seconds, relation);
      if (relation !== "old") this.#take(window, relation, isOpen, seen);
    }
    if (seen.kind === "usage") this.#dropOthers(told);
    const isStale = [...relations.values()].includes("old");
    const isRefused = hasFlags && !isOpen;
    if (isRefused) this.#refuse(told, isStale, seen);
    else this.#open(told, { relations, isStale, isOpen, seen });
  }

  /** A usage answer no longer speaks of this meter. */
  forget(): void {
    this.#windows = [];
    this.#blockers = this.#blockers.filter(({ cause }) =>
      cause === "cooldown" || cause === "charge"
    );
  }

  /** A 429 about this meter. */
  limit(until: number | null, began: number, arrived: number): void {
    const full = this.#windows.filter(({ used }) => used >= this.#full);
    const known = full.map(({ resetsAt }) => resetsAt);
    let ends = until ?? (full.length > 0 ? Math.max(...known) : undefined) ??
      arrived + UNKNOWN_RESET;
    if (ends <= arrived) ends = arrived + MINUTE;
    const isBack = arrived - this.#clearedAt <= 5 * MINUTE;
    this.#firmness = isBack ? Math.min(3, this.#firmness + 1) : 0;
    const firmUntil = arrived + FIRM[this.#firmness]!;
    for (const window of this.#windows) window.isOutranked = false;
    this.#put({ cause: "cooldown", began, arrived, ends, firmUntil });
  }

  /** The balance fell over a request that was thought included. */
  chargedUnexpectedly(arrived: number): void {
    const began = arrived;
    this.#put({ cause: "charge", began, arrived, ends: arrived });
  }

  #relate(told: ShownWindow, seen: Observation): Relation {
    const known = this.#known(told.seconds);
    if (!known) return "first";
    const shift = told.resetsAt - known.resetsAt;
    if (shift > MINUTE) return "new";
    const since = this.#isStrict ? known.lastArrived : known.firstArrived;
    const isLater = seen.began >= since + this.#cache ||
      (!this.#isStrict && seen.isRefresh);
    if (shift >= -MINUTE) {
      if (told.used >= known.used) return "same";
    } else if (told.used > known.used) {
      if (this.#isStrict || told.resetsAt > seen.arrived) return "corrected";
    }
    return isLater ? "corrected" : "old";
  }

  #take(
    told: ShownWindow,
    relation: Relation,
    isOpen: boolean,
    seen: Observation,
  ): void {
    const known = this.#known(told.seconds);
    const isSame = relation === "same" && known !== undefined;
    const isFull = told.used >= this.#full;
    const hasWord = isOpen && (seen.kind === "usage" || !this.#isStrict);
    const wasOutranked = isSame && known.isOutranked &&
      seen.kind !== "usage" && seen.hasNoCredits;
    const isOutranked = isFull &&
      (wasOutranked || (hasWord && !this.#isHeld(seen, told.seconds)));
    const isLate = relation === "new" && !isOpen && this.#isStrict &&
      this.#blockers.some(({ cause, arrived }) =>
        cause === "window" && seen.arrived - arrived <= UNKNOWN_RESET
      );
    this.#windows = this.#windows.filter((it) => it !== known);
    this.#windows.push({
      ...told,
      isOutranked,
      firstArrived: isSame && told.used === known.used
        ? known.firstArrived
        : seen.arrived,
      lastArrived: seen.arrived,
    });
    const { seconds, resetsAt: ends } = told;
    const { began, arrived } = seen;
    if (isFull && !isOutranked) {
      const answerArrived = seen.kind === "usage"
        ? this.#answerArrived(seconds)
        : arrived;
      const cause = "window";
      this.#put({ cause, seconds, began, arrived, ends, answerArrived });
    } else if (relation !== "same" || isOutranked) {
      if (!isLate) this.#remove((it) => it.seconds === seconds);
    }
  }

  /** Flags do not outrank what an answer showed less than 2 minutes before, where credits may be spent. */
  #isHeld({ began, hasNoCredits }: Observation, seconds: number): boolean {
    const shown = this.#answerArrived(seconds);
    if (hasNoCredits || shown === undefined) return false;
    return began < shown + this.#cache;
  }

  /** When a header or an event last showed this window full, while it is shut. */
  #answerArrived(seconds: number): number | undefined {
    return this.#blockers.find((it) => it.seconds === seconds)?.answerArrived;
  }

  #refuse(told: ShownMeter, isStale: boolean, seen: Observation): void {
    const { began, arrived } = seen;
    if (!this.#isStrict && (isStale || began < this.#openedAt)) return;
    const full = told.windows.filter(({ used }) => used >= this.#full);
    const fullest = told.windows.toSorted((a, b) => b.used - a.used);
    const about = full.length > 0 ? full : fullest.slice(0, 1);
    const resets = about.map(({ resetsAt }) => resetsAt);
    const ends = about.length > 0 ? Math.max(...resets) : began + UNKNOWN_RESET;
    const blamed = about.map(({ seconds }) => seconds);
    this.#put({ cause: "flags", began, arrived, ends, blamed });
  }

  /** Takes away what this observation shows to be over. */
  #open(
    told: ShownMeter,
    { relations, isStale, isOpen, seen }: {
      relations: ReadonlyMap<number, Relation>;
      isStale: boolean;
      isOpen: boolean;
      seen: Observation;
    },
  ): void {
    const isFull = this.#windows.some(({ used, isOutranked, seconds }) =>
      relations.has(seconds) && used >= this.#full && !isOutranked
    );
    if (isFull || told.windows.length === 0) return;
    if (isStale && this.#isStrict) return;
    const { began, arrived, kind } = seen;
    const isNew = (seconds: number) => relations.get(seconds) === "new";
    const isUsage = kind === "usage";
    const later = (it: Blocker) => began >= it.ends;
    const count = this.#blockers.length;
    this.#remove((it) => {
      const isOver = later(it) && !isStale;
      if (it.cause === "window") {
        const isLate = arrived - it.arrived > UNKNOWN_RESET;
        if (this.#isStrict && !relations.has(it.seconds!)) return false;
        return isOver || (!isStale && (isOpen || isLate));
      }
      if (it.cause === "charge") return isUsage && isOver;
      if (it.cause === "flags") {
        const blamed = it.blamed ?? [];
        const replaced = this.#isStrict
          ? isOpen && blamed.length > 0 && blamed.every(isNew)
          : blamed.some(isNew);
        return isOver || replaced || (isOpen && !isStale && began > it.began);
      }
      if (isOver) return true;
      if (!this.#isStrict && [...relations.values()].includes("new")) {
        return true;
      }
      if (!isUsage || !isOpen || began <= it.arrived) return false;
      return !this.#isStrict || arrived >= (it.firmUntil ?? 0);
    });
    if (this.#blockers.length < count && isUsage) this.#clearedAt = arrived;
    if (this.#blockers.length === 0) this.#openedAt = began;
  }

  #known(seconds: number): KnownWindow | undefined {
    return this.#windows.find((it) =>
      Math.abs(it.seconds - seconds) <= 0.02 * seconds
    );
  }

  #dropOthers({ windows }: ShownMeter): void {
    const isTold = (seconds: number) =>
      windows.some((it) => it.seconds === seconds);
    this.#windows = this.#windows.filter(({ seconds }) => isTold(seconds));
    this.#remove(({ seconds }) => seconds !== undefined && !isTold(seconds));
  }

  #put(blocker: Blocker): void {
    const { cause, seconds } = blocker;
    this.#remove((it) => it.cause === cause && it.seconds === seconds);
    this.#blockers.push(blocker);
  }

  #remove(isOver: (blocker: Blocker) => boolean): void {
    this.#blockers = this.#blockers.filter((it) => !isOver(it));
  }
}
