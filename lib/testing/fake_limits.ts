/**
 * How the stand-in tells an account's allowance: the usage payload, the limit
 * headers, the event in a stream and the body of a 429.
 *
 * @module
 */

import { isFull, meterOf, windowsOf } from "./fake_account.ts";
import type { FakeAccount, FakeSlot, FakeWindow } from "./fake_types.ts";

const SLOTS: readonly FakeSlot[] = ["primary", "secondary", "tertiary"];

// A reset is never told to be sooner than it is.
function unixSeconds(ms: number): number {
  return Math.ceil(ms / 1000);
}

function secondsUntil(ms: number, now: number): number {
  return Math.max(0, Math.ceil((ms - now) / 1000));
}

function bySlot(windows: FakeWindow[]): [FakeSlot, FakeWindow][] {
  return windows.map((window, index) => [
    window.slot ?? SLOTS[index] ?? "tertiary",
    window,
  ]);
}

/** The payload of the usage endpoint. */
export function usagePayload(
  account: FakeAccount,
  now: number,
): Record<string, unknown> {
  const meters = Object.entries(account.meters);
  const { credits, spendControl, bankedResets } = account;
  return {
    plan_type: account.plan,
    rate_limit: rateLimit(account.windows, now),
    additional_rate_limits: meters.length === 0
      ? null
      : meters.map(([id, meter]) => ({
        limit_name: meter.limitName ?? id,
        metered_feature: id,
        rate_limit: rateLimit(meter.windows, now),
        normal_model_slug: null,
      })),
    credits: credits && {
      has_credits: credits.hasCredits,
      unlimited: credits.unlimited,
      overage_limit_reached: credits.overageLimitReached ?? false,
      balance: credits.balance,
    },
    spend_control: spendControl && {
      reached: spendControl.reached,
      individual_limit: spendControl.individualLimit ?? null,
    },
    rate_limit_reached_type: reachedType(account),
    ...modelUsage(account),
    ...(bankedResets === null
      ? {}
      : { rate_limit_reset_credits: { available_count: bankedResets } }),
  };
}

// Speaks of the windows only, as the backend does: credits do not show here.
function rateLimit(windows: FakeWindow[] | null, now: number): unknown {
  if (windows === null) return null;
  const full = isFull(windows);
  const slots: Record<string, unknown> = {
    primary_window: null,
    secondary_window: null,
  };
  for (const [slot, window] of bySlot(windows)) {
    slots[`${slot}_window`] = windowPayload(window, now);
  }
  return { allowed: !full, limit_reached: full, ...slots };
}

function windowPayload(window: FakeWindow, now: number): unknown {
  const { seconds } = window;
  const resetAt = window.resetAt ?? null;
  return {
    // Whole percents; rounding up would call a window full that is not.
    used_percent: Math.floor(window.usedPercent),
    limit_window_seconds: seconds,
    reset_after_seconds: resetAt === null ? null : secondsUntil(resetAt, now),
    reset_at: resetAt === null ? null : unixSeconds(resetAt),
  };
}

function reachedType(account: FakeAccount): unknown {
  const type = account.rateLimitReachedType;
  if (type === undefined) {
    return isFull(account.windows)
      ? { type: "rate_limit_reached", details: "default" }
      : null;
  }
  return type === null ? null : { type };
}

function modelUsage(account: FakeAccount): Record<string, unknown> {
  const models = Object.entries(account.modelUsage);
  if (models.length === 0) return {};
  const payload = models.map(([model, usage]) => [model, {
    available: usage.available,
    available_at: typeof usage.availableAt === "number"
      ? unixSeconds(usage.availableAt)
      : null,
    credits_would_enable: usage.creditsWouldEnable ?? true,
  }]);
  return { model_usage: Object.fromEntries(payload) };
}

