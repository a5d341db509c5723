/**
 * What a command is, and what its arguments and the environment tell it.
 *
 * @module
 */
import {
  checkedBase,
  DEFAULT_BACKEND,
  DEFAULT_ISSUER,
  isLoopback,
} from "../codex/endpoints.ts";
import { isDatabase, storePath } from "../store/paths.ts";
import { suggestion } from "../nearest.ts";
import { isAlias } from "../pool/credits.ts";
import type { PoolState } from "../types.ts";
import { noAccount } from "./format.ts";
import type { Io } from "./io.ts";
import { CliError, EXIT, requireName, usageError } from "./messages.ts";

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

/** Which options are known. */
export interface OptionNames {
  readonly booleans?: readonly string[];
  /** Options that take a value. */
  readonly strings?: readonly string[];
  /** Options whose value may be left out; without one it is "". */
  readonly optional?: readonly string[];
}

/** One command; each is exported as `command` by a file of its own. */
export interface Command extends OptionNames {
  /** Options and examples, below the usage line. */
  readonly help: string;
  /** Operands that are known beforehand. */
  readonly words?: readonly string[];
  /** How many operands it takes: at least, at most. */
  readonly operands: readonly [number, number];
  readonly needs: Needs;
  /** The switch that makes it need the network, and to write, as well. */
  readonly onlineSwitch?: string;
  /** After an interruption it ends in its own time; others are ended soon. */
  readonly endsItself?: true;
  /** What it needs besides; may fail where it was refused. */
  readonly grants?: (context: Context) => Grants;
  /** Returns the exit code, where it is not 0. */
  run(context: Context, all: CommandTable): Promise<number | void>;
}

/** What the list of commands tells of one; the rest is loaded when it runs. */
export interface CommandEntry {
  readonly usage: string;
  readonly summary: string;
  load(): Promise<{ command: Command }>;
}

export type CommandTable = ReadonlyMap<string, CommandEntry>;

export interface Context {
  readonly io: Io;
  /** The whole call, to be repeated. */
  readonly args: readonly string[];
  readonly flags: Flags;
  readonly operands: readonly string[];
}

const COMMON = {
  booleans: ["help", "version", "no-color"],
  strings: ["store", "backend", "issuer"],
} as const;
/** The options of every command, without their dashes. */
export const COMMON_OPTIONS: readonly string[] = [
  ...COMMON.booleans,
  ...COMMON.strings,
];
/** Those that name a command which is told of events. */
export const EVENT_OPTIONS: readonly string[] = ["on-event", "on-event-types"];
const SHORT: Readonly<Record<string, string>> = {
  "-h": "--help",
  "-v": "--version",
  "-y": "--yes",
};

export class Flags {
  readonly #values = new Map<string, string[]>();

  on(name: string): boolean {
    return this.#values.has(name);
  }

  /** The last value of an option, when it was given. */
  value(name: string): string | undefined {
    return this.values(name).at(-1);
  }

  values(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /**
   * Reads the options among arguments, and returns the others.
   *
   * @param until "operand": leaves all from the first operand on as it is.
   * @throws {CliError} Exit code 2, on an unknown option or a missing value.
   */
  read(
    args: readonly string[],
    own: OptionNames,
    until: "operand" | "end" = "end",
  ): string[] {
    const names = {
      booleans: [...COMMON.booleans, ...own.booleans ?? []],
      strings: [...COMMON.strings, ...own.strings ?? []],
      optional: own.optional ?? [],
    };
    const operands: string[] = [];
    const rest = [...args];
    for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
      if (arg === "--") operands.push(...rest.splice(0));
      else if (isOption(arg)) this.#add(arg, rest, names);
      else {
        operands.push(arg, ...until === "operand" ? rest.splice(0) : []);
      }
    }
    return operands;
  }

