/**
 * The login file that an account is linked to: read, locked, and given new
 * tokens with nothing else changed. Its own tool knows of no lock.
 */
import { createHash } from "node:crypto";
import {
  chmod,
  chown,
  open,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import {
  BUSY,
  codeOf,
  newToken,
  realFile,
  unless,
  unlessMissing,
  withBusyRetry,
  writeAdvice,
} from "../store/file.ts";
import { withLock } from "../store/lock.ts";
import { isDenied } from "../errors.ts";
import { parseJson } from "../values.ts";
import type { AccountSource } from "../types.ts";
import {
  type ImportedLogin,
  KEYRING_ADVICE,
  readLoginFile,
} from "./login_files.ts";

export interface LinkSource extends AccountSource {
  kind: "codex" | "opencode";
}

/** What a linked file holds; without a login it is half written or signed out of. */
interface LinkContent {
  readonly text: string;
  readonly login: ImportedLogin | undefined;
}

/** A file that a process left behind that died while it wrote. */
interface Leftover extends LinkContent {
  readonly path: string;
  /** The lock, which may also be somebody's who lives. */
  readonly isLock: boolean;
}

/** Codes of a folder in which nothing can be made. */
const CLOSED = ["EACCES", "EPERM", "EROFS"];
const LEFTOVER =
  /^\.(?:[0-9a-f]{24}\.tmp|codex-rotator\.lock(?:\.(?:[0-9a-f]{24}|untold)\.end\d+)?)$/;
/** New tokens may take this much more room than the old ones (bytes). */
const ROOM = 4096;

export class LinkedFile {
  readonly path: string;
  readonly #kind: LinkSource["kind"];
  readonly #spareFolder: string | undefined;

  /** @param spareFolder Where else a copy can be kept while the file is written. */
  constructor({ path, kind }: LinkSource, spareFolder?: string) {
    this.path = path;
    this.#kind = kind;
    this.#spareFolder = spareFolder;
  }

  /**
   * @returns undefined when the file is not there.
   * @throws {Error} When it may not be read.
   */
  read(): Promise<LinkContent | undefined> {
    return this.#read(this.path).catch((error) => this.#fail(error, "read"));
  }

  async #read(path: string): Promise<LinkContent | undefined> {
    const reading = withBusyRetry(() => readFile(path, "utf8"));
    const text = await unlessMissing(reading);
    if (text === undefined) return undefined;
    try {
      const { logins } = readLoginFile(text, this.path, this.#kind);
      return { text, login: logins[0]?.login };
    } catch {
      // half written, or signed out of
      return { text, login: undefined };
    }
  }

  /**
   * Runs `job` while no other rotator, whatever its store, works on the file.
   *
   * @throws {Error} When Deno was not permitted to lock it.
   */
  async hold<T>(job: () => Promise<T>): Promise<T> {
    const onFailure = (error: unknown) => {
      // in a folder where no lock can be made, the store's own has to do
      if (!CLOSED.includes(codeOf(error) ?? "")) this.#fail(error, "written");
    };
    const file = await realFile(this.path).catch(onFailure);
    if (!file || !await unlessMissing(stat(file)).catch(onFailure)) {
      return await job();
    }
    return await withLock(`${file}.codex-rotator.lock`, job, { onFailure });
  }

  /**
   * Finds out whether the file can be given new tokens, before one is spent
   * that could not be.
   *
   * @throws {Error} When it cannot.
   */
  async tryWriting(): Promise<void> {
    try {
      const file = await realFile(this.path);
      const handle = await open(file, "r+");
      const { size } = await handle.stat().finally(() => handle.close());
      await unlink(await this.#copy(file, " ".repeat(size + ROOM)));
    } catch (error) {
      this.#fail(error, "written");
    }
  }

  /**
   * Replaces the text of the file, whole or not at all: a process that dies
   * leaves the old file, the new one, or a copy that {@linkcode leftovers} finds.
   *
   * @returns false when the file is not what it was any more.
   * @throws {Error} When it cannot be written.
   */
  async replace(before: string, after: string): Promise<boolean> {
    let copy: string | undefined;
    try {
      const file = await realFile(this.path);
      copy = await this.#copy(file, after);
      const isBeside = dirname(copy) === dirname(file) &&
        await keepOwner(copy, file);
      // as late as can be: the other tool may write at any moment
      if (await readFile(file, "utf8") !== before) return false;
      if (!isBeside || !await moveOnto(copy, file)) {
        // as its own tool does
        await writeSynced(file, after, "r+");
      }
      return true;
    } catch (error) {
      return this.#fail(error, "written");
    } finally {
      if (copy) await unlink(copy).catch(() => {});
    }
  }

  /** Writes a copy beside the file, or in the spare folder. */
  async #copy(file: string, text: string): Promise<string> {
    const end = `.${newToken()}.tmp`;
    const folder = this.#spareFolder;
    const beside = writeSynced(file + end, text, "wx");
    if (folder === undefined) return await beside;
    const spare = join(folder, spareName(file) + end);
    return await unless(CLOSED, beside) ?? await writeSynced(spare, text, "wx");
  }

  /** What dead processes left; to be called while the file is held, or to see whether it has to be. */
  async leftovers(): Promise<Leftover[]> {
    const file = await realFile(this.path);
    const places = [[dirname(file), basename(file)]];
    if (this.#spareFolder) places.push([this.#spareFolder, spareName(file)]);
    const found: Leftover[] = [];
    for (const [folder = "", prefix = ""] of places) {
      for (const name of await readdir(folder).catch(() => [])) {
        if (!name.startsWith(prefix)) continue;
        if (!LEFTOVER.test(name.slice(prefix.length))) continue;
        const path = join(folder, name);
        const content = await this.#read(path).catch(() => undefined);
        if (!content) continue;
        found.push({ path, isLock: name.endsWith(".lock"), ...content });
      }
    }
    return found;
  }

  /** Says why the file cannot be worked with, and what to do. */
  #fail(cause: unknown, what: "read" | "written"): never {
    const { path } = this;
    const code = codeOf(cause);
    if (isDenied(cause)) {
      const folder = dirname(path);
      throw new Error(
        `The linked file ${path} cannot be ${what}, as Deno was not permitted to; run with --allow-read=${folder} and --allow-write=${folder}`,
        { cause },
      );
    }
    if (code === undefined) throw cause;
    throw new Error(
      `The linked file ${path} cannot be ${what} (${code}); ${
        writeAdvice(code) ?? "make it and its folder writable"
      }, or take its tokens over with "codex-rotator import '${path}' --copy"`,
      { cause },
    );
  }
}

/** How copies of a file begin in a folder that is not its own. */
function spareName(file: string): string {
  const hash = createHash("sha256").update(file).digest("hex");
  return `linked-${hash.slice(0, 16)}`;
}

/** Writes a text to the disk: to a new file ("wx"), or over one that is there ("r+"); returns its path. */
async function writeSynced(path: string, text: string, flags: "wx" | "r+") {
  const handle = await open(path, flags, 0o600);
  try {
    await handle.truncate();
    await handle.writeFile(text);
    await handle.sync();
    return path;
  } catch (error) {
    if (flags === "wx") await unlink(path).catch(() => {});
    throw error;
  } finally {
    await handle.close();
  }
}

/** Gives a copy the mode and the owner of the file; false where that is not permitted. */
async function keepOwner(copy: string, file: string): Promise<boolean> {
  const [mine, theirs] = await Promise.all([stat(copy), stat(file)]);
  await chmod(copy, theirs.mode & 0o7777);
  if (mine.uid === theirs.uid && mine.gid === theirs.gid) return true;
  const given = chown(copy, theirs.uid, theirs.gid).then(() => true);
  return await unless(["EPERM"], given) ?? false;
}

/** Puts a copy in the place of a file; false where that is mounted by itself. */
async function moveOnto(copy: string, file: string): Promise<boolean> {
  const move = () => rename(copy, file).then(() => true);
  const moved = process.platform === "win32" ? withBusyRetry(move) : move();
  return await unless(BUSY, moved) ?? false;
}

/** Why what was in a file, as it was found, may be spent. */
export function lossOf(
  path: string,
  found: { text: string } | undefined,
): { reason: string; mayPass?: true } {
  if (found && parseJson(found.text) === undefined) {
    return {
      reason:
        `The linked file ${path} is broken or half written; sign in with its tool again, or sign in to use this account without the file`,
      mayPass: true,
    };
  }
  const what = found ? "holds no login any more" : "is gone";
  return {
    reason:
      `The linked file ${path} ${what}, and its tool may use the login that was in it from elsewhere now; sign in again to use this account without the file, or ${KEYRING_ADVICE}`,
  };
}