/** The limit headers of an answer to a request for this model. */
export function limitHeaders(
  account: FakeAccount,
  model: string | null,
  now: number,
): Record<string, string> {
  const active = meterOf(account, model);
  const { credits } = account;
  return {
    "x-codex-plan-type": account.plan,
    "x-codex-active-limit": active === "codex" ? "premium" : active,
    // The unprefixed family speaks of the meter that this request drew on.
    ...windowHeaders("x-codex", windowsOf(account, active), now),
    ...otherFamilies(account, now),
    ...(credits && {
      "x-codex-credits-has-credits": credits.hasCredits ? "True" : "False",
      "x-codex-credits-unlimited": credits.unlimited ? "True" : "False",
      ...(credits.balance === null
        ? {}
        : { "x-codex-credits-balance": credits.balance }),
    }),
    ...(account.rateLimitReachedType && {
      "x-codex-rate-limit-reached-type": account.rateLimitReachedType,
    }),
  };
}

function otherFamilies(
  account: FakeAccount,
  now: number,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [id, meter] of Object.entries(account.meters)) {
    const family = `x-${id.toLowerCase().replaceAll("_", "-")}`;
    headers[`${family}-limit-name`] = meter.limitName ?? id;
    Object.assign(headers, windowHeaders(family, meter.windows, now));
  }
  return headers;
}

function windowHeaders(
  family: string,
  windows: FakeWindow[] | null,
  now: number,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [slot, window] of bySlot(windows ?? [])) {
    const name = `${family}-${slot}`;
    headers[`${name}-used-percent`] = String(window.usedPercent);
    if (window.seconds !== null) {
      headers[`${name}-window-minutes`] = String(
        Math.round(window.seconds / 60),
      );
    }
    // A reset that is not told is an empty header, as the backend sends it.
    const resetAt = window.resetAt ?? null;
    headers[`${name}-reset-at`] = "";
    if (resetAt !== null) {
      headers[`${name}-reset-at`] = String(unixSeconds(resetAt));
      headers[`${name}-reset-after-seconds`] = String(
        secondsUntil(resetAt, now),
      );
    }
  }
  return headers;
}

/** The `codex.rate_limits` event. */
export function rateLimitsEvent(
  account: FakeAccount,
  model: string | null,
): Record<string, unknown> {
  const meter = meterOf(account, model);
  const windows = windowsOf(account, meter) ?? [];
  const full = isFull(windows);
  const slots = bySlot(windows).map(([slot, window]) => [slot, {
    used_percent: window.usedPercent,
    window_minutes: window.seconds === null
      ? null
      : Math.round(window.seconds / 60),
    reset_at: typeof window.resetAt === "number"
      ? unixSeconds(window.resetAt)
      : null,
  }]);
  const { credits } = account;
  return {
    type: "codex.rate_limits",
    plan_type: account.plan,
    rate_limits: {
      allowed: !full,
      limit_reached: full,
      ...Object.fromEntries(slots),
    },
    credits: credits && {
      has_credits: credits.hasCredits,
      unlimited: credits.unlimited,
      balance: credits.balance,
    },
    metered_limit_name: meter,
    limit_name: account.meters[meter]?.limitName ?? null,
  };
}

/** The body of a 429 that says the allowance is used up. */
export function usageLimitBody(
  account: FakeAccount,
  model: string | null,
  now: number,
): Record<string, unknown> {
  const windows = windowsOf(account, meterOf(account, model)) ?? [];
  const resets = windows.filter((window) => window.usedPercent >= 100)
    .map((window) => window.resetAt);
  const known = resets.filter((reset) => typeof reset === "number");
  const until = known.length === resets.length && known.length > 0
    ? Math.max(...known)
    : undefined;
  return {
    error: {
      type: "usage_limit_reached",
      message: "The usage limit has been reached",
      plan_type: account.plan,
      ...(until === undefined ? {} : {
        resets_at: unixSeconds(until),
        resets_in_seconds: secondsUntil(until, now),
      }),
    },
  };
}
