/**
 * A PostgreSQL server of Debian's packages, with a data folder and a port of
 * its own, for tests on any runtime.
 */
import { execFile, spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { appendFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { freePort } from "../ports.ts";

const execute = promisify(execFile);
/** Where Debian puts them, by version. */
const FOLDER = "/usr/lib/postgresql";
/** What must not appear anywhere: the password of the server's user. */
export const PASSWORD = "canary/p@ss:word";
/** The server refuses to run as root. */
const AS_OWNER = process.getuid?.() === 0
  ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
  : [];

/** Where the programs are; undefined where the server is not installed. */
function findPrograms(): string | undefined {
  if (!existsSync(FOLDER)) return undefined;
  return readdirSync(FOLDER).sort((a, b) => Number(b) - Number(a))
    .map((version) => `${FOLDER}/${version}/bin`)
    .find((folder) => existsSync(`${folder}/initdb`));
}

/** Undefined where they are not installed. */
export const PROGRAMS = findPrograms();
/** Whether there is a server to test with. Where the tests decide about a change, there must be. */
export const hasPostgres = PROGRAMS !== undefined;
if (!hasPostgres) {
  const reason = "no PostgreSQL is here (Debian: apt-get install postgresql)";
  if (process.env["CI"] === "true") throw new Error(reason);
  console.log(`Skipped: tests with PostgreSQL, as ${reason}`);
}

/** A server that runs until it is disposed of. */
export interface PostgresServer extends AsyncDisposable {
  readonly port: number;
  /** The URL of its database, with the password. */
  readonly url: string;
  /** The same with a schema that has nothing in it yet. */
  newUrl(): string;
  start(): Promise<void>;
  /** @param mode "immediate" is as if the power failed. */
  stop(mode?: "fast" | "immediate"): Promise<void>;
  /** Runs SQL as its superuser, past any store, and gives the lines of the result. */
  sql(text: string): Promise<string[]>;
  /** What was prepared in its data folder. */
  readonly prepared: string | undefined;
}

/**
 * Starts a server.
 *
 * @param settings Lines of its configuration.
 * @param prepare Puts what they need into its data folder.
 */
export async function startPostgres(
  settings: readonly string[] = [],
  prepare?: (data: string) => Promise<string>,
): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-pg-"));
  const data = join(folder, "data");
  const port = await freePort();
  await createCluster(folder, [
    `port = ${port}`,
    "listen_addresses = '127.0.0.1'",
    `unix_socket_directories = '${data}'`,
    "max_connections = 250",
    "fsync = off",
    ...settings,
  ]);
  const prepared = await prepare?.(data);
  await giveAway(folder);
  const pgCtl = (...args: string[]) =>
    command("pg_ctl", ["-D", data, "-w", "-s", ...args]);
  const start = async () => {
    const [program, ...args] = pgCtl("-l", join(data, "log"), "start");
    await execute(program!, args);
  };
  const stop = async (mode = "fast") => {
    const [program, ...args] = pgCtl("-m", mode, "stop");
    await execute(program!, args);
  };
  // nobody has to end it who ends by himself
  const end = () => {
    const [program, ...args] = pgCtl("-m", "immediate", "stop");
    spawnSync(program!, args, { stdio: "ignore" });
    rmSync(folder, { recursive: true, force: true });
  };
  process.on("exit", end);
  // all that Deno's tests have of an exit
  if ("Deno" in globalThis) addEventListener("unload", end);
  await start();
  const password = encodeURIComponent(PASSWORD);
  const url = `postgres://rotator:${password}@127.0.0.1:${port}/postgres`;
  let schemas = 0;
  return {
    port,
    url,
    newUrl: () => `${url}?schema=s${++schemas}`,
    start,
    stop,
    sql: (text) => psql(port, text),
    prepared,
    async [Symbol.asyncDispose]() {
      process.off("exit", end);
      if ("Deno" in globalThis) removeEventListener("unload", end);
      await stop("immediate").catch(() => {});
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function createCluster(
  folder: string,
  settings: readonly string[],
): Promise<void> {
  const data = join(folder, "data");
  const password = join(folder, "password");
  await writeFile(password, PASSWORD);
  await mkdir(data);
  await giveAway(folder);
  const [program, ...args] = command("initdb", [
    ...["-D", data, "-U", "rotator", "-E", "UTF8", "--no-locale"],
    ...["--auth=scram-sha-256", `--pwfile=${password}`, "--no-sync"],
  ]);
  await execute(program!, args);
  const text = settings.map((line) => `${line}\n`).join("");
  await appendFile(join(data, "postgresql.conf"), text);
}

/** Gives a folder to whom the server runs as. */
async function giveAway(folder: string): Promise<void> {
  const [program] = AS_OWNER;
  if (program) await execute("chown", ["-R", "postgres", folder]);
}

async function psql(port: number, text: string): Promise<string[]> {
  const where = ["-h", "127.0.0.1", "-p", String(port), "-U", "rotator"];
  const { stdout } = await execute(
    join(PROGRAMS!, "psql"),
    ["-XAtq", ...where, "-c", text, "postgres"],
    { env: { ...process.env, PGPASSWORD: PASSWORD } },
  );
  return stdout.split("\n").filter((line) => line !== "");
}

function command(program: string, args: readonly string[]): string[] {
  return [...AS_OWNER, join(PROGRAMS!, program), ...args];
}
