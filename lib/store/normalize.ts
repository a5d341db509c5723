/**
 * Makes what was read safe to walk through. A field of a wrong shape becomes
 * one that tells less, and never one that lets an account spend or serve.
 */

import { takeOut } from "./odd.ts";

/** Any JSON object. */
export type JsonObject = Record<string, unknown>;

type Check = (value: unknown) => boolean;

/** Whether `value` is a JSON object, as opposed to a list, null or a scalar. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The same entries without a prototype, so that a key such as `constructor`
 * finds nothing inherited and `__proto__` is a key like any other.
 */
export function dictionary<T>(entries: Record<string, T>): Record<string, T> {
  return Object.assign(Object.create(null), entries);
}

const isText: Check = (value) => typeof value === "string";
const isFlag: Check = (value) => typeof value === "boolean";
const isNumber: Check = (value) => Number.isFinite(value);
const isWeight: Check = (value) => Number.isFinite(value) && Number(value) >= 0;

function orNull(check: Check): Check {
  return (value) => value === null || check(value);
}

function optional(check: Check): Check {
  return (value) => value === undefined || check(value);
}

function shape(fields: Record<string, Check>): Check {
  const checks = Object.entries(fields);
  return (value) =>
    isObject(value) && checks.every(([name, check]) => check(value[name]));
}

function listOf(check: Check): Check {
  return (value) => Array.isArray(value) && value.every(check);
}

function recordOf(check: Check): Check {
  return (value) => isObject(value) && Object.values(value).every(check);
}

const isWindow = shape({
  usedPercent: isNumber,
  windowSeconds: optional(orNull(isNumber)),
  resetsAt: optional(orNull(isNumber)),
  observedAt: optional(isNumber),
});

const isMeter = shape({
  allowed: optional(orNull(isFlag)),
  limitReached: optional(orNull(isFlag)),
  windows: listOf(isWindow),
  observedAt: optional(isNumber),
  limit: optional(
    orNull(shape({ observedAt: isNumber, windows: listOf(isWindow) })),
  ),
});

const isUsage = shape({
  observedAt: isNumber,
  answeredAt: optional(orNull(isNumber)),
  meters: recordOf(isMeter),
  creditOnly: optional(isFlag),
  modelUsage: optional(recordOf(shape({
    available: isFlag,
    availableAt: optional(orNull(isNumber)),
    creditsWouldEnable: optional(orNull(isFlag)),
  }))),
  bankedResets: optional(orNull(isNumber)),
});

const isCredits = shape({
  observedAt: isNumber,
  hasCredits: optional(orNull(isFlag)),
  unlimited: optional(orNull(isFlag)),
  balance: optional(orNull((value) => isText(value) || isNumber(value))),
  overageLimitReached: optional(isFlag),
  spendControlReached: optional(isFlag),
  individualLimit: optional(isFlag),
  reachedType: optional(orNull(isText)),
  malformed: optional(isFlag),
});

/** Fields that are simply unknown when they are not what they should be. */
const PLAIN_FIELDS: [name: string, check: Check][] = [
  ["accountId", isText],
  ["userId", isText],
  ["email", isText],
  ["plan", isText],
  ["fedramp", isFlag],
  ["weight", isWeight],
  ["source", shape({ kind: isText, path: isText })],
  ["usage", isUsage],
  [
    "usageCheck",
    shape({
      askedAt: isNumber,
      failedAt: optional(isNumber),
      error: optional(isText),
    }),
  ],
  ["requests", isNumber],
  ["lastUsedAt", orNull(isNumber)],
];

const COOLDOWN_FIELDS: [name: string, check: Check][] = [
  ["clearedAt", isNumber],
  ["firm", isFlag],
  ["detail", isText],
];

/** Repairs one account in place; what is taken out of it can be put back. */
export function normalizeAccount(account: JsonObject): void {
  dropWrong(account, account, PLAIN_FIELDS);
  // "false" in quotes was meant to switch the account off.
  if (!optional(isFlag)(account["enabled"])) {
    takeOut(account, account, "enabled", false);
  }
  if (account["usage"] !== undefined) completeUsage(account["usage"]);
  if (account["tokens"] !== undefined) normalizeTokens(account);
  if ((account["auth"] ?? null) !== null) normalizeAuth(account);
  if (account["credits"] !== undefined) normalizeCredits(account);
  if (account["cooldowns"] !== undefined) normalizeCooldowns(account);
}

