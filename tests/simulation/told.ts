/** How the backend tells the state of an account: usage answers, headers and stream events. */

export const MAIN = "codex";
export const SPARK = "codex_bengalfox";
export const RESERVE = "base_model_inference";

export interface ShownWindow {
  /** Percent; whole in usage answers and events. */
  used: number;
  seconds: number;
  /** Epoch ms, a whole second. */
  resetsAt: number;
}

export interface ShownMeter {
  id: string;
  limitName: string;
  allowed: boolean;
  limitReached: boolean;
  windows: ShownWindow[];
}

export interface ShownCredits {
  hasCredits: boolean;
  unlimited: boolean;
  balance: string | null;
}

export interface ShownModel {
  available: boolean;
  /** Epoch ms. */
  availableAt: number | null;
  creditsWouldEnable: boolean;
}

/** All that an account shows at one moment. */
export interface Shown {
  plan: string;
  /** null: it lives on credits alone. */
  main: ShownMeter | null;
  others: ShownMeter[];
  credits: ShownCredits | null;
  overageReached: boolean;
  /** The workspace's cap for this person, in credits. */
  individual: { limit: number; used: number } | null;
  models: Record<string, ShownModel>;
  bankedResets: number;
}

/** The body of a usage answer. */
export function usageBody(shown: Shown, now: number): Record<string, unknown> {
  return {
    plan_type: shown.plan,
    rate_limit: shown.main && rateLimit(shown.main, now),
    additional_rate_limits: shown.others.map((meter) => ({
      limit_name: meter.limitName,
      metered_feature: meter.id,
      rate_limit: rateLimit(meter, now),
    })),
    credits: shown.credits && {
      has_credits: shown.credits.hasCredits,
      unlimited: shown.credits.unlimited,
      balance: shown.credits.balance,
      overage_limit_reached: shown.overageReached,
    },
    spend_control: {
      reached: false,
      individual_limit: shown.individual && individualLimit(shown.individual),
    },
    rate_limit_reached_type: null,
    model_usage: Object.fromEntries(
      Object.entries(shown.models).map(([name, model]) => [name, {
        available: model.available,
        available_at: model.availableAt === null
          ? null
          : new Date(model.availableAt).toISOString(),
        credits_would_enable: model.creditsWouldEnable,
      }]),
    ),
    rate_limit_reset_credits: { available_count: shown.bankedResets },
  };
}

function rateLimit(meter: ShownMeter, now: number) {
  const windows = meter.windows.map((window) => ({
    used_percent: whole(window.used),
    limit_window_seconds: window.seconds,
    reset_after_seconds: secondsUntil(window.resetsAt, now),
    reset_at: window.resetsAt / 1000,
  }));
  return {
    allowed: meter.allowed,
    limit_reached: meter.limitReached,
    primary_window: windows[0] ?? null,
    secondary_window: windows[1] ?? null,
  };
}

function individualLimit({ limit, used }: { limit: number; used: number }) {
  return {
    limit: String(limit),
    used: used.toFixed(2),
    remaining: (limit - used).toFixed(2),
    used_percent: Math.floor(100 * used / limit),
    remaining_percent: Math.max(0, 100 - Math.floor(100 * used / limit)),
  };
}

/** The headers of an answer that counted on this meter. */
export function headersOf(
  shown: Shown,
  meter: ShownMeter | null,
  { tellsCredits, minutesOff }: { tellsCredits: boolean; minutesOff: number },
): Record<string, string> {
  const headers: Record<string, string> = { "x-codex-plan-type": shown.plan };
  if (meter) {
    Object.assign(headers, family("x-codex", meter, minutesOff));
    headers["x-codex-active-limit"] = meter.id === MAIN ? "premium" : meter.id;
    if (meter.id !== MAIN) {
      const prefix = `x-${meter.id.replaceAll("_", "-")}`;
      Object.assign(headers, family(prefix, meter, minutesOff));
      headers[`${prefix}-limit-name`] = meter.limitName;
    }
  }
  if (tellsCredits && shown.credits) {
    const { hasCredits, unlimited, balance } = shown.credits;
    headers["x-codex-credits-has-credits"] = hasCredits ? "True" : "False";
    headers["x-codex-credits-unlimited"] = unlimited ? "True" : "False";
    if (balance !== null) headers["x-codex-credits-balance"] = balance;
  }
  return headers;
}

function family(
  prefix: string,
  meter: ShownMeter,
  minutesOff: number,
): Record<string, string> {
  const headers: Record<string, string> = {};
  meter.windows.forEach((window, index) => {
    const slot = `${prefix}-${index === 0 ? "primary" : "secondary"}`;
    headers[`${slot}-used-percent`] = String(window.used);
    headers[`${slot}-window-minutes`] = String(
      window.seconds / 60 - minutesOff,
    );
    headers[`${slot}-reset-at`] = String(window.resetsAt / 1000);
  });
  return headers;
}

/** The `codex.rate_limits` event of a stream. */
export function eventOf(shown: Shown, now: number): Record<string, unknown> {
  return {
    type: "codex.rate_limits",
    plan_type: shown.plan,
    rate_limits: shown.main && eventLimits(shown.main, now),
    additional_rate_limits: Object.fromEntries(
      shown.others.map((meter) => [meter.limitName, eventLimits(meter, now)]),
    ),
    credits: shown.credits && {
      has_credits: shown.credits.hasCredits,
      unlimited: shown.credits.unlimited,
      balance: shown.credits.balance,
    },
  };
}

function eventLimits(meter: ShownMeter, now: number) {
  const windows = meter.windows.map((window) => ({
    used_percent: whole(window.used),
    window_minutes: window.seconds / 60,
    reset_after_seconds: secondsUntil(window.resetsAt, now),
    reset_at: window.resetsAt / 1000,
  }));
  return {
    allowed: meter.allowed,
    limit_reached: meter.limitReached,
    primary: windows[0] ?? null,
    secondary: windows[1] ?? null,
  };
}

/** All meters that an account shows. */
export function metersOf(shown: Shown): ShownMeter[] {
  return shown.main ? [shown.main, ...shown.others] : shown.others;
}

/** The same as usage answers and events tell it, in whole percent. */
export function wholePercent(shown: Shown): Shown {
  const inWhole = (meter: ShownMeter): ShownMeter => ({
    ...meter,
    windows: meter.windows.map((it) => ({ ...it, used: whole(it.used) })),
  });
  return {
    ...shown,
    main: shown.main && inWhole(shown.main),
    others: shown.others.map(inWhole),
  };
}

function whole(percent: number): number {
  return Math.round(percent);
}

function secondsUntil(time: number, now: number): number {
  return Math.max(0, Math.round((time - now) / 1000));
}
