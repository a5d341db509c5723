/** One simulation: a fleet, its life, its callers, and what the oracle finds. */
import {
  at,
  DAY,
  MINUTE,
  now,
  resetClock,
  runUntil,
  sleep,
  START,
} from "./clock.ts";
import { type Fleet, makeFleet } from "./fleet.ts";
import { type Caller, haveLife, makeCallers } from "./life.ts";
import { Oracle } from "./oracle.ts";
import { Random } from "./random.ts";
import { broadcast, type Process, type Witness } from "./witness.ts";
import { World } from "./world.ts";

/** What the callers see of a rotator. */
export interface Front {
  readonly baseURL: string;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  accountOf(response: Response): string | undefined;
  refresh(): Promise<unknown>;
  close(): Promise<void>;
}

/** Opens one rotator for each process; may add witnesses of its own. */
export type Open = (
  fleet: Fleet,
  parts: { world: World; random: Random; witnesses: Witness[] },
) => Map<Process, Front>;

export interface RunOptions {
  seed: number;
  open: Open;
  /** @default {3} */
  days?: number;
  /** @default {60} */
  perDay?: number;
  /** Told every event. */
  log?: (line: string) => void;
}

export interface RunResult {
  fleet: Fleet;
  oracle: Oracle;
  /** How many answers had which status. */
  statuses: Map<number, number>;
}

/** Runs one simulation; the same seed gives the same. */
export async function run(options: RunOptions): Promise<RunResult> {
  const { seed, open, days = 3, perDay = 60 } = options;
  resetClock();
  const random = new Random(seed);
  const fleet = makeFleet(random.fork(), days);
  const { accounts, processes, breaks } = fleet;
  const oracle = new Oracle(fleet);
  oracle.listener = options.log;
  const witnesses: Witness[] = [oracle];
  const world = new World(
    { accounts, random: random.fork(), breaks, sizeOf: sizesOf(seed) },
    broadcast(witnesses),
  );
  const parts = { world, random: random.fork(), witnesses };
  const rotators = open(fleet, parts);
  haveLife(fleet, oracle, random.fork());
  const statuses = new Map<number, number>();
  const session = new Session(oracle, statuses);
  const callers = makeCallers(fleet, random.fork(), perDay);
  const jobs = callers.map((caller) => {
    const process = processes[caller.process]!;
    const rotator = rotators.get(process)!;
    return session.call({ caller, process, rotator }, random.fork());
  });
  refreshNowAndThen(fleet, rotators, random.fork());
  await runUntil(Promise.all(jobs));
  for (const rotator of rotators.values()) await runUntil(rotator.close());
  return { fleet, oracle, statuses };
}

/** Sizes by the request's number, so that they do not depend on what happened before. */
export function sizesOf(seed: number): (request: number) => number {
  return (request) => new Random(seed * 100_003 + request).between(0.5, 1.5);
}

/** An explicit refresh once a day or so. */
function refreshNowAndThen(
  fleet: Fleet,
  rotators: ReadonlyMap<Process, Front>,
  random: Random,
): void {
  for (let day = 0; day < fleet.days; day++) {
    const process = random.pick(fleet.processes);
    at(START + Math.floor((day + random.next()) * DAY), () => {
      process.isRefreshing = true;
      const end = () => process.isRefreshing = false;
      rotators.get(process)!.refresh().then(end, end);
    });
  }
}

/** Who calls, and through which rotator. */
interface Line {
  caller: Caller;
  process: Process;
  rotator: Front;
}

/** All requests of one simulation. */
class Session {
  readonly #oracle: Oracle;
  readonly #statuses: Map<number, number>;
  #count = 0;

  constructor(oracle: Oracle, statuses: Map<number, number>) {
    this.#oracle = oracle;
    this.#statuses = statuses;
  }

  /** Sends all requests of a caller. */
  async call(line: Line, random: Random): Promise<void> {
    const { from, turns, width, pause, obeys } = line.caller;
    await sleep(from - now());
    for (let turn = 0; turn < turns; turn++) {
      const wait = await this.#turn(line, width);
      const isNear = obeys && wait > 0 && wait < 6 * 3_600_000;
      await sleep(
        isNear ? wait : random.between(...pause) + (wait > 0 ? MINUTE : 0),
      );
    }
  }

  /** Sends some requests at once; returns the longest wait that a refusal asks for, ms. */
  async #turn(line: Line, width: number): Promise<number> {
    const { process, caller: { model, session } } = line;
    const burst = this.#oracle.begin({ process, model }, width);
    const ids = Array.from({ length: width }, () => ++this.#count);
    const waits = await Promise.all(ids.map((id) => this.#request(line, id)));
    if (session === null) this.#oracle.end(burst, ids);
    return Math.max(...waits);
  }

  /** Sends one request and reads its answer; returns the wait that a refusal asks for, ms. */
  async #request(line: Line, id: number): Promise<number> {
    const { caller, process, rotator } = line;
    const { model, session } = caller;
    const body = {
      model,
      store: false,
      stream: true,
      instructions: "",
      input: [{ type: "message", role: "user", content: `#${id}` }],
      include: ["reasoning.encrypted_content"],
      ...(session === null ? {} : { prompt_cache_key: session }),
    };
    try {
      const response = await rotator.fetch(`${rotator.baseURL}/responses`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          accept: "text/event-stream",
        },
        body: JSON.stringify(body),
      });
      const { status } = response;
      this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
      const isOwn = rotator.accountOf(response) === undefined;
      if (isOwn) this.#oracle.refused(id, { process, model });
      await response.text();
      if (!isOwn) this.#oracle.ended(id, { process, model });
      return 1000 *
        Number(response.headers.get("retry-after") ?? (isOwn ? 60 : 0));
    } catch (error) {
      // a broken connection is passed on as it came
      if (!(error instanceof TypeError)) throw error;
      this.#oracle.ended(id, { process, model });
      this.#statuses.set(0, (this.#statuses.get(0) ?? 0) + 1);
      return 0;
    }
  }
}
