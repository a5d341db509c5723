import { readDecimal } from "../values.ts";
import type { NormalCredits, NormalRecord } from "../normal_types.ts";
import type { CreditPolicy } from "../report_types.ts";
import type { ClockReading } from "./clock.ts";

const ALIAS = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export function isAlias(name: string): boolean {
  return ALIAS.test(name) && name !== "all" && name !== "none";
}

/** The places a credit policy can come from, each undefined or null when unset. */
export interface PolicySources {
  option?: unknown;
  /** The environment's value, or `{ unreadable: true }` where it may not be read. */
  environment?: string | { unreadable: true } | undefined;
  store?: unknown;
}

/**
 * The credit policy in force: the first source that is set decides, and one
 * that cannot be understood allows nobody, because money fails closed.
 */
export function creditPolicy(sources: PolicySources): CreditPolicy {
  const { option, environment, store } = sources;
  if (option !== undefined && option !== null) {
    return parsePolicy(option, "option");
  }
  if (typeof environment === "string") {
    return parsePolicy(environment, "environment");
  }
  if (environment?.unreadable) {
    return {
      allow: "none",
      source: "environment",
      warning:
        "The environment may not be read, so it is unknown who may spend credits and nobody may: allow reading CODEX_ROTATOR_CREDIT_ACCOUNTS and OPENCODE_MULTI_AUTH_CREDIT_ACCOUNT_ALIASES, or pass the credits option",
    };
  }
  if (store !== undefined && store !== null) return parsePolicy(store, "store");
  return { allow: "all", source: "default" };
}

function parsePolicy(
  value: unknown,
  source: CreditPolicy["source"],
): CreditPolicy {
  const refuse = (found: string): CreditPolicy => ({
    allow: "none",
    source,
    warning:
      `The credit setting (${source}) is ${found}, so nobody may spend credits: set it to "all", "none" or a list of aliases`,
  });
  const isText = typeof value === "string";
  const parts: unknown = isText ? value.split(",") : value;
  if (!Array.isArray(parts)) return refuse("neither a text nor a list");
  if (!parts.every((part) => typeof part === "string")) {
    return refuse("a list with a non-text part");
  }
  const names = parts.map((part) => part.trim()).filter((name) => name !== "");
  if (isText && names.length === 0) return refuse("blank");
  if (isText && names.length === 1) {
    if (names[0] === "all" || names[0] === "*") return { allow: "all", source };
    if (names[0] === "none") return { allow: "none", source };
  }
  return names.every(isAlias)
    ? { allow: names, source }
    : refuse(`a ${isText ? "text" : "list"} with a part that is no alias`);
}

export function maySpend(policy: CreditPolicy, alias: string): boolean {
  if (typeof policy.allow === "string") return policy.allow === "all";
  return policy.allow.includes(alias);
}

/**
 * Whether freshly observed credits could pay for a request now. That an owner
 * allows it is the policy's question, not this one.
 */
export function areUsable(
  credits: NormalCredits,
  clock: ClockReading,
): boolean {
  if (!clock.isFresh(credits.observedAt) || credits.malformed) return false;
  if (credits.unlimited !== true && credits.hasCredits !== true) return false;
  if (credits.overageLimitReached || credits.spendControlReached) return false;
  if (credits.reachedType?.startsWith("workspace_")) return false;
  if (credits.balance === null) return true;
  const balance = readDecimal(credits.balance);
  if (balance === undefined || balance < 0) return false;
  return balance > 0 || credits.individualLimit;
}

/** Whether a well-formed observation tells that there are none. */
export function saidNone(credits: NormalCredits): boolean {
  const { hasCredits, unlimited, balance, malformed } = credits;
  const isReadable = balance === null || readDecimal(balance) !== undefined;
  return hasCredits === false && unlimited === false && isReadable &&
    !malformed;
}

/** "It has no credits" is believed for this long, ms. */
const NO_CREDITS_MS = 24 * 3_600_000;

/** Whether an observation of the last 24 hours told that there are no credits: then a wrong guess costs no money. */
export function isWithoutCredits(
  { credits }: NormalRecord,
  clock: ClockReading,
): boolean {
  return credits !== undefined && saidNone(credits) &&
    clock.isWithin(credits.observedAt, NO_CREDITS_MS);
}
