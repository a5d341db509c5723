/**
 * The command line: finds the command, runs it, and says what went wrong.
 *
 * @module
 */
import { VERSION } from "../version.ts";
import { RotatorError } from "../errors.ts";
import {
  type Command,
  type Context,
  mergeFlags,
  readArguments,
} from "./command.ts";
import { type CommandEntry, commands } from "./commands.ts";
import { CliError, EXIT, usageError } from "./exit.ts";
import { commandHelp, generalHelp, reflow } from "./help.ts";
import type { Io } from "./io.ts";
import { suggestion } from "./nearest.ts";
import { sanitize, suggestCommand, suggestFor } from "./format.ts";

/**
 * Runs one command line.
 *
 * @param args The arguments, without the program's name.
 * @param io What the command sees of the world.
 * @returns The exit code.
 */
export async function main(args: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(args, io);
  } catch (error) {
    if (io.isInterrupted) return EXIT.interrupted;
    // what comes from below the command line knows of no store in it
    const text = errorText(error)
      .replaceAll(/"cli\.ts ([^"]+)"/g, (_, it) => `"${suggestCommand(it)}"`);
    io.err(`Error: ${text}\n`);
    return exitCode(error);
  }
}

async function dispatch(args: readonly string[], io: Io): Promise<number> {
  const { flags, operands } = readArguments(args, { stopEarly: true });
  if (flags.on("version")) return print(io, `${VERSION}\n`);
  const [name, ...rest] = operands;
  if (name === undefined || name === "help") {
    return flags.on("help") || name === "help"
      ? await printHelp(io, rest[0])
      : missingCommand(io);
  }
  if (flags.on("help")) return await printHelp(io, name);
  const entry = entryOf(name);
  const { command } = await entry.load();
  const own = readArguments(rest, command);
  if (own.flags.on("help")) return print(io, commandHelp(entry, command));
  if (own.flags.on("version")) return print(io, `${VERSION}\n`);
  checkOperands(entry, command, own.operands);
  const given = mergeFlags(own.flags, flags);
  const context: Context = {
    io: given.on("no-color") ? withoutColor(io) : io,
    flags: given,
    operands: own.operands,
  };
  return await runCommand(command, context, args);
}

/** The same, with its getters, as some of them act. */
function withoutColor(io: Io): Io {
  return Object.create(io, { color: { value: false } });
}

async function runCommand(
  command: Command,
  context: Context,
  args: readonly string[],
): Promise<number> {
  suggestFor(context.flags.value("store"));
  // what it has begun to change it finishes
  if (command.needs.write) void context.io.signal;
  if (command.endsItself) context.io.bePatient?.();
  try {
    const code = await command.run(context);
    return context.io.isInterrupted ? EXIT.interrupted : code;
  } catch (error) {
    if (exitCode(error) === EXIT.noAccount) {
      const { firstRun } = await import("./first_run.ts");
      throw new CliError(firstRun(context), EXIT.noAccount);
    }
    if (!(error instanceof Error && error.name === "NotCapable")) throw error;
    // rarely needed, and not small
    const { permissionAdvice } = await import("./permissions.ts");
    throw new CliError(permissionAdvice(error, command, context, args));
  }
}

function print(io: Io, text: string): number {
  io.out(reflow(text, io.columns));
  return EXIT.ok;
}

function missingCommand(io: Io): number {
  io.err(reflow(generalHelp(), io.columns));
  return EXIT.usage;
}

async function printHelp(io: Io, name: string | undefined): Promise<number> {
  if (name === undefined) return print(io, generalHelp());
  const entry = entryOf(name);
  return print(io, commandHelp(entry, (await entry.load()).command));
}

function entryOf(name: string): CommandEntry {
  const entry = commands.get(name);
  if (entry !== undefined) return entry;
  const names = [...commands.keys()];
  throw usageError(
    `Unknown command ${sanitize(name)}${suggestion(name, names)}; known are: ${
      names.join(", ")
    }`,
  );
}

function checkOperands(
  { usage }: CommandEntry,
  { operands: [least, most] }: Command,
  { length }: readonly string[],
): void {
  if (length >= least && length <= most) return;
  const found = length < least ? "Too few" : "Too many";
  throw usageError(`${found} arguments: ${length}; usage: ${usage}`);
}

function errorText(error: unknown): string {
  return sanitize(error instanceof Error ? error.message : String(error));
}

function exitCode(error: unknown): number {
  if (error instanceof CliError) return error.code;
  if (error instanceof RotatorError && error.code === "no_accounts") {
    return EXIT.noAccount;
  }
  return EXIT.failed;
}
