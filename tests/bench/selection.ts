/**
 * Choosing alone, for pools of 10 to 10,000 accounts, and what is remembered
 * of 100,000 sessions.
 *
 * Runs on every runtime: `deno run -A`, `bun` or `node` and this file.
 *
 * @module
 */
import { AccountPool } from "../../lib/pool/account_pool.ts";
import { rivalsOf, select, type SelectQuery } from "../../lib/pool/select.ts";
import { Sessions } from "../../lib/pool/sessions.ts";
import { settleWeights } from "../../lib/pool/strategy.ts";
import { normalRecord } from "../../lib/store/normal_form.ts";
import type { NormalRecord } from "../../lib/normal_types.ts";
import type { StrategyName } from "../../lib/types.ts";
import { median, printTable } from "./measure.ts";
import { record } from "./traffic.ts";

const SIZES = [10, 100, 1000, 10_000];
const ROUNDS = 15;
/** How many accounts a round looks at, whatever the size of the pool. */
const LOOKS_PER_ROUND = 200_000;
const SESSIONS = 100_000;
// as a rotator has them: the same sets for every choice
const PREFERRED: ReadonlySet<string> = new Set(["pro"]);
const NONE: ReadonlySet<string> = new Set();

/** A way of choosing, from the pool to the count of the request. */
interface Subject {
  name: string;
  strategy: StrategyName;
  /** No verdict is known from before, as after a change of facts. */
  isFresh?: boolean;
  /** The session has an account already. */
  isSticky?: boolean;
}

const SUBJECTS: readonly Subject[] = [
  { name: "round-robin", strategy: "round-robin" },
  { name: "session", strategy: "round-robin", isSticky: true },
  { name: "weighted", strategy: "weighted" },
  { name: "drain", strategy: "drain" },
  { name: "new facts", strategy: "round-robin", isFresh: true },
];

function poolOf(size: number, now: number): AccountPool {
  const accounts: Record<string, NormalRecord> = {};
  for (let n = 0; n < size; n++) {
    accounts[`user-${n}`] = normalRecord(record(n, now));
  }
  const pool = new AccountPool();
  const state = { version: 1, settings: { pinned: null }, accounts };
  pool.load(state, { allow: "none", source: "option" }, now);
  return pool;
}

function chooseOnce(pool: AccountPool, subject: Subject, now: number): void {
  if (subject.isFresh) pool.invalidate();
  const query: SelectQuery = {
    model: "gpt-5.5",
    now,
    random: Math.random,
    strategy: subject.strategy,
    preferPlans: PREFERRED,
    tried: NONE,
    retriable: NONE,
    sticky: subject.isSticky ? "user-5" : undefined,
  };
  const { choice } = select(pool.all, query);
  if (!choice) throw new Error("Nobody was chosen");
  const { account } = choice;
  if (subject.strategy === "weighted") {
    settleWeights(rivalsOf(pool.all, account, query), account);
  }
  pool.use(account, now);
}

/** µs per choice. */
function measure(subject: Subject, size: number): number {
  const start = Date.now();
  const pool = poolOf(size, start);
  const choices = LOOKS_PER_ROUND / size;
  const times: number[] = [];
  // a millisecond for each choice: uses of one moment would be ordered another way
  let now = start;
  for (let round = -3; round < ROUNDS; round++) {
    const began = performance.now();
    for (let n = 0; n < choices; n++) chooseOnce(pool, subject, now++);
    if (round >= 0) times.push((performance.now() - began) * 1000 / choices);
  }
  return median(times);
}

function printSelection(): void {
  const columns = SUBJECTS.map((subject) =>
    SIZES.map((size) => measure(subject, size))
  );
  const rows = SIZES.map((size, n) => [
    `${size} accounts`,
    ...columns.map((times) => times[n]!.toFixed(size < 1000 ? 2 : 0)),
  ]);
  const growth = columns.map((times) =>
    `× ${(times.at(-1)! / times[0]!).toFixed(0)}`
  );
  printTable(
    `choosing alone, µs per choice; medians of ${ROUNDS} rounds`,
    ["", ...SUBJECTS.map(({ name }) => name)],
    [...rows, ["growth for × 1000 accounts", ...growth]],
  );
}

function printSessions(): void {
  const sessions = new Sessions();
  const began = performance.now();
  for (let n = 0; n < SESSIONS; n++) {
    const session = { alias: `user-${n % 10}`, usedAt: n };
    sessions.note(`prompt_cache_key:36:session-${n}`, session);
  }
  const time = (performance.now() - began) * 1000 / SESSIONS;
  printTable("sessions", ["seen", "remembered", "µs each"], [[
    String(SESSIONS),
    String(sessions.size),
    time.toFixed(2),
  ]]);
}

printSelection();
printSessions();
