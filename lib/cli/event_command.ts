/**
 * A command of the owner's that is told of events, as `--on-event` names it.
 *
 * @module
 */
import { spawn } from "node:child_process";
import type { RotatorEvent } from "../report_types.ts";
import { jsonText } from "./format.ts";
import { demand } from "./granted.ts";
import { usageError } from "./messages.ts";
import type { Flags } from "./options.ts";

type EventType = RotatorEvent["type"];

const TYPES: readonly EventType[] = [
  "selected",
  "switched",
  "cooldown",
  "credits-spent",
  "usage-refreshed",
  "token-refreshed",
  "login-required",
  "exhausted",
  "warning",
];
const DEFAULT_TYPES = "switched,credits-spent,login-required,exhausted";
/** A command that takes longer is ended (ms). */
const MAX_RUN_MS = 10_000;
/** Further events are dropped while so many wait. */
const MAX_WAITING = 100;

export const EVENT_OPTIONS: readonly string[] = ["on-event", "on-event-types"];

/**
 * Returns what tells events to the command that the options name; undefined:
 * they name none. Each event is a JSON line on the stdin of a process of its
 * own, one at a time; one that hangs or fails holds up nobody else.
 */
export function eventCommand(
  flags: Flags,
): ((event: RotatorEvent) => void) | undefined {
  const command = flags.value("on-event");
  const types = typesOf(flags.value("on-event-types") ?? DEFAULT_TYPES);
  if (command === undefined) return undefined;
  const [program, ...args] = wordsOf(command);
  if (program === undefined) {
    throw usageError("--on-event is empty; give a program and its arguments");
  }
  demand("run", program);
  let waiting = 0;
  let last = Promise.resolve();
  return (event) => {
    if (!types.has(event.type) || waiting >= MAX_WAITING) return;
    waiting++;
    const line = `${jsonText(event, 0)}\n`;
    last = last.then(() => run(program, args, line)).then(() => void waiting--);
  };
}

function typesOf(text: string): ReadonlySet<string> {
  const types = text.split(",").map((it) => it.trim()).filter(Boolean);
  const odd = types.find((it) => !(TYPES as readonly string[]).includes(it));
  if (odd === undefined && types.length > 0) return new Set(types);
  throw usageError(
    `--on-event-types is ${text}; give some of ${TYPES.join(",")}`,
  );
}

/** Splits a command at its spaces, but for those in quotes; no shell is involved. */
function wordsOf(command: string): string[] {
  return [...command.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)]
    .map(([word]) =>
      word.replaceAll(/"([^"]*)"|'([^']*)'/g, (_, a, b) => a ?? b)
    );
}

/** Runs a program to its end, whatever that is. */
function run(
  program: string,
  args: readonly string[],
  input: string,
): Promise<void> {
  return new Promise((resolve) => {
    try {
      const child = spawn(program, args, {
        stdio: ["pipe", "ignore", "ignore"],
        timeout: MAX_RUN_MS,
        killSignal: "SIGKILL",
      });
      child.on("error", () => resolve());
      child.on("exit", () => resolve());
      child.stdin.on("error", () => {});
      child.stdin.end(input);
    } catch {
      resolve();
    }
  });
}
