/**
 * How the stand-in tells an account's allowance: the usage payload, the limit
 * headers and the body of a 429.
 *
 * @module
 */
import { flagsOf, meterOf, resetOf, windowsOf } from "./allowance.ts";
import type { FakeAccount } from "./account.ts";
import type { FakeModelUsage, FakeWindow } from "./types.ts";

const SLOTS = ["primary", "secondary", "tertiary"];

// A reset is never told to be sooner than it is.
const inSeconds = (ms: number) => Math.max(0, Math.ceil(ms / 1000));

/** The reset of a window in the backend's units. */
function resetsOf(window: FakeWindow, now: number) {
  const reset = resetOf(window, now);
  return {
    reset_after_seconds: reset === null ? null : inSeconds(reset - now),
    reset_at: reset === null ? null : inSeconds(reset),
  };
}

export function usagePayload(
  account: FakeAccount,
  now: number,
): Record<string, unknown> {
  const { credits, spendControl, bankedResets } = account;
  const meters = Object.entries(account.meters).map(([id, meter]) => ({
    limit_name: meter.limitName ?? id,
    metered_feature: id,
    rate_limit: rateLimit(account, id, now),
    normal_model_slug: meter.normalModelSlug ?? null,
  }));
  const models = Object.entries(account.modelUsage)
    .map(([model, usage]) => [model, modelUsage(usage)]);
  return {
    user_id: account.userId,
    account_id: account.accountId,
    email: account.email,
    plan_type: account.plan,
    rate_limit: rateLimit(account, "codex", now),
    additional_rate_limits: meters.length === 0 ? null : meters,
    credits: credits && {
      has_credits: credits.hasCredits,
      unlimited: credits.unlimited,
      balance: credits.balance,
      overage_limit_reached: credits.overageLimitReached ?? false,
    },
    spend_control: spendControl && {
      reached: spendControl.reached,
      individual_limit: spendControl.individualLimit ?? null,
    },
    rate_limit_reached_type: flagsOf(account, "codex").limitReached
      ? { type: "rate_limit_reached", details: "default" }
      : null,
    ...(models.length > 0 && { model_usage: Object.fromEntries(models) }),
    ...(bankedResets !== null && {
      rate_limit_reset_credits: { available_count: bankedResets },
    }),
  };
}

// Speaks of the plan's allowance only, as the backend does: credits do not show here.
function rateLimit(account: FakeAccount, meter: string, now: number): unknown {
  const windows = windowsOf(account, meter);
  if (windows === null) return null;
  const told = windows.map((window, slot) => [`${SLOTS[slot]}_window`, {
    // Whole percents; rounding up would call a window full that is not.
    used_percent: Math.floor(window.usedPercent),
    limit_window_seconds: window.seconds,
    ...resetsOf(window, now),
  }]);
  const { allowed, limitReached } = flagsOf(account, meter);
  return {
    allowed,
    limit_reached: limitReached,
    primary_window: null,
    secondary_window: null,
    ...Object.fromEntries(told),
  };
}

function modelUsage(usage: FakeModelUsage): unknown {
  const { availableAt = null } = usage;
  const iso = (ms: number) => new Date(ms).toISOString().replace("Z", "000Z");
  const told = usage.inSeconds ? inSeconds : iso;
  return {
    available: usage.available,
    available_at: availableAt === null ? null : told(availableAt),
    credits_would_enable: usage.creditsWouldEnable ?? true,
  };
}

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
    ...Object.assign(
      {},
      ...Object.entries(account.meters).map(([id, meter]) => {
        const family = `x-${id.toLowerCase().replaceAll("_", "-")}`;
        return {
          [`${family}-limit-name`]: meter.limitName ?? id,
          ...windowHeaders(family, meter.windows, now),
        };
      }),
    ),
    ...(credits && {
      "x-codex-credits-has-credits": credits.hasCredits ? "True" : "False",
      "x-codex-credits-unlimited": credits.unlimited ? "True" : "False",
      ...(credits.balance !== null && {
        "x-codex-credits-balance": credits.balance,
      }),
    }),
  };
}

function windowHeaders(
  family: string,
  windows: FakeWindow[] | null,
  now: number,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [slot, window] of (windows ?? []).entries()) {
    const { seconds, usedPercent } = window;
    const { reset_at, reset_after_seconds } = resetsOf(window, now);
    const told = {
      "used-percent": usedPercent,
      "window-minutes": seconds === null ? null : Math.round(seconds / 60),
      // a reset that is not told is an empty header, as the backend sends it
      "reset-at": reset_at ?? "",
      "reset-after-seconds": reset_after_seconds,
    };
    for (const [name, value] of Object.entries(told)) {
      const full = `${family}-${SLOTS[slot]}-${name}`;
      if (value !== null) headers[full] = String(value);
    }
  }
  return headers;
}

/** The error of a 429 that says that the allowance is used up. */
export function usageLimitError(
  account: FakeAccount,
  model: string | null,
  now: number,
): Record<string, unknown> {
  const windows = windowsOf(account, meterOf(account, model)) ?? [];
  const resets = windows.filter((window) => window.usedPercent >= 100)
    .map((window) => resetOf(window, now));
  const { limited } = account;
  if (limited !== null && limited.until > now) resets.push(limited.until);
  const known = resets.filter((reset) => reset !== null);
  const until = known.length === resets.length && known.length > 0
    ? Math.max(...known)
    : undefined;
  return {
    type: "usage_limit_reached",
    message: "The usage limit has been reached",
    plan_type: account.plan,
    ...(until !== undefined && {
      resets_at: inSeconds(until),
      resets_in_seconds: inSeconds(until - now),
    }),
  };
}
