/** What a command is, and what its arguments and the environment tell it. */
import {
  checkedBase,
  DEFAULT_BACKEND,
  DEFAULT_ISSUER,
  isLoopback,
} from "../codex/endpoints.ts";
import { messageOf } from "../errors.ts";
import { isDatabase, storePath } from "../store/paths.ts";
import { suggestion } from "../nearest.ts";
import { isAlias } from "../pool/credits.ts";
import type { PoolState } from "../types.ts";
import { noAccount } from "./format.ts";
import type { Io } from "./io.ts";
import {
  CliError,
  EXIT,
  requireName,
  usageError,
  type Voice,
} from "./messages.ts";

/** Names and paths by the permission that Deno asks for them. */
export type Grants = Partial<
  Record<"env" | "read" | "write" | "net", readonly string[]>
>;

export interface Command {
  /** What it does, its options and examples, below the usage line. */
  readonly help: string;
  /** Operands that are known beforehand. */
  readonly words?: readonly string[];
  /** How many operands it takes: at least, at most. */
  readonly operands: readonly [number, number];
  readonly needs: {
    /** False: it does without the store. */
    readonly store?: false;
    readonly write?: boolean;
    /** It speaks to the backend and the issuer; a text: with this option, and then it writes as well. */
    readonly network?: boolean | string;
    /** It works out who may spend credits. */
    readonly policy?: boolean;
  };
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
  load(): Promise<Command>;
}

export type CommandTable = ReadonlyMap<string, CommandEntry>;

export interface Context extends Voice {
  readonly io: Io;
  /** The whole call, to be repeated. */
  readonly args: readonly string[];
  readonly flags: Flags;
  readonly operands: readonly string[];
}

export const COMMON_HELP = `Options of every command:
  --store FILE     the store, or postgres://…; default $CODEX_ROTATOR_STORE,
                   else ~/.config/codex-rotator/accounts.json
  --backend URL    another backend than ChatGPT's
  --issuer URL     another token issuer than OpenAI's
  --no-color       plain text, as with NO_COLOR
  --help, -h       this help, or the help of a command
  --version, -v    the version
`;
const OPTION = /^ {2}(--[\w-]+)(?:, -\w)?(\[=\w+\]| [A-Z]+)?(?= {2}|$)/gm;
const SHORT = new Map([["-h", "--help"], ["-v", "--version"], ["-y", "--yes"]]);

/** Returns the options that a help text lists, each with how its value is written: "", " VALUE" or "[=VALUE]". */
export function optionsOf(help: string): ReadonlyMap<string, string> {
  const found = `${help}\n${COMMON_HELP}`.matchAll(OPTION);
  return new Map([...found].map(([, name, value = ""]) => [name!, value]));
}

export class Flags {
  readonly #values = new Map<string, string[]>();

  on(name: string): boolean {
    return this.#values.has(name);
  }

  value(name: string): string | undefined {
    return this.values(name).at(-1);
  }

  values(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** Reads the options among arguments, and returns the others. Without a help text all from the first operand on is left as it is. */
  read(args: readonly string[], help?: string): string[] {
    const known = optionsOf(help ?? "");
    const operands: string[] = [];
    const rest = [...args];
    for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
      if (arg === "--") return [...operands, ...rest];
      if (isOption(arg)) this.#add(arg, rest, known);
      else if (help === undefined) return [arg, ...rest];
      else operands.push(arg);
    }
    return operands;
  }

  #add(arg: string, rest: string[], known: ReadonlyMap<string, string>): void {
    const [, start = arg, given] = /^([^=]+)=(.*)$/s.exec(arg) ?? [];
    const names = [...known.keys()].sort();
    const problem = `Unknown option ${start}`;
    const option = requireName(SHORT.get(start) ?? start, names, problem);
    let value = given;
    if (known.get(option) === "" && value !== undefined) {
      throw usageError(
        `${option} takes no value; give ${option} or leave it out`,
      );
    }
    if (known.get(option)!.startsWith(" ")) {
      if (value === undefined && !isOption(rest[0] ?? "-")) {
        value = rest.shift();
      }
      if (!value) {
        throw usageError(
          `${option} was given without a value; write ${option}=VALUE`,
        );
      }
    }
    const name = option.slice(2);
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
  const found = spelled ?? io.env(variable);
  if (!found) return undefined;
  const url = URL.parse(found);
  // A cloned project's .env must not be able to send tokens elsewhere.
  if (spelled === undefined && url !== null && !isLoopback(url.hostname)) {
    throw usageError(
      `${variable} names the host ${url.host}, and the environment may name loopback hosts only; if it is meant, spell it out: --${flag} ${url.origin}${url.pathname}`,
    );
  }
  try {
    return checkedBase(found, flag);
  } catch (error) {
    const source = spelled === undefined ? variable : `--${flag}`;
    throw usageError(`${source}: ${messageOf(error)}`);
  }
}

export function requireAccounts(
  known: PoolState | readonly string[],
  aliases: readonly string[],
): void {
  const names = "accounts" in known ? Object.keys(known.accounts) : known;
  if (names.length === 0) throw new CliError(noAccount(), EXIT.noAccount);
  const missing = aliases.find((it) => !names.includes(it));
  if (missing === undefined) return;
  const all = names.toSorted().join(", ");
  throw usageError(
    `No account is named ${missing}${
      suggestion(missing, names)
    }; there are: ${all}`,
  );
}

export function requireAlias(text: string | undefined): void {
  if (text === undefined || isAlias(text)) return;
  const it = text || "Nothing";
  throw usageError(
    `${it} cannot be an alias; use letters, digits, '.', '_' and '-', begin with a letter or digit, at most 64 characters, and neither all nor none`,
  );
}
