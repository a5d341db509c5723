/** What happens to a fleet from outside: other programs, top-ups, outages, and the people who send requests. */
import { type Account, costOf, DURATIONS, type Trouble } from "./account.ts";
import { at, DAY, HOUR, MINUTE, now, SECOND, sleep, START } from "./clock.ts";
import type { Fleet } from "./fleet.ts";
import type { Oracle } from "./oracle.ts";
import type { Random } from "./random.ts";

/** Lets the world change by itself. */
export function haveLife(fleet: Fleet, oracle: Oracle, random: Random): void {
  const often = (perDay: number, job: () => void) => {
    for (let day = 0; day < fleet.days; day++) {
      const count = Math.floor(perDay) + (random.chance(perDay % 1) ? 1 : 0);
      for (let n = 0; n < count; n++) {
        at(START + Math.floor((day + random.next()) * DAY), job);
      }
    }
  };
  const rough = fleet.roughness;
  for (const account of fleet.accounts) {
    const { alias } = account;
    const note = (text: string) => oracle.note(`${alias} ${text}`);
    often(rough * 1.2, () => {
      note("is used by another program");
      void useElsewhere(account, random);
    });
    often(rough * 0.1, () => {
      note("is reset early");
      account.resetEarly();
    });
    often(0.3, () => {
      note("gets credits");
      account.addCredits(random.pick([2, 20, 200]));
    });
    often(rough * 0.05, () => {
      note("reaches its overage limit, or leaves it");
      account.overageReached = !account.overageReached;
    });
    often(rough * 0.2, () => limitModel(account, random, note));
    for (const [kind, perDay] of TROUBLES) {
      often(rough * perDay, () => {
        const lasts = random.between(...DURATIONS[kind]);
        note(`is in trouble: ${kind} for ${Math.round(lasts / SECOND)} s`);
        account.trouble[kind] = now() + Math.floor(lasts);
      });
    }
  }
  if (!fleet.setsClocks) return;
  for (const process of fleet.processes) {
    const { skew } = process;
    often(0.5, () => {
      process.skew = skew + random.pick([0, -20, 20]) * SECOND;
      oracle.note(`the clock of ${process.name} is set to ${process.skew} ms`);
    });
  }
}

/** Each trouble and how often it comes in a day. */
const TROUBLES: readonly [keyof Trouble, number][] = [
  ["overloaded", 0.3],
  ["throttled", 1.5],
  ["disagrees", 0.15],
  ["creditsRefused", 0.15],
  ["usageDown", 0.3],
  ["overrun", 0.5],
  ["flagged", 0.1],
];

/** Another program uses the account for a while, as it would by itself. */
async function useElsewhere(account: Account, random: Random): Promise<void> {
  for (let left = random.whole(1, 15); left > 0; left--) {
    const verdict = account.judge("gpt-5.5", now());
    const size = random.between(0.5, 1.5);
    if (verdict.kind === "charged") account.charge(size);
    if (verdict.kind === "included" && verdict.meter) {
      account.use(verdict.meter, costOf(account, "gpt-5.5", size), now());
    }
    await sleep(random.between(SECOND, 3 * MINUTE));
  }
}

function limitModel(
  account: Account,
  random: Random,
  note: (text: string) => void,
): void {
  const model = random.pick(["gpt-6-astra", "gpt-5.5"]);
  const creditsWouldEnable = random.chance(0.5);
  const ends = now() + Math.floor(random.between(10 * MINUTE, 8 * HOUR));
  note(`loses ${model}`);
  const availableAt = random.chance(0.8) ? ends : null;
  account.models[model] = {
    available: false,
    availableAt,
    creditsWouldEnable,
  };
  at(ends, () => {
    account.models[model] = {
      available: true,
      availableAt: null,
      creditsWouldEnable: false,
    };
  });
}

/** Somebody who sends requests. */
export interface Caller {
  /** When the first one is sent, epoch ms. */
  from: number;
  /** How many, one after another. */
  turns: number;
  /** How many at once. */
  width: number;
  /** Waits between them, ms. */
  pause: [number, number];
  model: string;
  session: string | null;
  /** Which of the fleet's processes. */
  process: number;
  /** Comes back when a refusal says so. */
  obeys: boolean;
}

const MODELS = [
  ...Array<string>(12).fill("gpt-5.5"),
  "gpt-6-astra",
  "gpt-6-astra",
  "gpt-5.3-codex-spark",
  "gpt-reserve",
];

/** The callers of a fleet, `perDay` requests or so. */
export function makeCallers(
  fleet: Fleet,
  random: Random,
  perDay: number,
): Caller[] {
  const callers: Caller[] = [];
  for (let left = fleet.days * perDay; left > 0;) {
    const isBurst = random.chance(0.25);
    const caller: Caller = {
      from: START + Math.floor(random.next() * fleet.days * DAY),
      turns: isBurst ? 1 : random.whole(2, 20),
      width: isBurst ? random.whole(3, 20) : 1,
      pause: random.pick([[0, 0], [0, 5 * SECOND], [MINUTE, 20 * MINUTE]]),
      model: random.pick(MODELS),
      session: random.chance(isBurst ? 0.3 : 0.7) ? `s${callers.length}` : null,
      process: random.whole(0, fleet.processes.length - 1),
      obeys: random.chance(0.5),
    };
    callers.push(caller);
    left -= caller.turns * caller.width;
  }
  return callers;
}
