/**
 * The login file that an account is linked to: read, and replaced whole with
 * nothing changed but the tokens.
 *
 * @module
 */
import { chmod, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { isRecord, parseJson } from "../codex/json.ts";
import {
  codeOf,
  newToken,
  realFile,
  unlessMissing,
  withBusyRetry,
} from "../store/file.ts";
import type { Tokens } from "../types.ts";
import { type ImportedLogin, readLoginFile } from "./login_files.ts";

/** Which file, and how its tokens are to be found in it. */
export interface LinkedFile {
  kind: "codex" | "opencode";
  path: string;
}

/** A linked file that holds a login. */
export interface ReadLogin {
  text: string;
  login: ImportedLogin;
}

/**
 * Reads a linked file.
 *
 * @throws {Error} When it may not be read.
 */
export async function readLinked(
  { kind, path }: LinkedFile,
): Promise<ReadLogin | "missing" | "unreadable"> {
  let text: string | undefined;
  try {
    text = await unlessMissing(withBusyRetry(() => readFile(path, "utf8")));
  } catch (error) {
    throw linkError(error, path, "read");
  }
  if (text === undefined) return "missing";
  try {
    return { text, login: readLoginFile(text, path, kind).logins[0]!.login };
  } catch {
    // half written, or signed out of
    return "unreadable";
  }
}

/** The file's text with other tokens, in the style it is written in. */
export function withTokens(
  text: string,
  kind: LinkedFile["kind"],
  tokens: Tokens,
  now: number,
): string {
  const mark = text.startsWith("\ufeff") ? "\ufeff" : "";
  const json = parseJson(text.slice(mark.length));
  const file = isRecord(json) ? json : {};
  const { access, refresh, id, expiresAt } = tokens;
  if (kind === "codex") {
    setFields(file.tokens, {
      access_token: access,
      refresh_token: refresh,
      id_token: id,
    });
    file.last_refresh = new Date(now).toISOString();
  } else {
    setFields(file.openai, { access, refresh, expires: expiresAt });
  }
  const indent = /^[{[]\r?\n([ \t]+)/.exec(text.slice(mark.length))?.[1];
  const body = JSON.stringify(file, null, indent);
  const end = /\s*$/.exec(text)?.[0] ?? "";
  const lines = text.includes("\r\n") ? body.replaceAll("\n", "\r\n") : body;
  return mark + lines + end;
}

function setFields(target: unknown, fields: Record<string, unknown>): void {
  if (!isRecord(target)) return;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && value !== null) target[name] = value;
  }
}

/** Replaces a file whole; false when it is not what it was any more. */
export async function replaceLinked(
  path: string,
  before: string,
  after: string,
): Promise<boolean> {
  const file = await realFile(path);
  const temp = `${file}.${newToken()}.tmp`;
  try {
    const handle = await open(temp, "wx", 0o600);
    try {
      await handle.writeFile(after);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await chmod(temp, (await stat(file)).mode & 0o7777);
    // as late as can be: the other tool may write at any moment
    if (await readFile(file, "utf8") !== before) return false;
    await withBusyRetry(() => rename(temp, file));
    return true;
  } finally {
    await unlessMissing(unlink(temp)).catch(() => {});
  }
}

/** Why the linked file cannot be worked with, and what to do. */
export function linkError(
  error: unknown,
  path: string,
  what: "read" | "written",
): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const folder = dirname(path);
  if (error.name === "NotCapable") {
    return new Error(
      `The linked file ${path} cannot be ${what}, as Deno was not permitted to; run with --allow-read=${folder} and --allow-write=${folder}`,
      { cause: error },
    );
  }
  const code = codeOf(error);
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error;
  return new Error(
    `The linked file ${path} cannot be ${what} (${code}); make its folder writable, or take its tokens over with "cli.ts import ${path} --copy"`,
    { cause: error },
  );
}
