/** The command line: finds the command, runs it, and tells what went wrong. */
import { VERSION } from "../version.ts";
import { isDenied, messageOf, RotatorError } from "../errors.ts";
import {
  commandHelp,
  commands,
  generalHelp,
  reflow,
  SYNONYMS,
} from "./commands.ts";
import { suggestAs } from "./format.ts";
import { isAllGranted } from "./granted.ts";
import { type Io, processIo } from "./io.ts";
import { CliError, EXIT, printError, usageError, voiceOf } from "./messages.ts";
import { nearest } from "../nearest.ts";
import {
  type Command,
  type CommandEntry,
  type Context,
  Flags,
} from "./options.ts";
import { openRuntime } from "./runtime.ts";
import { withoutPassword } from "../store/paths.ts";

/** Runs one command line, given without the program's name. Returns the exit code. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  suggestAs(io);
  const safe = withoutPasswords(io, args);
  try {
    return await dispatch(args, safe) ?? EXIT.ok;
  } catch (error) {
    if (io.isInterrupted) return EXIT.interrupted;
    printError(safe, messageOf(error));
    return exitCode(error);
  }
}

/** The same, which shows no password of a database that was named. */
function withoutPasswords(io: Io, args: readonly string[]): Io {
  const urls = args.map((arg) => arg.replace(/^--\w+=/, ""))
    .filter((url) => withoutPassword(url) !== url);
  if (urls.length === 0) return io;
  const hide = (text: string) =>
    urls.reduce((it, url) => it.replaceAll(url, withoutPassword(url)), text);
  return Object.create(io, {
    out: { value: (text: string) => io.out(hide(text)) },
    err: { value: (text: string) => io.err(hide(text)) },
    log: { value: (text: string) => (io.log ?? io.err)(hide(text)) },
  });
}

async function dispatch(
  args: readonly string[],
  io: Io,
): Promise<number | void> {
  const print = (text: string) => io.out(reflow(text, io.columns));
  const flags = new Flags();
  let [name, ...rest] = flags.read(args);
  if (flags.on("version")) return print(`${VERSION}\n`);
  if (name === undefined && !flags.on("help")) {
    io.err(reflow(generalHelp(), io.columns));
    return EXIT.usage;
  }
  if (name === "help") [name, ...rest] = [rest[0], "--help"];
  if (name === undefined) return print(generalHelp());
  const entry = entryOf(name);
  const command = await entry.load();
  const operands = flags.read(rest, command.help);
  if (flags.on("help")) return print(commandHelp(entry, command));
  if (flags.on("version")) return print(`${VERSION}\n`);
  const [least, most] = command.operands;
  if (operands.length < least || operands.length > most) {
    const found = operands.length < least ? "Too few" : "Too many";
    const { usage } = entry;
    throw usageError(`${found} arguments: ${operands.length}; usage: ${usage}`);
  }
  // with its getters, as some of them act
  const shown: Io = flags.on("no-color")
    ? Object.create(io, { color: { value: false } })
    : io;
  const context = { io: shown, flags, operands, args, ...voiceOf(shown) };
  return await runCommand(command, context);
}

async function runCommand(
  command: Command,
  context: Context,
): Promise<number | void> {
  const { io, flags } = context;
  const store = flags.value("store");
  suggestAs(io, store && withoutPassword(store));
  // rarely needed, and not small
  const permissions = () => import("./permissions.ts");
  if (!isAllGranted()) {
    (await permissions()).requestPermissions(command, context);
  }
  // what it has begun to change it finishes
  if (command.needs.write) void io.signal;
  if (command.endsItself) io.bePatient?.();
  try {
    const code = await command.run(context, commands);
    return io.isInterrupted ? EXIT.interrupted : code;
  } catch (error) {
    if (exitCode(error) === EXIT.noAccount) {
      const { firstRun } = await import("./login_places.ts");
      throw new CliError(firstRun(context), EXIT.noAccount);
    }
    if (!isDenied(error)) throw error;
    const { permissionAdvice } = await permissions();
    throw new CliError(permissionAdvice(error, command, context));
  }
}

function entryOf(name: string): CommandEntry {
  const entry = commands.get(name);
  if (entry !== undefined) return entry;
  const names = [...commands.keys()];
  const meant = nearest(name, [...names, ...SYNONYMS.keys()]);
  const more = meant === undefined
    ? `; known are: ${names.join(", ")}`
    : ` (did you mean ${SYNONYMS.get(meant) ?? meant}?)`;
  throw usageError(`Unknown command ${name}${more}`);
}

function exitCode(error: unknown): number {
  if (error instanceof CliError) return error.code;
  const isEmpty = error instanceof RotatorError && error.code === "no_accounts";
  return isEmpty ? EXIT.noAccount : EXIT.failed;
}

export async function runProcess(): Promise<void> {
  const runtime = await openRuntime();
  runtime.finish(await main(runtime.args, processIo(runtime)));
}
