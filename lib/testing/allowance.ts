/**
 * An account of the stand-in and its allowance: what a request uses up, what it
 * costs, and when it is refused.
 *
 * @module
 */
import type { FakeAccount } from "./account.ts";
import type {
  FakeBooking,
  FakeCost,
  FakeCredits,
  FakeFlags,
  FakeWindow,
} from "./types.ts";

/** The models that have a meter of their own wherever the account has it. */
const OWN_METERS: readonly [model: RegExp, meter: string][] = [
  [/^gpt-5\.3-codex-spark/i, "codex_bengalfox"],
  [/^gpt-reserve$/i, "base_model_inference"],
];

/** What a request is served on, or the code of its refusal. */
export type Admission = "included" | "charged" | { readonly refused: string };

const USED_UP = { refused: "usage_limit_reached" };

/** Starts every window afresh whose reset has passed, and dates those that have begun. */
export function settle(account: FakeAccount, now: number): void {
  const meters = [account, ...Object.values(account.meters)];
  for (const window of meters.flatMap(({ windows }) => windows ?? [])) {
    const { resetAt } = window;
    if (typeof resetAt === "number" && resetAt <= now && !window.countsOn) {
      window.usedPercent = 0;
      delete window.resetAt;
    }
    if (window.usedPercent > 0) window.resetAt = resetOf(window, now);
  }
}

/** When a window starts afresh; one that has not begun would end its length from now. */
export function resetOf({ resetAt, seconds }: FakeWindow, now: number) {
  if (resetAt !== undefined) return resetAt;
  return seconds === null ? null : now + seconds * 1000;
}

/** The meter that a request for this model draws on. */
export function meterOf(account: FakeAccount, model: string | null): string {
  const name = model?.toLowerCase();
  const named = Object.entries(account.meters).find(([, meter]) =>
    name !== undefined && meter.limitName?.toLowerCase() === name
  );
  const own = OWN_METERS.find(([pattern]) => pattern.test(model ?? ""))?.[1];
  return named?.[0] ??
    (own !== undefined && Object.hasOwn(account.meters, own) ? own : "codex");
}

/** A meter by its id; the account itself is the main one. */
function meterAt(account: FakeAccount, meter: string) {
  return meter === "codex" ? account : account.meters[meter];
}

/** The windows of a meter; null: the backend names no limit. */
export function windowsOf(account: FakeAccount, meter: string) {
  return meterAt(account, meter)?.windows ?? null;
}

/** What the backend says of a meter, and enforces. */
export function flagsOf(
  account: FakeAccount,
  meter: string,
): Required<FakeFlags> {
  const { windows, flags: set } = meterAt(account, meter)!;
  const full = windows?.some(({ usedPercent }) => usedPercent >= 100) ?? false;
  const allowed = set?.allowed ?? (set?.limitReached ?? full) === false;
  return { allowed, limitReached: set?.limitReached ?? !allowed };
}

export function admit(
  account: FakeAccount,
  model: string | null,
  now: number,
): Admission {
  settle(account, now);
  const meter = meterOf(account, model);
  const usage = model !== null && Object.hasOwn(account.modelUsage, model)
    ? account.modelUsage[model]
    : undefined;
  const unavailable = usage?.available === false &&
    (usage.availableAt ?? Infinity) > now;
  const { allowed, limitReached } = flagsOf(account, meter);
  const open = windowsOf(account, meter) !== null && allowed && !limitReached;
  if ((account.limited?.until ?? 0) > now) return USED_UP;
  if (open && !unavailable) return "included";
  // beside an available model the flag means nothing
  const creditable = meter === "codex" &&
    !(unavailable && usage?.creditsWouldEnable === false);
  if (!creditable || !creditsUsable(account)) return USED_UP;
  const refused = account.creditsRefused;
  return refused === false ? "charged" : { refused };
}

function creditsUsable(account: FakeAccount): boolean {
  const { credits, spendControl } = account;
  if (credits === null || !(credits.hasCredits || credits.unlimited)) {
    return false;
  }
  if (credits.overageLimitReached === true || capReached(account)) return false;
  if (credits.unlimited || credits.balance === null) return true;
  return Boolean(spendControl?.individualLimit) || Number(credits.balance) > 0;
}

/** A cap is reached by its numbers as well, whatever `reached` says. */
function capReached({ spendControl }: FakeAccount): boolean {
  const limit = spendControl?.individualLimit;
  return spendControl?.reached === true ||
    Number(limit?.remaining ?? 1) <= 0 ||
    Number(limit?.used_percent ?? 0) >= 100;
}

export interface Use {
  readonly model: string | null;
  readonly request: number;
  readonly cost: FakeCost;
}

/** Begins the windows that a request draws on, and fills them. */
export function useWindows(account: FakeAccount, use: Use, now: number): void {
  for (const window of windowsOf(account, meterOf(account, use.model)) ?? []) {
    const percent = use.cost.percent ?? account.costPercent;
    window.usedPercent = Math.min(100, window.usedPercent + percent);
    window.resetAt = resetOf(window, now);
  }
}

/** Draws the credits of a request, and books that. */
export function charge(
  account: FakeAccount,
  use: Use,
  now: number,
): FakeBooking {
  const credits = account.credits!;
  const cost = use.cost.credits ?? credits.costPerRequest ?? 1;
  const counted = !credits.unlimited && credits.balance !== null;
  const amount = counted && !account.spendControl?.individualLimit
    ? Math.min(cost, Number(credits.balance))
    : cost;
  const { model, request } = use;
  countAgainstCap(account, cost);
  if (counted) {
    credits.balance = decimal(Math.max(0, Number(credits.balance) - amount));
    const isUsedUp = credits.balance === "0" &&
      !account.spendControl?.individualLimit;
    if (isUsedUp) credits.hasCredits = false;
  }
  const { name } = account;
  return { kind: "charge", account: name, model, at: now, request, amount };
}

export function topUp(credits: FakeCredits, amount: number): void {
  credits.balance = decimal(Number(credits.balance ?? 0) + amount);
  credits.hasCredits = true;
}

// Six decimals: 0.3 - 0.1 must not be sent as 0.19999999999999998.
function decimal(value: number): string {
  return String(Number(value.toFixed(6)));
}

/** Moves the numbers of a spend limit, each in the type that it has. */
function countAgainstCap({ spendControl }: FakeAccount, cost: number): void {
  const limit = spendControl?.individualLimit;
  if (!limit) return;
  const add = (name: string, change: number) => {
    const value = limit[name];
    if (typeof value === "string") limit[name] = decimal(+value + change);
    if (typeof value === "number") limit[name] = value + change;
  };
  add("used", cost);
  add("remaining", -cost);
}
