import type {
  AccountRecord,
  Cooldown,
  MeterFacts,
  Standing,
  UsageFacts,
  UsageWindow,
} from "../types.ts";
import { isHeaderText } from "../header_text.ts";
import { MAIN_METER, meterOfModel, SPARK_METER } from "../meters.ts";
import { areUsable, saidNone } from "./credits.ts";
import {
  answeredAt,
  ClockReading,
  FRESH_MS,
  LONGEST_LIMIT_MS,
  meterObservedAt,
} from "./clock.ts";

/** "It has no credits" is believed for this long, ms. */
const NO_CREDITS_MS = 24 * 3_600_000;
/** A failed usage check counts for this long, ms. */
export const CHECK_INTERVAL_MS = 60_000;
/** A throttle that ends within this is a hiccup, ms. */
const SHORT_THROTTLE_MS = 10_000;

/** What a standing is asked for. */
export interface StandingQuery {
  /** The model of the request; undefined when unknown. */
  model?: string | undefined;
  /** Whether the policy lets this account spend credits. */
  creditsAllowed: boolean;
  /** Epoch ms. */
  now: number;
}

/** A standing with what choosing needs besides. */
export interface Assessment {
  standing: Standing;
  /**
   * Set when a hiccup (short throttle, token trouble) alone keeps the account
   * from serving: its quota says included or unknown, and money must not be
   * spent elsewhere because of a hiccup.
   */
  blockedTransiently: "included" | "unknown" | null;
  /** When it can serve again as far as is known, epoch ms; null when unknown: a cooldown may end before the quota is back. */
  availableAt: number | null;
  /** The verdict holds until then unless facts change, epoch ms. */
  validUntil: number;
}

/**
 * The verdict on one account for one model at one moment, from facts alone.
 *
 * @param account What is known of the account.
 * @param query Model, policy and time.
 * @returns The standing, and until when it holds.
 */
export function assess(
  account: AccountRecord,
  query: StandingQuery,
): Assessment {
  const clock = new ClockReading(query.now);
  const quota = quotaStanding(account, query, clock);
  const hard = blockedFor(account, query.model, clock);
  const pause = hard ? undefined : coolingDown(account, clock);
  const standing = hard ?? pause?.standing ?? quota;
  const inFirstPool = quota.kind === "included" || quota.kind === "unknown";
  return {
    standing,
    blockedTransiently: pause?.hiccup && inFirstPool ? quota.kind : null,
    availableAt: quota.kind === "blocked"
      ? later(untilOf(standing), quota.until)
      : untilOf(standing),
    validUntil: clock.validUntil,
  };
}

/** When a standing ends, epoch ms; null when unknown or never by itself. */
export function untilOf(standing: Standing): number | null {
  return "until" in standing ? standing.until : null;
}

/** Whether the access token or the account's id cannot stand in a header, so that nothing can be sent. */
export function isDamaged({ tokens, accountId }: AccountRecord): boolean {
  // with a refresh token alone, one that can be sent is still to come
  const access = tokens?.access || undefined;
  return (access !== undefined && !isHeaderText(access)) ||
    (!!accountId && !isHeaderText(accountId));
}

function cooldown(account: AccountRecord, key: string): Cooldown | undefined {
  const all = account.cooldowns;
  return all !== undefined && Object.hasOwn(all, key) ? all[key] : undefined;
}

/** When the cooldown of `key` ends, epoch ms; undefined when it does not run. */
function runningUntil(
  account: AccountRecord,
  key: string,
  clock: ClockReading,
): number | undefined {
  const entry = cooldown(account, key);
  if (!entry || entry.clearedAt !== undefined) return undefined;
  // 0: when it was set is not known, so it is believed as far as any can be
  const setAt = entry.setAt === 0 ? clock.now : entry.setAt;
  const until = Math.min(entry.until, setAt + LONGEST_LIMIT_MS);
  return clock.isRunning(until) ? until : undefined;
}

