/**
 * Signing in: by a code that a person enters on another device, and what that
 * has in common with the browser.
 */
import { CLIENT_ID, deviceUrls, tokenUrl } from "../codex/endpoints.ts";
import { readErrorBody } from "../codex/error_report.ts";
import {
  definedIn,
  parseJson,
  readPositive,
  readText,
  recordOf,
} from "../values.ts";
import { readTokenAnswer } from "../codex/tokens.ts";
import { delay } from "../abort.ts";
import {
  type AccountContext,
  type FetchedText,
  postToIssuer,
} from "./context.ts";
import { type ImportedLogin, loginOf } from "./login_files.ts";

export interface LoginOptions extends Pick<AccountContext, "issuer" | "fetch"> {
  readonly signal: AbortSignal;
}

/** What the issuer gave for a person's consent, to be exchanged for tokens. */
export interface CodeGrant {
  readonly code: string;
  readonly verifier: string;
  /** As it was named when the code was asked for. */
  readonly redirect: string;
}

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
  const called = await postToIssuer(options, tokenUrl(options.issuer), form);
  if ("error" in called) throw incomplete(called.error);
  const { status } = called.response;
  const answer = readTokenAnswer(status, called.text);
  if (answer.kind === "transient") throw incomplete(answer.reason);
  if (answer.kind === "refused") {
    const word = errorWord(called) ?? status;
    throw incomplete(`the issuer refused the code (${word})`);
  }
  const { access, refresh, id, lifetimeMs } = answer;
  if (access === undefined || refresh === undefined) {
    throw incomplete("the issuer's answer lacks a token");
  }
  return loginOf({
    access,
    refresh,
    ...definedIn({ id }),
    expiresAt: lifetimeMs === null ? null : Date.now() + lifetimeMs,
  });
}

/** The code that an error answer names: a word, no text. */
function errorWord({ text }: { text: string }): string | undefined {
  return readErrorBody(text).codes.find((it) => /^[a-z0-9_]{1,64}$/i.test(it));
}

function incomplete(reason: string): Error {
  return new Error(`The sign-in was not completed: ${reason}; start it again`);
}

export interface DeviceLoginOptions extends LoginOptions {
  /** Shows the code to be entered on a page, and how long it is good (ms). */
  readonly onCode: (
    code: { userCode: string; page: string; lifetimeMs: number },
  ) => void;
  /** Waits between two questions, in ms; rejects when the signal aborts. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** What has to be switched on before a device can be signed in, for people. */
export const DEVICE_SETTING =
  "device code login for Codex has to be allowed first, in ChatGPT under Settings, Security (in a workspace by its admin, under Permissions)";
/** A code is good for this long (ms). */
const LIFETIME_MS = 15 * 60_000;
/** Where the issuer names no interval (ms). */
const INTERVAL_MS = 5_000;
const MAX_INTERVAL_MS = 60_000;
/** What `slow_down` adds (ms). */
const SLOWER_MS = 5_000;

/**
 * Signs in on another device: the person enters a code there.
 *
 * @throws {Error} When the person or the issuer refuses, or nobody enters the
 * code in time.
 */
export async function signInByDevice(
  options: DeviceLoginOptions,
): Promise<ImportedLogin> {
  const urls = deviceUrls(options.issuer);
  const { question, ...code } = await askForCode(options, urls.userCode);
  const { user_code: userCode } = question;
  options.onCode({ userCode, page: urls.page, lifetimeMs: LIFETIME_MS });
  const wait = options.wait ?? delay;
  let interval = code.intervalMs;
  // counted in waits, so that a clock that is set cannot hold us forever
  for (let waited = interval; waited <= LIFETIME_MS; waited += interval) {
    await wait(interval, options.signal);
    const verdict = readPoll(await postToIssuer(options, urls.token, question));
    if (verdict === "slow-down") interval += SLOWER_MS;
    if (typeof verdict === "string") continue;
    return await exchangeCode(options, { ...verdict, redirect: urls.redirect });
  }
  throw new Error(EXPIRED);
}

const EXPIRED =
  "The code was not entered in time and has expired; start the sign-in again";

async function askForCode(options: LoginOptions, url: string) {
  const called = await postToIssuer(options, url, { client_id: CLIENT_ID });
  const failed = (reason: string) =>
    new Error(`${reason} or sign in with the browser, without --device`);
  if ("error" in called) {
    throw failed(`The issuer gave no code: ${called.error}; try again,`);
  }
  const { status } = called.response;
  if (status === 404) {
    throw failed(
      `The issuer does not offer sign-in by device code (404): ${DEVICE_SETTING};`,
    );
  }
  const answer = recordOf(parseJson(called.text));
  const device_auth_id = readText(answer.device_auth_id);
  const user_code = readText(answer.user_code);
  if (status !== 200 || device_auth_id === null || user_code === null) {
    throw failed(`The issuer gave no code (${status}); try again,`);
  }
  // it comes as a string, in seconds
  const ms = (readPositive(answer.interval) ?? 0) * 1000 || INTERVAL_MS;
  const intervalMs = Math.min(ms, MAX_INTERVAL_MS);
  return { question: { device_auth_id, user_code }, intervalMs };
}

function readPoll(
  called: FetchedText,
): "pending" | "slow-down" | Omit<CodeGrant, "redirect"> {
  // the person may be typing: one lost call is no reason to give up
  if ("error" in called) return "pending";
  const { status } = called.response;
  const word = errorWord(called);
  if (status === 200) {
    const answer = recordOf(parseJson(called.text));
    const code = readText(answer.authorization_code);
    const verifier = readText(answer.code_verifier);
    if (code !== null && verifier !== null) return { code, verifier };
    throw incomplete("the issuer's answer lacks the code");
  }
  if (status === 429 || word === "slow_down") return "slow-down";
  if (word?.endsWith("_denied")) {
    throw new Error("The sign-in was denied; start it again if it was meant");
  }
  if (word?.includes("expired")) throw new Error(EXPIRED);
  const isPending = status === 403 || status === 404 || status >= 500 ||
    word?.endsWith("authorization_pending");
  if (isPending) return "pending";
  throw incomplete(`the issuer answered ${status}${word ? ` (${word})` : ""}`);
}