function dropWrong(
  account: JsonObject,
  target: JsonObject,
  fields: [string, Check][],
  part?: string,
): void {
  for (const [name, check] of fields) {
    if (target[name] === undefined || check(target[name])) continue;
    takeOut(account, target, name, undefined, part);
  }
}

/** Gives the parts of a usage of the right shape their nulls and their dictionaries. */
function completeUsage(value: unknown): void {
  const usage = value as JsonObject;
  usage["meters"] = dictionary(usage["meters"] as JsonObject);
  for (const meter of Object.values(usage["meters"] as JsonObject)) {
    const { windows, limit } = meter as JsonObject;
    completeWindows(windows);
    if (isObject(limit)) completeWindows(limit["windows"]);
  }
  if (usage["modelUsage"] === undefined) return;
  usage["modelUsage"] = dictionary(usage["modelUsage"] as JsonObject);
  for (const model of Object.values(usage["modelUsage"] as JsonObject)) {
    fillNulls(model as JsonObject, ["availableAt", "creditsWouldEnable"]);
  }
}

function completeWindows(windows: unknown): void {
  for (const window of windows as JsonObject[]) {
    fillNulls(window, ["windowSeconds", "resetsAt"]);
  }
}

function fillNulls(target: JsonObject, names: string[]): void {
  for (const name of names) target[name] ??= null;
}

function normalizeTokens(account: JsonObject): void {
  const tokens = account["tokens"];
  if (!isObject(tokens)) return takeOut(account, account, "tokens");
  dropWrong(account, tokens, [
    ["refresh", isText],
    ["id", isText],
    ["expiresAt", orNull(isNumber)],
  ], "tokens");
  if (isText(tokens["access"])) return;
  // A refresh token alone is enough to get a new access token with.
  if (tokens["refresh"] === undefined) takeOut(account, account, "tokens");
  else takeOut(account, tokens, "access", "", "tokens");
}

function normalizeAuth(account: JsonObject): void {
  const auth = isObject(account["auth"]) ? { ...account["auth"] } : {};
  const isOdd = !isNumber(auth["invalidAt"]) || !isText(auth["reason"]);
  if (!isOdd) return;
  if (!isNumber(auth["invalidAt"])) auth["invalidAt"] = 0;
  if (!isText(auth["reason"])) auth["reason"] = "Needs a sign-in";
  takeOut(account, account, "auth", auth);
}

function normalizeCredits(account: JsonObject): void {
  const credits = account["credits"];
  if (isObject(credits) && isCredits(credits)) {
    fillNulls(credits, ["hasCredits", "unlimited", "balance"]);
    if (isNumber(credits["balance"])) {
      credits["balance"] = String(credits["balance"]);
    }
    return;
  }
  const observedAt = isObject(credits) ? credits["observedAt"] : undefined;
  takeOut(account, account, "credits", {
    observedAt: isNumber(observedAt) ? observedAt : 0,
    hasCredits: null,
    unlimited: null,
    balance: null,
    malformed: true,
  });
}

function normalizeCooldowns(account: JsonObject): void {
  const value = account["cooldowns"];
  if (!isObject(value)) {
    return takeOut(account, account, "cooldowns", dictionary({}));
  }
  const cooldowns = account["cooldowns"] = dictionary(value);
  for (const [cause, cooldown] of Object.entries(cooldowns)) {
    if (!isObject(cooldown) || !isNumber(cooldown["until"])) {
      takeOut(account, cooldowns, cause, undefined, "cooldowns");
      continue;
    }
    if (!isNumber(cooldown["setAt"])) cooldown["setAt"] = 0;
    for (const [name, check] of COOLDOWN_FIELDS) {
      if (!optional(check)(cooldown[name])) delete cooldown[name];
    }
  }
}
