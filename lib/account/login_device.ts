import { CLIENT_ID, deviceUrls } from "../codex/endpoints.ts";
import { readNumber, readText } from "../codex/json.ts";
import {
  type CodeGrant,
  errorWord,
  exchangeCode,
  type LoginOptions,
  objectOf,
  postJson,
} from "./login.ts";
import type { ImportedLogin } from "./login_files.ts";
import type { FetchedText } from "./context.ts";

/** What a person needs to sign a device in. */
export interface DeviceCode {
  /** To be entered on the page. */
  readonly userCode: string;
  /** The page's address. */
  readonly page: string;
  /** How long the code is good, ms. */
  readonly lifetimeMs: number;
}

/** How to sign a device in. */
export interface DeviceLoginOptions extends LoginOptions {
  /** Shows the code. */
  readonly onCode: (code: DeviceCode) => void;
  /** Waits between two questions, ms; rejects when the signal aborts. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** A code is good for this long, ms. */
const LIFETIME_MS = 15 * 60_000;
/** Where the issuer names no interval, ms. */
const INTERVAL_MS = 5_000;
const LONGEST_INTERVAL_MS = 60_000;
/** What `slow_down` adds, ms. */
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
  const begun = await askForCode(options, urls.userCode);
  const { deviceId, userCode } = begun;
  options.onCode({ userCode, page: urls.page, lifetimeMs: LIFETIME_MS });
  const question = { device_auth_id: deviceId, user_code: userCode };
  const wait = options.wait ?? pause;
  let interval = begun.intervalMs;
  // counted in waits, so that a clock that is set cannot hold us forever
  for (let waited = interval; waited <= LIFETIME_MS; waited += interval) {
    await wait(interval, options.signal);
    const verdict = readPoll(await postJson(options, urls.token, question));
    if (verdict === "slow-down") interval += SLOWER_MS;
    if (typeof verdict === "string") continue;
    return await exchangeCode(options, { ...verdict, redirect: urls.redirect });
  }
  throw new Error(EXPIRED);
}

const EXPIRED =
  "The code was not entered in time and has expired; start the sign-in again";

interface Begun {
  deviceId: string;
  userCode: string;
  intervalMs: number;
}

async function askForCode(
  options: LoginOptions,
  url: string,
): Promise<Begun> {
  const called = await postJson(options, url, { client_id: CLIENT_ID });
  if ("error" in called) {
    throw new Error(
      `The issuer gave no code: ${called.error}; try again, or sign in with the browser, without --device`,
    );
  }
  const { status } = called.response;
  if (status === 404) {
    throw new Error(
      "The issuer does not offer sign-in by device code (404); allow it in ChatGPT's security settings, or sign in with the browser, without --device",
    );
  }
  const answer = objectOf(called);
  const deviceId = readText(answer.device_auth_id);
  const userCode = readText(answer.user_code);
  if (status !== 200 || deviceId === null || userCode === null) {
    throw new Error(
      `The issuer gave no code (${status}); try again, or sign in with the browser, without --device`,
    );
  }
  return { deviceId, userCode, intervalMs: intervalOf(answer.interval) };
}

/** The interval comes as a string, in seconds. */
function intervalOf(value: unknown): number {
  const seconds = readNumber(value) ?? 0;
  return seconds > 0
    ? Math.min(seconds * 1000, LONGEST_INTERVAL_MS)
    : INTERVAL_MS;
}

/** What the issuer says of a code that was shown. */
function readPoll(
  called: FetchedText,
): "pending" | "slow-down" | Omit<CodeGrant, "redirect"> {
  // the person may be typing: one lost call is no reason to give up
  if ("error" in called) return "pending";
  const { status } = called.response;
  const word = errorWord(called);
  if (status === 200) {
    const answer = objectOf(called);
    const code = readText(answer.authorization_code);
    const verifier = readText(answer.code_verifier);
    if (code !== null && verifier !== null) return { code, verifier };
    throw new Error(
      "The sign-in was not completed: the issuer's answer lacks the code; start it again",
    );
  }
  if (status === 429 || word === "slow_down") return "slow-down";
  if (word?.endsWith("access_denied") || word?.endsWith("_denied")) {
    throw new Error("The sign-in was denied; start it again if it was meant");
  }
  if (word?.includes("expired")) throw new Error(EXPIRED);
  const isPending = status === 403 || status === 404 || status >= 500 ||
    word?.endsWith("authorization_pending");
  if (isPending) return "pending";
  throw new Error(
    `The sign-in was not completed: the issuer answered ${status}${
      word === undefined ? "" : ` (${word})`
    }; start it again`,
  );
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
