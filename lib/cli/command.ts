/**
 * What a command is, and how its arguments are read.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { usageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { suggestion } from "./nearest.ts";
import { sanitize } from "./format.ts";

/** Names and paths by the permission that Deno asks for them. */
export type Grants = Partial<
  Record<"env" | "read" | "write" | "net", readonly string[]>
>;

/** What a command needs from a runtime that asks. */
export interface Needs {
  /** False: it does without the store. */
  readonly store?: false;
  /** It changes the store. */
  readonly write?: boolean;
  /** It speaks to the backend and the issuer. */
  readonly network?: boolean;
  /** It works out who may spend credits. */
  readonly policy?: boolean;
}

/** One command; each is exported as `command` by a file of its own. */
export interface Command {
  /** Options and examples, below the usage line. */
  readonly help: string;
  readonly booleans?: readonly string[];
  /** Options that take a value. */
  readonly strings?: readonly string[];
  /** Options whose value may be left out; without one it is "". */
  readonly optional?: readonly string[];
  /** How many operands it takes: at least, at most. */
  readonly operands: readonly [number, number];
  readonly needs: Needs;
  /** The switch that makes it need the network, and to write, as well. */
  readonly onlineSwitch?: string;
  /** After an interruption it ends in its own time; others are ended soon. */
  readonly endsItself?: true;
  /** What it needs besides; may fail where it was refused. */
  readonly grants?: (context: Context) => Grants;
  /** @returns The exit code. */
  run(context: Context): Promise<number>;
}

/** One call of a command. */
export interface Context {
  readonly io: Io;
  readonly flags: Flags;
  readonly operands: readonly string[];
}

/** The options given. */
export interface Flags {
  /** Whether a switch was given. */
  on(name: string): boolean;
  /** The value of an option, when it was given. */
  value(name: string): string | undefined;
}

/** Which options are known. */
export interface FlagNames {
  readonly booleans?: readonly string[];
  readonly strings?: readonly string[];
  /** Options whose value may be left out. */
  readonly optional?: readonly string[];
  /** Leave all from the first operand on as it is. */
  readonly stopEarly?: boolean;
}

const COMMON = {
  booleans: ["help", "version", "no-color"],
  strings: ["store", "backend", "issuer"],
} as const;

/**
 * Reads arguments into flags and operands.
 *
 * @throws {CliError} Exit code 2, on an unknown option or a missing value.
 */
export function readArguments(
  args: readonly string[],
  names: FlagNames,
): { flags: Flags; operands: string[] } {
  const booleans = [...COMMON.booleans, ...(names.booleans ?? [])];
  const strings = [...COMMON.strings, ...(names.strings ?? [])];
  const optional = names.optional ?? [];
  const known = [...booleans, ...strings, ...optional];
  // written out, so that it does not take the next argument for its value
  const written = args.map((arg) =>
    optional.includes(arg.replace(/^--/, "")) ? `${arg}=` : arg
  );
  const parsed: Record<string, unknown> = parseArgs(written, {
    boolean: booleans,
    string: [...strings, ...optional, "_"],
    alias: { h: "help" },
    stopEarly: names.stopEarly ?? false,
    unknown(arg: string, key?: string): boolean {
      if (key === undefined) return true;
      throw unknownOption(arg, known);
    },
  });
  refuseValues(args, booleans);
  for (const name of strings) {
    if (parsed[name] === "") {
      throw usageError(
        `--${name} was given without a value; write --${name}=VALUE`,
      );
    }
  }
  const flags: Flags = {
    on: (name) => parsed[name] === true,
    value: (name) => parsed[name] as string | undefined,
  };
  return { flags, operands: parsed._ as string[] };
}

/** The flags of two readings, the later one first. */
export function mergeFlags(later: Flags, earlier: Flags): Flags {
  return {
    on: (name) => later.on(name) || earlier.on(name),
    value: (name) => later.value(name) ?? earlier.value(name),
  };
}

/** A switch with a value would be on, also with `=no`. */
function refuseValues(
  args: readonly string[],
  booleans: readonly string[],
): void {
  for (const name of booleans) {
    if (!args.some((arg) => arg.startsWith(`--${name}=`))) continue;
    throw usageError(
      `--${name} takes no value; give --${name} or leave it out`,
    );
  }
}

function unknownOption(arg: string, known: readonly string[]) {
  const name = arg.replace(/=.*$/s, "");
  const options = known.map((it) => `--${it}`);
  return usageError(
    `Unknown option ${sanitize(name)}${suggestion(name, options)}`,
  );
}
