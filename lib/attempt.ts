/**
 * One request sent on one account, and what follows from its answer.
 *
 * @module
 */
import { setTimeout } from "node:timers";
import { withAbort } from "./account/abort.ts";
import { sentOnce } from "./account/body.ts";
import { type Attempt, learnFacts, learnOutcome } from "./account/learn.ts";
import { TOKEN_REFUSED_MS } from "./account/usage_check.ts";
import { needsBody, type Outcome, readAnswer } from "./codex/answer.ts";
import { type HeaderFacts, readHeaders } from "./codex/headers.ts";
import { backendHeaders } from "./codex/request.ts";
import type { Choice, Turn } from "./choose.ts";
import { setCooldown } from "./pool/facts.ts";
import { poolOf } from "./pool/select.ts";
import type { Call } from "./request.ts";
import type { House } from "./runtime.ts";
import { send } from "./send.ts";

/** Tries after the first one that a hiccup may cost. */
const MOST_HICCUPS = 2;
/** The pause before the first of them, ms; it doubles. */
const BACKOFF_MS = 200;
/** More of an error's body is not looked at, bytes. */
const MOST_ERROR_BYTES = 64 * 1024;
/** An error's body that takes longer is not waited for, ms. */
const ERROR_BODY_MS = 5_000;

/**
 * Sends a request on the chosen account.
 *
 * @returns What the caller gets; undefined when the next account is to be tried.
 */
export async function attempt(
  house: House,
  call: Call,
  turn: Turn,
  choice: Choice,
): Promise<Response | undefined> {
  const { runner, pool } = choice;
  const access = house.tokens.current(runner.account) ??
    await renewed(house, call, turn, choice);
  if (access === undefined) return undefined;
  announce(house, call, turn, choice);
  const now = house.now();
  house.roster.use(runner, now);
  house.live.touch(runner.alias, 1);
  const sent: Attempt = { runner, pool, model: call.model, beganAt: now };
  const answer = await exchange(house, call, sent, access);
  if ("error" in answer) return await onHiccup(house, call, turn, sent, answer);
  if (answer.outcome.kind !== "token-rejected") {
    return await settle(house, call, turn, sent, answer);
  }
  const isFirst = !turn.renewed.has(runner.alias) && call.body.replayable;
  if (!isFirst) return await onTokenRefused(house, call, turn, sent, answer);
  turn.renewed.add(runner.alias);
  keep(turn, answer.response);
  const renewal = await renewed(house, call, turn, choice, access);
  if (renewal === undefined) return undefined;
  return await attempt(house, call, turn, choice);
}

/** A token that had to be waited for; what was true when the account was chosen may not be any more. */
async function renewed(
  house: House,
  call: Call,
  turn: Turn,
  choice: Choice,
  rejected?: string,
): Promise<string | undefined> {
  const { runner, pool } = choice;
  const access = await withAbort(
    house.tokens.access(runner.alias, rejected),
    call.signal,
  );
  if (access.kind !== "ok") {
    turn.tried.add(runner.alias);
    turn.left = { alias: runner.alias, reason: access.reason };
    return undefined;
  }
  const { standing } = runner.assess(call.model, house.now());
  return poolOf(standing) === pool && standing.kind !== "unknown"
    ? access.access
    : undefined;
}

const REASONS: Record<Choice["pool"], string> = {
  first: "It has included usage left",
  credits: "Nobody has included usage left, and it may spend its credits",
  unconfirmed:
    "Nobody is known to have included usage left, and it could not be asked",
};

function announce(
  house: House,
  call: Call,
  turn: Turn,
  choice: Choice,
): void {
  const { runner: { alias }, pool } = choice;
  const standing = pool === "first" ? "included" : pool;
  house.emit({ type: "selected", alias, standing, reason: REASONS[pool] });
  const session = call.session === undefined || !house.affinity
    ? undefined
    : house.sessions.get(call.session, house.now())?.alias;
  const from = turn.left?.alias ?? session;
  if (from !== undefined && from !== alias) {
    const reason = turn.left?.reason ?? "The session's account cannot serve it";
    house.emit({ type: "switched", alias, from, reason });
  }
  if (pool === "unconfirmed") {
    const reason =
      "This request may be charged: its account could not be asked";
    house.emit({ type: "warning", alias, reason });
  }
}