  #add(arg: string, rest: string[], names: Required<OptionNames>): void {
    const { booleans, strings, optional } = names;
    const [, start = arg, given] = /^([^=]+)=(.*)$/s.exec(arg) ?? [];
    const option = SHORT[start] ?? start;
    const name = option.slice(2);
    let value = given;
    if (booleans.includes(name)) {
      if (value !== undefined) {
        throw usageError(
          `${option} takes no value; give ${option} or leave it out`,
        );
      }
    } else if (strings.includes(name)) {
      if (value === undefined && !isOption(rest[0] ?? "-")) {
        value = rest.shift();
      }
      if (!value) {
        throw usageError(
          `${option} was given without a value; write ${option}=VALUE`,
        );
      }
    } else {
      const known = [...booleans, ...strings, ...optional]
        .map((it) => `--${it}`).sort();
      requireName(start, known, `Unknown option ${start}`);
    }
    this.#values.set(name, [...this.values(name), value ?? ""]);
  }
}

function isOption(arg: string): boolean {
  return arg.startsWith("-") && arg !== "-";
}

export const STORE_VARIABLE = "CODEX_ROTATOR_STORE";
export const BACKEND_VARIABLE = "CODEX_ROTATOR_BACKEND_URL";
export const ISSUER_VARIABLE = "CODEX_ROTATOR_ISSUER_URL";
/** Who may spend credits; the first that is set counts. */
export const CREDIT_VARIABLES = [
  "CODEX_ROTATOR_CREDIT_ACCOUNTS",
  "OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES",
] as const;

/** Returns the path of the store, or the URL of its database. */
export function storeOf({ flags, io }: Context): string {
  return flags.value("store") ?? storePath(io.env, io.isWindows);
}

/** Returns the file in whose folder this machine keeps what is not in the store. */
export function localFileOf(context: Context): string {
  const store = storeOf(context);
  const { env, isWindows } = context.io;
  return isDatabase(store) ? storePath(env, isWindows) : store;
}

export function backendOf(context: Context): string {
  return baseOf(context, "backend", BACKEND_VARIABLE) ?? DEFAULT_BACKEND;
}

export function issuerOf(context: Context): string {
  return baseOf(context, "issuer", ISSUER_VARIABLE) ?? DEFAULT_ISSUER;
}

function baseOf(
  { flags, io }: Context,
  flag: string,
  variable: string,
): string | undefined {
  const spelled = flags.value(flag);
  if (spelled !== undefined) return checked(spelled, flag, `--${flag}`);
  const found = io.env(variable);
  if (found === undefined || found === "") return undefined;
  const url = URL.parse(found);
  // A cloned project's .env must not be able to send tokens elsewhere.
  if (url === null || isLoopback(url.hostname)) {
    return checked(found, flag, variable);
  }
  throw usageError(
    `${variable} names the host ${url.host}, and the environment may name loopback hosts only; if it is meant, spell it out: --${flag} ${url.origin}${url.pathname}`,
  );
}

function checked(value: string, name: string, source: string): string {
  try {
    return checkedBase(value, name);
  } catch (error) {
    throw usageError(`${source}: ${(error as Error).message}`);
  }
}

/**
 * Checks that accounts exist.
 *
 * @param known The accounts of the store, or their aliases.
 * @throws {CliError} Exit code 4 when there is none at all, 2 when one of
 *   `aliases` does not exist.
 */
export function requireAccounts(
  known: PoolState | readonly string[],
  aliases: readonly string[],
): void {
  const names = "accounts" in known ? Object.keys(known.accounts) : known;
  if (names.length === 0) throw new CliError(noAccount(), EXIT.noAccount);
  const missing = aliases.find((it) => !names.includes(it));
  if (missing === undefined) return;
  throw usageError(
    `No account is named ${missing}${suggestion(missing, names)}; there are: ${
      names.toSorted().join(", ")
    }`,
  );
}

/** Throws where a text is given that cannot be an alias. */
export function requireAlias(text: string | undefined): void {
  if (text === undefined || isAlias(text)) return;
  throw usageError(
    `${
      text || "Nothing"
    } cannot be an alias; use letters, digits, '.', '_' and '-', begin with a letter or digit, at most 64 characters, and neither all nor none`,
  );
}