/** What credits never lift, hiccups aside. */
function blockedFor(
  account: AccountRecord,
  model: string | undefined,
  clock: ClockReading,
): Standing | undefined {
  if (account.enabled === false) return block("disabled", null);
  if (account.auth || !account.tokens || isDamaged(account)) {
    return block("login", null);
  }
  const workspace = runningUntil(account, "workspace", clock);
  if (workspace !== undefined) return block("workspace", workspace);
  const plan = runningUntil(account, "plan", clock);
  if (plan !== undefined) return block("plan", plan);
  if (meterOfModel(model) === SPARK_METER && lacksSpark(account)) {
    return block("plan", null);
  }
  if (model === undefined) return undefined;
  const refused = runningUntil(account, `model:${model}`, clock);
  return refused === undefined ? undefined : block("model", refused);
}

function block(
  reason: "disabled" | "login" | "workspace" | "plan" | "model",
  until: number | null,
): Standing {
  return { kind: "blocked", reason, until };
}

/** An account of which nothing is known yet may still turn out to have the meter. */
function lacksSpark(account: AccountRecord): boolean {
  if (account.plan === "pro") return false;
  const { usage, usageCheck } = account;
  if (usage && Object.hasOwn(usage.meters, SPARK_METER)) return false;
  if (usage && answeredAt(usage) !== null) return true;
  return usageCheck !== undefined;
}

function coolingDown(
  account: AccountRecord,
  clock: ClockReading,
): { standing: Standing; hiccup: boolean } | undefined {
  const throttle = runningUntil(account, "throttle", clock);
  const token = runningUntil(account, "token", clock);
  if (throttle === undefined && token === undefined) return undefined;
  // a long throttle becomes a hiccup only in its last seconds
  const short = throttle === undefined ||
    !clock.isBefore(throttle - SHORT_THROTTLE_MS);
  const until = Math.max(throttle ?? 0, token ?? 0);
  return {
    hiccup: short,
    standing: {
      kind: "blocked",
      reason: "cooldown",
      until,
      cause: until === token ? "token" : "throttle",
    },
  };
}

function quotaStanding(
  account: AccountRecord,
  query: StandingQuery,
  clock: ClockReading,
): Standing {
  const meter = meterOfModel(query.model);
  const limits = exhaustion(account, meter, query.model, clock);
  if (limits !== undefined) {
    return onExhausted(account, query, meter, limits, clock);
  }
  if (isKnown(account, meter, clock)) return { kind: "included" };
  return onUnknown(account, query, clock);
}

/** `until` of a limit: undefined when there is none, null when its end is unknown. */
type Limit = number | null | undefined;

function later(a: number | null, b: number | null): number | null;
function later(a: Limit, b: Limit): Limit;
function later(a: Limit, b: Limit): Limit {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return a === null || b === null ? null : Math.max(a, b);
}

function exhaustion(
  account: AccountRecord,
  meter: string,
  model: string | undefined,
  clock: ClockReading,
): Limit {
  let limit: Limit = runningUntil(account, `usage-limit:${meter}`, clock);
  const { usage } = account;
  if (!usage) return limit;
  if (usage.creditOnly) limit = later(limit, null);
  if (Object.hasOwn(usage.meters, meter)) {
    const facts = usage.meters[meter]!;
    limit = later(limit, meterLimit(facts, usage, clock));
  }
  return later(limit, modelLimit(usage, model, clock));
}

function modelLimit(
  usage: UsageFacts,
  model: string | undefined,
  clock: ClockReading,
): Limit {
  const entry = modelUsage(usage, model);
  if (!entry || entry.available) return undefined;
  if (entry.availableAt === null) return null;
  return clock.isBefore(entry.availableAt) ? entry.availableAt : undefined;
}

function modelUsage(usage: UsageFacts | undefined, model: string | undefined) {
  const all = usage?.modelUsage;
  if (!all || model === undefined || !Object.hasOwn(all, model)) {
    return undefined;
  }
  return all[model];
}