interface Answer {
  response: Response;
  facts: HeaderFacts;
  outcome: Outcome;
}

/** Sends, and reads what the answer means. */
async function exchange(
  house: House,
  call: Call,
  sent: Attempt,
  access: string,
): Promise<Answer | { error: unknown }> {
  const { account, alias } = sent.runner;
  const { backend, version } = house;
  const headers = backendHeaders(call.headers, {
    access,
    accountId: account.accountId,
    fedramp: account.fedramp === true,
  }, {
    version,
    accept: acceptOf(call),
    keepTurnState: servedLast(house, call) === alias,
  });
  const init = outgoing(call, sent, headers);
  const replayable = init.body === call.body.body;
  let response: Response;
  try {
    response = await send(
      house.fetch,
      { url: call.url, init, replayable },
      backend,
    );
  } catch (error) {
    call.signal?.throwIfAborted();
    return { error };
  }
  const facts = readHeaders(response.headers, sent.beganAt, call.model);
  const outcome = await meaningOf(house, call, response, facts);
  return { response, facts, outcome };
}

/** The request as `fetch` is given it. */
function outgoing(
  call: Call,
  sent: Attempt,
  headers: Headers,
): RequestInit & { headers: Headers } {
  const { method, body: { body, replayable } } = call;
  const init: RequestInit & { headers: Headers } = {
    ...call.init,
    method,
    headers,
  };
  delete init.body;
  if (call.signal) init.signal = call.signal;
  if (body === undefined) return init;
  if (!replayable) return Object.assign(init, { body, duplex: "half" });
  // what may be charged must not be sent twice by the runtime itself
  return Object.assign(init, sent.pool === "first" ? { body } : sentOnce(body));
}

/** The account whose turn state this session carries. */
function servedLast(house: House, call: Call): string | undefined {
  if (call.session === undefined) return undefined;
  return house.sessions.get(call.session, house.now())?.alias;
}

function acceptOf(call: Call): string {
  return /\/responses(\?|$)/.test(call.url)
    ? "text/event-stream"
    : "application/json";
}

async function meaningOf(
  house: House,
  call: Call,
  response: Response,
  headerFacts: HeaderFacts,
): Promise<Outcome> {
  const { status, headers } = response;
  const bodyText = needsBody(status)
    ? await withAbort(peek(response), call.signal)
    : undefined;
  const { model } = call;
  const now = house.now();
  return readAnswer({ status, headers, bodyText, now, model, headerFacts });
}

/** The beginning of a body as text, leaving it unread for the caller. */
async function peek(response: Response): Promise<string> {
  const reader = response.clone().body?.getReader();
  if (!reader) return "";
  const timer = setTimeout(() => void reader.cancel(), ERROR_BODY_MS);
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let size = 0; size < MOST_ERROR_BYTES;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // what came until then is what there is
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
  return text;
}

/** What an answer that is not about the token leads to. */
async function settle(
  house: House,
  call: Call,
  turn: Turn,
  sent: Attempt,
  answer: Answer,
): Promise<Response | undefined> {
  const { outcome, response, facts } = answer;
  switch (outcome.kind) {
    case "ok": {
      const before = sent.runner.account.credits?.balance ?? null;
      await learnFacts(house, sent, facts);
      keep(turn, undefined);
      tellCharge(house, sent, before);
      noteSession(house, call, sent);
      return response;
    }
    case "hiccup":
      return await onHiccup(house, call, turn, sent, { response, outcome });
    case "token-rejected":
    case "encrypted-content":
    case "other":
      keep(turn, undefined);
      return response;
    case "usage-limit":
    case "credits-refused":
      await learnFacts(house, sent, facts);
      return await onRefused(house, call, turn, sent, answer);
    case "workspace":
    case "model":
    case "plan":
    case "throttle":
      return await onRefused(house, call, turn, sent, answer);
  }
}

