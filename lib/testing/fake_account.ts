/**
 * An account of the stand-in and its allowance: what a request uses up, what it
 * costs, and when it is refused.
 *
 * @module
 */

import type {
  FakeAccount,
  FakeAccountOptions,
  FakeWindow,
} from "./fake_types.ts";

/** The meter that the Spark models draw on. */
export const SPARK_METER = "codex_bengalfox";

/** The verdict on one request. */
export type Admission =
  | { readonly kind: "included" }
  | { readonly kind: "charged" }
  | { readonly kind: "limited"; readonly code: string };

/**
 * @param name Its name in the stand-in.
 * @param options What differs from a fresh Plus account.
 * @param now Epoch ms.
 * @returns The live account.
 */
export function createAccount(
  name: string,
  options: FakeAccountOptions,
  now: number,
): FakeAccount {
  const account: FakeAccount = {
    name,
    plan: "plus",
    email: `${name}@example.com`,
    userId: `user-${name}`,
    accountId: `account-${name}`,
    fedramp: false,
    windows: [
      { seconds: 18_000, usedPercent: 0 },
      { seconds: 604_800, usedPercent: 0 },
    ],
    meters: {},
    costPercent: 0,
    credits: { hasCredits: false, unlimited: false, balance: "0" },
    spendControl: null,
    rateLimitReachedType: undefined,
    modelUsage: {},
    bankedResets: null,
    supportedModels: undefined,
    deactivated: false,
    noCodex: false,
    creditsRefused: false,
    rejectAll: false,
    accessLifetimeMs: undefined,
    tokenFields: ["id_token", "access_token", "refresh_token"],
    reply: {},
    headers: (defaults) => defaults,
    usageOverride: (payload) => payload,
    queue: [],
    always: undefined,
    usageQueue: [],
    usageAlways: undefined,
    tokenQueue: [],
    tokenAlways: undefined,
    ...options,
  };
  // Options may be shared between accounts; what is live must not be.
  account.windows = structuredClone(account.windows);
  account.meters = structuredClone(account.meters);
  account.credits = structuredClone(account.credits);
  account.queue = [...account.queue];
  account.usageQueue = [...account.usageQueue];
  account.tokenQueue = [...account.tokenQueue];
  settle(account, now);
  return account;
}

/** Starts every window afresh whose reset has passed, and dates new ones. */
export function settle(account: FakeAccount, now: number): void {
  const meters = Object.values(account.meters).map((meter) => meter.windows);
  for (const windows of [account.windows, ...meters]) {
    for (const window of windows ?? []) settleWindow(window, now);
  }
}

function settleWindow(window: FakeWindow, now: number): void {
  const passed = typeof window.resetAt === "number" && window.resetAt <= now;
  if (passed) window.usedPercent = 0;
  if (passed || window.resetAt === undefined) {
    window.resetAt = window.seconds === null
      ? null
      : now + window.seconds * 1000;
  }
}

/** The meter that a request for this model draws on. */
export function meterOf(account: FakeAccount, model: string | null): string {
  const spark = model?.startsWith("gpt-5.3-codex-spark") === true;
  return spark && Object.hasOwn(account.meters, SPARK_METER)
    ? SPARK_METER
    : "codex";
}

/** The windows of a meter; null: the backend names no limit. */
export function windowsOf(
  account: FakeAccount,
  meter: string,
): FakeWindow[] | null {
  return meter === "codex"
    ? account.windows
    : account.meters[meter]?.windows ?? null;
}

/** Some window is used up. */
export function isFull(windows: FakeWindow[] | null): boolean {
  return (windows ?? []).some((window) => window.usedPercent >= 100);
}

/**
 * Decides on one request and books it.
 *
 * @param account Who shall serve it.
 * @param model What it asks for.
 * @param now Epoch ms.
 */
export function admit(
  account: FakeAccount,
  model: string | null,
  now: number,
): Admission {
  settle(account, now);
  const meter = meterOf(account, model);
  const windows = windowsOf(account, meter);
  const usage = modelUsageOf(account, model);
  const unavailable = usage?.available === false &&
    (usage.availableAt ?? Infinity) > now;
  if (windows !== null && !isFull(windows) && !unavailable) {
    for (const window of windows) {
      window.usedPercent = Math.min(
        100,
        window.usedPercent + account.costPercent,
      );
    }
    return { kind: "included" };
  }
  const creditable = meter === "codex" && usage?.creditsWouldEnable !== false;
  if (!creditable || !creditsUsable(account)) {
    return { kind: "limited", code: "usage_limit_reached" };
  }
  if (account.creditsRefused !== false) {
    return { kind: "limited", code: account.creditsRefused };
  }
  charge(account);
  return { kind: "charged" };
}

function modelUsageOf(
  account: FakeAccount,
  model: string | null,
): FakeAccount["modelUsage"][string] | undefined {
  return model !== null && Object.hasOwn(account.modelUsage, model)
    ? account.modelUsage[model]
    : undefined;
}

function creditsUsable(account: FakeAccount): boolean {
  const { credits, spendControl } = account;
  if (credits === null || !(credits.hasCredits || credits.unlimited)) {
    return false;
  }
  if (credits.overageLimitReached === true || spendControl?.reached === true) {
    return false;
  }
  if (account.rateLimitReachedType?.startsWith("workspace_") === true) {
    return false;
  }
  if (credits.unlimited || credits.balance === null) return true;
  return Boolean(spendControl?.individualLimit) || Number(credits.balance) > 0;
}

function charge(account: FakeAccount): void {
  const { credits } = account;
  if (credits === null || credits.unlimited || credits.balance === null) return;
  const left = Number(credits.balance) - (credits.costPerRequest ?? 1);
  // Six decimals: 0.3 - 0.1 must not be sent as 0.19999999999999998.
  credits.balance = String(Math.max(0, Number(left.toFixed(6))));
  if (left <= 0 && !account.spendControl?.individualLimit) {
    credits.hasCredits = false;
  }
}
