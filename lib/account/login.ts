/**
 * Signing in: what the browser and the device way have in common.
 *
 * @module
 */
import { CLIENT_ID, tokenUrl } from "../codex/endpoints.ts";
import { isRecord, parseJson } from "../codex/json.ts";
import { readErrorBody, shortText } from "../codex/error_report.ts";
import { readTokenAnswer } from "../codex/token_answer.ts";
import type { FetchLike } from "../types.ts";
import { sentOnce } from "./body.ts";
import { type ImportedLogin, loginOf } from "./login_files.ts";
import { type FetchedText, fetchText } from "./context.ts";

/** Where and how to sign in. */
export interface LoginOptions {
  /** Issuer URL without a trailing slash. */
  readonly issuer: string;
  readonly version: string;
  readonly fetch: FetchLike;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

/** What the issuer gave for a person's consent, to be exchanged for tokens. */
export interface CodeGrant {
  readonly code: string;
  readonly verifier: string;
  /** As it was named when the code was asked for. */
  readonly redirect: string;
}

/** A call to the issuer may take this long, ms. */
const CALL_LIMIT_MS = 20_000;

/**
 * Exchanges a code for tokens.
 *
 * @throws {Error} When the issuer does not give any.
 */
export async function exchangeCode(
  options: LoginOptions,
  { code, verifier, redirect }: CodeGrant,
): Promise<ImportedLogin> {
  const form = new URLSearchParams({
    grant_type: "authorization_code",
    client_id: CLIENT_ID,
    code,
    code_verifier: verifier,
    redirect_uri: redirect,
  });
  const type = "application/x-www-form-urlencoded";
  const called = await post(
    options,
    tokenUrl(options.issuer),
    type,
    `${form}`,
  );
  if ("error" in called) throw incomplete(called.error);
  const { status } = called.response;
  const answer = readTokenAnswer(status, called.text);
  if (answer.kind === "transient") throw incomplete(answer.reason);
  if (answer.kind === "refused") {
    throw incomplete(
      `the issuer refused the code (${errorWord(called) ?? status})`,
    );
  }
  const { access, refresh, id, expiresInSeconds } = answer;
  if (access === undefined || refresh === undefined) {
    throw incomplete("the issuer's answer lacks a token");
  }
  return loginOf({
    access,
    refresh,
    ...(id === undefined ? {} : { id }),
    expiresAt: expiresInSeconds === undefined
      ? null
      : Date.now() + expiresInSeconds * 1000,
  });
}

/** A JSON call to the issuer. */
export function postJson(
  options: LoginOptions,
  url: string,
  body: Record<string, string>,
): Promise<FetchedText> {
  return post(options, url, "application/json", JSON.stringify(body));
}

/** The code that an error answer names: a word, no text. */
export function errorWord({ text }: { text: string }): string | undefined {
  return readErrorBody(text).codes.find((it) => /^[a-z0-9_]{1,64}$/i.test(it));
}

/** What the issuer says of an error, short and fit for a terminal. */
export function errorText(error: string, description: string | null): string {
  const words = [error, description ?? ""].map(shortText).filter((it) => it);
  return words.join(": ");
}

/** The JSON object of an answer; empty when it is none. */
export function objectOf({ text }: { text: string }): Record<string, unknown> {
  const json = parseJson(text);
  return isRecord(json) ? json : {};
}

async function post(
  options: LoginOptions,
  url: string,
  type: string,
  body: string,
): Promise<FetchedText> {
  const called = await fetchText(
    options,
    url,
    {
      method: "POST",
      headers: {
        "content-type": type,
        "accept": "application/json",
        "user-agent": `codex-rotator/${options.version}`,
      },
      ...sentOnce(body),
    },
    CALL_LIMIT_MS,
    options.signal,
  );
  options.signal.throwIfAborted();
  return called;
}

function incomplete(reason: string): Error {
  return new Error(
    `The sign-in was not completed: ${reason}; start it again`,
  );
}