/** The account cannot serve this request: its cooldown is set and the next one is tried. */
async function onRefused(
  house: House,
  call: Call,
  turn: Turn,
  sent: Attempt,
  answer: Answer,
): Promise<Response | undefined> {
  const { outcome, response } = answer;
  const { alias, account, creditsAllowed } = sent.runner;
  const reason = await learnOutcome(house, sent, outcome);
  if (
    outcome.kind === "usage-limit" && creditsAllowed &&
    house.usage.mayAsk(alias, account)
  ) void house.usage.check(alias);
  if (!call.body.replayable) return response;
  keep(turn, response);
  return leave(turn, sent, reason);
}

/** Renewed and still refused: the backend does not take this login's tokens now. */
async function onTokenRefused(
  house: House,
  call: Call,
  turn: Turn,
  sent: Attempt,
  { response }: Answer,
): Promise<Response | undefined> {
  const { alias } = sent.runner;
  const setAt = house.now();
  const until = setAt + TOKEN_REFUSED_MS;
  const detail = "The backend refuses a token that was just renewed";
  await house.live.note((state) => {
    if (!Object.hasOwn(state.accounts, alias)) return;
    setCooldown(state.accounts[alias]!, "token", { until, setAt, detail });
  });
  house.emit({
    type: "cooldown",
    alias,
    cause: "token",
    until,
    reason: detail,
  });
  if (!call.body.replayable) return response;
  keep(turn, response);
  return leave(turn, sent, detail);
}

/**
 * The network or an overloaded server: tried again in the same pool, never in
 * one that costs more. What was sent on credits may have been charged, so only
 * a plain "overloaded" is repeated there.
 */
async function onHiccup(
  house: House,
  call: Call,
  turn: Turn,
  sent: Attempt,
  failure: { error: unknown } | {
    response: Response;
    outcome: Outcome & { kind: "hiccup" };
  },
): Promise<Response | undefined> {
  turn.hiccups++;
  const isRepeatable = sent.pool === "first" ||
    ("outcome" in failure && failure.outcome.status === 503);
  const isLast = turn.hiccups > MOST_HICCUPS || !isRepeatable ||
    !call.body.replayable;
  if ("error" in failure) {
    keep(turn, undefined);
    if (isLast) throw failure.error;
    turn.error = failure.error;
  } else {
    if (isLast) {
      keep(turn, undefined);
      return failure.response;
    }
    keep(turn, failure.response);
  }
  turn.lastPool = sent.pool;
  turn.retriable.add(sent.runner.alias);
  const wait = BACKOFF_MS * 2 ** (turn.hiccups - 1) * (0.5 + house.random());
  await pause(wait, call.signal);
  return leave(
    turn,
    sent,
    "error" in failure
      ? "The network failed"
      : `The backend answered ${failure.outcome.status}`,
  );
}

/** Waits, ms, unless the caller aborts. */
export async function pause(
  ms: number,
  signal: AbortSignal | null | undefined,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const waiting = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await withAbort(waiting, signal);
  } finally {
    clearTimeout(timer);
  }
}

function leave(turn: Turn, sent: Attempt, reason: string): undefined {
  turn.tried.add(sent.runner.alias);
  turn.left = { alias: sent.runner.alias, reason };
}

/** Keeps the last answer for the end, and lets go of the one before. */
export function keep(turn: Turn, answer: Response | undefined): void {
  const before = turn.answer;
  turn.answer = answer;
  turn.error = undefined;
  if (before && before !== answer) before.body?.cancel().catch(() => {});
}

function noteSession(house: House, call: Call, sent: Attempt): void {
  if (call.session === undefined) return;
  house.sessions.note(call.session, sent.runner.alias, house.now());
}

/** Tells what was spent, or may have been. */
function tellCharge(
  house: House,
  sent: Attempt,
  balanceBefore: string | null,
): void {
  if (sent.pool === "first") return;
  const { alias, account } = sent.runner;
  const certain = sent.pool === "credits";
  if (house.policy().source === "default") {
    house.warnOnce(
      "No credit policy is set, so every account may spend its purchased credits, and one just did; set who may with the credits option or CODEX_ROTATOR_CREDIT_ACCOUNTS",
    );
  }
  house.emit({
    type: "credits-spent",
    alias,
    certain,
    balanceBefore,
    balanceAfter: account.credits?.balance ?? null,
    reason: certain
      ? "Served on purchased credits"
      : "Served by an account that could not be asked; it may have been charged",
  });
}
