/** A command of the owner's that is told of events, as `--on-event` names it. */
import { spawn } from "node:child_process";
import { compareAmounts, subtractAmounts } from "../decimal.ts";
import { messageOf } from "../errors.ts";
import type {
  AccountStatus,
  RotatorEvent,
  StatusReport,
} from "../report_types.ts";
import { jsonText, standingWords } from "./format.ts";
import { demand } from "./granted.ts";
import { once } from "../values.ts";
import { usageError } from "./messages.ts";
import type { Context } from "./options.ts";
import { candidates, pool } from "./status_summary.ts";

/** Those that a store shows to who watches it, and those that are told by default. */
const SEEN = "switched,credits-spent,login-required,exhausted";
const TYPES =
  `${SEEN},selected,cooldown,usage-refreshed,token-refreshed,warning`;
/** A command that takes longer is ended (ms). */
const MAX_RUN_MS = 10_000;
/** Further events are dropped while so many wait. */
const MAX_WAITING = 100;

/**
 * Returns what tells events to the command that the options name. Each event is
 * a JSON line on the stdin of a process of its own, one at a time; one that
 * hangs or fails holds up nobody else.
 */
export function eventCommand(
  { flags, warn }: Pick<Context, "flags" | "warn">,
): ((event: RotatorEvent) => void) | undefined {
  const command = flags.value("on-event");
  const types = typesOf(flags.value("on-event-types") ?? SEEN);
  if (command === undefined) {
    if (!flags.on("on-event-types")) return undefined;
    throw usageError("--on-event-types needs a command; give --on-event too");
  }
  const [program, ...args] = wordsOf(command);
  if (program === undefined) {
    throw usageError("--on-event is empty; give a program and its arguments");
  }
  demand("run", program);
  const warnOnce = once(warn);
  const onFailure = (error: unknown) =>
    warnOnce(
      `The command of --on-event did not start: ${
        messageOf(error)
      }; name a program that is there`,
    );
  let waiting = 0;
  let last = Promise.resolve();
  return (event) => {
    if (!types.has(event.type) || waiting >= MAX_WAITING) return;
    waiting++;
    const line = `${jsonText(event, 0)}\n`;
    last = last.then(() => run([program, ...args], line)).catch(onFailure)
      .then(() => void waiting--);
  };
}

export interface StoreWatcher {
  look(report: StatusReport): void;
  /** What the watching process learns by asking the backend itself. */
  learn(event: RotatorEvent): void;
}

/** Tells what changes from one look at a store to the next, all accounts considered. */
export function storeWatcher(
  tell: (event: RotatorEvent) => void,
): StoreWatcher {
  let before: StatusReport | undefined;
  let lastNext: string | null = null;
  return {
    look(report) {
      if (before !== undefined) {
        changesOf(before, report).forEach(tell);
        if (lastNext !== null) switchFrom(lastNext, report).forEach(tell);
      }
      before = report;
      lastNext = report.next ?? lastNext;
    },
    learn(event) {
      // the store shows those as well
      if (!SEEN.split(",").includes(event.type)) tell(event);
    },
  };
}

function changesOf(before: StatusReport, report: StatusReport): RotatorEvent[] {
  const isNewMonth = before.now.slice(0, 7) !== report.now.slice(0, 7);
  const events = report.accounts.flatMap((account) => {
    const was = before.accounts.find((it) => it.alias === account.alias);
    if (was === undefined) return [];
    const spent = isNewMonth ? "0" : was.spentThisMonth;
    return [
      ...standingEvents(was, account),
      ...spendingEvents({ ...was, spentThisMonth: spent }, account),
    ];
  });
  const reason = "No account can serve now";
  const limited = candidates(report)
    .filter(({ reason }) => LIMITED.includes(reason));
  if (before.next === null || report.next !== null || limited.length === 0) {
    return events;
  }
  const times = limited.map(untilOf).filter((it) => it !== null);
  const until = times.length === 0 ? null : Math.min(...times);
  return [...events, { type: "exhausted", reason, until }];
}

function standingEvents(was: AccountStatus, is: AccountStatus): RotatorEvent[] {
  const { alias, detail } = is;
  if (is.reason === "login" && was.reason !== "login") {
    const reason = detail ?? "A sign-in is needed";
    return [{ type: "login-required", alias, reason }];
  }
  if (!USED_UP.includes(is.reason) || USED_UP.includes(was.reason)) return [];
  const reason = "Its included usage is used up";
  return [{ type: "exhausted", alias, reason, until: untilOf(is) }];
}

function spendingEvents(was: AccountStatus, is: AccountStatus): RotatorEvent[] {
  const spent = subtractAmounts(is.spentThisMonth, was.spentThisMonth);
  if (compareAmounts(spent, "0") <= 0) return [];
  return [{
    type: "credits-spent",
    alias: is.alias,
    reason: `${spent} of its credits were spent`,
    certain: true,
    balanceBefore: was.credits?.balance ?? null,
    balanceAfter: is.credits?.balance ?? null,
  }];
}

/** Where only the order within a pool has another account serve next, none was left. */
function switchFrom(from: string, report: StatusReport): RotatorEvent[] {
  const { accounts, next: alias, now, pinned } = report;
  const was = accounts.find((it) => it.alias === from);
  const is = accounts.find((it) => it.alias === alias);
  if (is === undefined || from === alias) return [];
  if (was && pool(was) === pool(is) && pinned === null) return [];
  const reason = pinned !== null
    ? `${is.alias} is pinned`
    : `${from}: ${was ? standingWords(was, Date.parse(now)) : "gone"}`;
  return [{ type: "switched", alias: is.alias, from, reason }];
}

/** What the reason says of an account whose included usage is used up. */
const USED_UP: readonly (string | null)[] = ["exhausted", "capped"];
/** What it says of one that may serve again by itself. */
const LIMITED = [...USED_UP, "cooldown", "unknown", "workspace"];

function untilOf({ until }: AccountStatus): number | null {
  return until === null ? null : Date.parse(until);
}

function typesOf(text: string): ReadonlySet<string> {
  const types = text.split(",").map((it) => it.trim()).filter(Boolean);
  const known = TYPES.split(",");
  if (types.length > 0 && types.every((it) => known.includes(it))) {
    return new Set(types);
  }
  throw usageError(`--on-event-types is ${text}; give some of ${TYPES}`);
}

/** Splits a command at its spaces, but for those in quotes; no shell is involved. */
function wordsOf(command: string): string[] {
  return [...command.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)]
    .map(([word]) =>
      word.replaceAll(/"([^"]*)"|'([^']*)'/g, (_, a, b) => a ?? b)
    );
}

/** Runs a program to its end, whatever that is; throws when it does not start. */
function run(
  [program, ...args]: readonly [string, ...string[]],
  input: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["pipe", "ignore", "ignore"],
      timeout: MAX_RUN_MS,
      killSignal: "SIGKILL",
    });
    child.on("error", reject);
    child.on("exit", () => resolve());
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}
