/**
 * What follows from an answer: for the caller, for the account, for the next
 * attempt.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { withAbort } from "./account/abort.ts";
import { type Attempt, learnOutcome } from "./account/learn.ts";
import { TOKEN_REFUSED_MS } from "./account/usage_check.ts";
import type { Outcome } from "./codex/answer.ts";
import type { Turn } from "./choose.ts";
import type { Answer } from "./exchange.ts";
import { setCooldown } from "./pool/cooldowns.ts";
import { poolOf } from "./pool/pools.ts";
import { type Call, cleanCall } from "./request.ts";
import type { House } from "./runtime.ts";

/** Tries after the first one that a hiccup may cost. */
const MOST_HICCUPS = 2;
/** The pause before the first of them, ms; it doubles. */
const BACKOFF_MS = 200;
/**
 * What comes next: the caller's response, `again` or `renew` (the token) for
 * the same account, or undefined for the next account.
 */
export type Next = Response | "again" | "renew" | undefined;

/** Does what follows from an answer; a good one has nobody wait. */
export function settle(
  house: House,
  call: Call,
  turn: Turn,
  sent: Attempt,
  answer: Answer | { error: unknown },
): Next | Promise<Next> {
  if ("error" in answer) return onHiccup(house, call, turn, sent, answer);
  const { outcome, response } = answer;
  switch (outcome.kind) {
    case "ok":
      keep(turn, undefined);
      if (response.ok) tellCharge(house, sent);
      noteSession(house, call, sent);
      return response;
    case "hiccup":
      return onHiccup(house, call, turn, sent, { response, outcome });
    case "encrypted-content":
      return onCiphertext(house, call, turn, sent, answer);
    case "token-rejected":
      return onTokenRejected(house, call, turn, sent, answer);
    case "other":
      keep(turn, undefined);
      return response;
    case "usage-limit":
    case "credits-refused":
    case "workspace":
    case "model":
    case "plan":
    case "throttle":
      return onRefused(house, call, turn, sent, answer);
  }
}

/** The conversation came from another account: it goes on without what that one wrote. */
function onCiphertext(
  house: House,
  call: Call,
  turn: Turn,
  sent: Attempt,
  { response }: Answer,
): Next {
  const { runner, pool } = sent;
  const { standing } = runner.assess(call.model, house.now());
  if (turn.cleaned || poolOf(standing) !== pool || !cleanCall(call)) {
    keep(turn, undefined);
    return response;
  }
  turn.cleaned = true;
  const { alias } = runner;
  if (call.session !== undefined) {
    house.sessions.markCleaned(call.session, alias, house.now());
  }
  const reason =
    "The conversation came from another account; it goes on without the reasoning that only that one can read";
  house.emit({ type: "warning", alias, reason });
  keep(turn, { alias, response });
  return "again";
}

/** The account cannot serve this request: its cooldown is set and the next one is tried. */
async function onRefused(
  house: House,
  call: Call,
  turn: Turn,
  sent: Attempt,
  answer: Answer,
): Promise<Next> {
  const { outcome, response } = answer;
  const { alias, account, creditsAllowed } = sent.runner;
  const reason = await learnOutcome(house, sent, outcome);
  if (
    outcome.kind === "usage-limit" && creditsAllowed &&
    house.usage.mayAsk(alias, account)
  ) house.usage.check(alias).catch(() => {});
  if (!call.body.replayable) return response;
  keep(turn, { alias, response });
  return leave(turn, alias, reason);
}

/** The token is renewed once; refused again, the backend does not take this login's tokens now. */
async function onTokenRejected(
  house: House,
  call: Call,
  turn: Turn,
  sent: Attempt,
  { response }: Answer,
): Promise<Next> {
  const { alias } = sent.runner;
  const { replayable } = call.body;
  const isRenewed = turn.renewed.has(alias) || !replayable &&
      house.tokens.isReplacement(alias, sent.access, TOKEN_REFUSED_MS);
  if (!isRenewed) {
    turn.renewed = new Set(turn.renewed).add(alias);
    if (!replayable) {
      return await forNext(house, call, sent, response);
    }
    keep(turn, { alias, response });
    return "renew";
  }
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
  if (!replayable) return response;
  keep(turn, { alias, response });
  return leave(turn, alias, detail);
}

/** What was refused cannot be sent again, but the next request finds a token that works. */
async function forNext(
  house: House,
  call: Call,
  { runner, access }: Attempt,
  response: Response,
): Promise<Response> {
  const renewal = house.tokens.access(runner.alias, access);
  await withAbort(renewal, call.signal);
  return response;
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
): Promise<Next> {
  const { alias } = sent.runner;
  turn.hiccups++;
  const isRepeatable = sent.pool === "first" ||
    ("outcome" in failure && failure.outcome.status === 503);
  const isLast = turn.hiccups > MOST_HICCUPS || !isRepeatable ||
    !call.body.replayable;
  if (isLast) {
    keep(turn, undefined);
    if ("error" in failure) throw failure.error;
    if (failure.response.ok) tellCharge(house, sent);
    return failure.response;
  }
  keep(
    turn,
    "error" in failure
      ? { alias, error: failure.error }
      : { alias, response: failure.response },
  );
  turn.lastPool = sent.pool;
  const wait = BACKOFF_MS * 2 ** (turn.hiccups - 1) * (0.5 + house.random());
  await pause(wait, call.signal);
  leave(
    turn,
    alias,
    "error" in failure
      ? "The network failed"
      : `The backend answered ${failure.outcome.status}`,
  );
  turn.retriable = new Set(turn.retriable).add(alias);
  return undefined;
}

/** Timers hold no more, ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Waits, ms, unless the caller aborts. */
export async function pause(
  ms: number,
  signal: AbortSignal | null | undefined,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    for (let left = ms; left > 0; left -= LONGEST_TIMER_MS) {
      const waiting = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.min(left, LONGEST_TIMER_MS));
      });
      await withAbort(waiting, signal);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** An account is through with this request, whatever it failed by before. */
export function leave(turn: Turn, alias: string, reason: string): undefined {
  turn.tried = new Set(turn.tried).add(alias);
  turn.left = { alias, reason };
  if (!turn.retriable.has(alias)) return;
  turn.retriable = new Set([...turn.retriable].filter((it) => it !== alias));
}

/** Keeps what came last for the end, and lets go of the answer before. */
export function keep(turn: Turn, last: Turn["last"]): void {
  const before = turn.last;
  turn.last = last;
  if (before && "response" in before) {
    before.response.body?.cancel().catch(() => {});
  }
}

function noteSession(house: House, call: Call, sent: Attempt): void {
  if (call.session === undefined) return;
  house.sessions.note(call.session, sent.runner.alias, house.now());
}

/** Tells what was spent, or may have been. */
function tellCharge(house: House, sent: Attempt): void {
  if (sent.pool === "first") return;
  const { balanceBefore, balanceAfter, runner: { alias } } = sent;
  const certain = sent.pool === "credits";
  if (house.policy().source === "default") {
    house.warnOnce(
      "No credit policy is set, so every account may spend its purchased credits, and this request was served on them; set who may with the credits option or CODEX_ROTATOR_CREDIT_ACCOUNTS",
    );
  }
  house.emit({
    type: "credits-spent",
    alias,
    certain,
    balanceBefore,
    balanceAfter,
    reason: certain
      ? "Served on purchased credits"
      : "Served by an account that could not be asked; it may have been charged",
  });
}