function meterLimit(
  meter: MeterFacts,
  usage: UsageFacts,
  clock: ClockReading,
): Limit {
  const observedAt = meter.observedAt ?? usage.observedAt;
  let limit: Limit = undefined;
  for (const window of meter.windows) {
    if (window.usedPercent >= 100) {
      limit = later(limit, unreset(window, observedAt, clock));
    }
  }
  const said = saidLimited(meter, observedAt);
  if (!said) return limit;
  if (said.windows.length === 0) {
    return clock.isBefore(said.observedAt + FRESH_MS + 1) ? null : limit;
  }
  for (const window of blamed(said.windows)) {
    limit = later(limit, unreset(window, said.observedAt, clock));
  }
  return limit;
}

/** The observation that said the meter is used up, with the windows as they stood then. */
export function saidLimited(
  meter: MeterFacts,
  observedAt: number,
): { observedAt: number; windows: UsageWindow[] } | undefined {
  if (meter.limit) return meter.limit;
  if (meter.limit === null) return undefined;
  if (meter.limitReached !== true && meter.allowed !== false) return undefined;
  return { observedAt, windows: meter.windows };
}

/** The windows that were at 100 %, else the fullest; of equally full ones any may be meant. */
function blamed(windows: readonly UsageWindow[]): readonly UsageWindow[] {
  const most = Math.max(...windows.map((window) => window.usedPercent));
  return windows.filter((window) => window.usedPercent >= Math.min(most, 100));
}

/** Until when a full window stays full. */
function unreset(
  window: UsageWindow,
  observedAt: number,
  clock: ClockReading,
): Limit {
  if (window.resetsAt !== null && window.resetsAt !== undefined) {
    return clock.isBefore(window.resetsAt) ? window.resetsAt : undefined;
  }
  const seenAt = window.observedAt ?? observedAt;
  // as long as the fact is fresh, its last millisecond included
  return clock.isBefore(seenAt + FRESH_MS + 1) ? null : undefined;
}

function isKnown(
  account: AccountRecord,
  meter: string,
  clock: ClockReading,
): boolean {
  const { usage, credits } = account;
  if (!usage) return false;
  const observedAt = meterObservedAt(usage, meter);
  if (observedAt !== null && clock.isFresh(observedAt)) return true;
  // then a wrong guess costs a 429, not money
  return credits !== undefined && saidNone(credits) &&
    clock.isWithin(credits.observedAt, NO_CREDITS_MS);
}

function onUnknown(
  account: AccountRecord,
  query: StandingQuery,
  clock: ClockReading,
): Standing {
  const failedAt = account.usageCheck?.failedAt;
  if (
    failedAt === undefined || !clock.isWithin(failedAt, CHECK_INTERVAL_MS)
  ) {
    return { kind: "unknown" };
  }
  const again = failedAt + CHECK_INTERVAL_MS;
  const { credits } = account;
  const mayTry = query.creditsAllowed || credits === undefined ||
    saidNone(credits);
  if (mayTry && runningUntil(account, "credits", clock) === undefined) {
    return { kind: "unconfirmed", reason: "unknown", until: again };
  }
  return { kind: "blocked", reason: "unknown", until: again };
}

function onExhausted(
  account: AccountRecord,
  query: StandingQuery,
  meter: string,
  until: number | null,
  clock: ClockReading,
): Standing {
  const blocked: Standing = { kind: "blocked", reason: "exhausted", until };
  if (meter !== MAIN_METER || !query.creditsAllowed) return blocked;
  if (modelUsage(account.usage, query.model)?.creditsWouldEnable === false) {
    return blocked;
  }
  if (runningUntil(account, "credits", clock) !== undefined) return blocked;
  const { credits } = account;
  if (!credits || !clock.isFresh(credits.observedAt)) {
    return { kind: "unconfirmed", reason: "exhausted", until };
  }
  return areUsable(credits, clock) ? { kind: "credits", until } : blocked;
}

/** Whether an account's credits could pay now; who allows it is another question. */
export function hasUsableCredits(
  account: AccountRecord,
  clock: ClockReading,
): boolean {
  const { credits } = account;
  return credits !== undefined && areUsable(credits, clock) &&
    runningUntil(account, "credits", clock) === undefined;
}
