/** What a process knows of all accounts: its own answers at once, those of other processes through the store. */
import type { Account } from "./account.ts";
import { Belief, type Standing } from "./belief.ts";
import type { Reading as BeliefReading } from "./meter_belief.ts";
import { now, SECOND } from "./clock.ts";
import {
  type Attempt,
  clockOf,
  type Limit,
  type Process,
  type Told,
} from "./witness.ts";

/** How to read the contract where it can be read in two ways. */
export interface Reading extends BeliefReading {
  /** Others' facts come as late as the text allows, else at once. */
  isLate: boolean;
}

/** All readings, for clocks that differ by `slack` (ms). */
export function readingsOf(slack: number): Reading[] {
  return [true, false].flatMap((isStrict) =>
    [true, false].map((isLate) => ({ isStrict, isLate, slack }))
  );
}

/** Own facts of the same millisecond may come before or after a choice, ms. */
const OWN_DELAY = 5;
/** Others' facts that shut an account are written at once and honoured within 1 s; some slack, ms. */
const SHUT_DELAY = 3 * SECOND;
/** Others' facts that shut nothing are written within 10 s, ms. */
const OTHER_DELAY = 12 * SECOND;

interface Pending {
  due: number;
  apply: (belief: Belief) => void;
}

export class Viewpoint {
  readonly #process: Process;
  readonly reading: Reading;
  readonly #accounts = new Map<
    Account,
    { belief: Belief; pending: Pending[] }
  >();

  constructor(
    process: Process,
    reading: Reading,
    accounts: readonly Account[],
  ) {
    this.#process = process;
    this.reading = reading;
    for (const account of accounts) {
      const { plan } = account.options;
      const belief = new Belief(plan, reading);
      this.#accounts.set(account, { belief, pending: [] });
    }
  }

  told(teller: Process, account: Account, told: Told): void {
    const shuts = told.meters.some(({ allowed, windows }) =>
      !allowed || windows.some(({ used }) => used >= 99.5)
    );
    this.#add(teller, account, shuts, (belief) => belief.told(told));
  }

  limited(teller: Process, account: Account, limit: Limit): void {
    this.#add(teller, account, true, (belief) => belief.limited(limit));
  }

  throttled({ process, account }: Attempt, until: number): void {
    this.#add(process, account, true, (belief) => belief.throttled(until));
  }

  sent(attempt: Attempt): void {
    this.belief(attempt.account).sent(attempt, clockOf(this.#process));
  }

  standing(account: Account, model: string): Standing {
    return this.belief(account).standing(model, clockOf(this.#process));
  }

  /** Whether a usage answer that told this would let the account serve. */
  wouldOpen(account: Account, model: string, told: Told): boolean {
    const belief = this.belief(account).clone();
    belief.told(told);
    const { state } = belief.standing(model, clockOf(this.#process));
    return state === "included";
  }

  /** What is believed by now. */
  belief(account: Account): Belief {
    const { belief, pending } = this.#accounts.get(account)!;
    while (pending[0] && pending[0].due <= now()) {
      pending.shift()!.apply(belief);
    }
    return belief;
  }

  #add(
    teller: Process,
    account: Account,
    shuts: boolean,
    apply: (belief: Belief) => void,
  ): void {
    const { pending } = this.#accounts.get(account)!;
    const due = now() + this.#delay(teller, shuts);
    const index = pending.findLastIndex((it) => it.due <= due);
    pending.splice(index + 1, 0, { due, apply });
  }

  #delay(teller: Process, shuts: boolean): number {
    if (!this.reading.isLate) return 0;
    if (teller === this.#process) return OWN_DELAY;
    return shuts ? SHUT_DELAY : OTHER_DELAY;
  }
}
