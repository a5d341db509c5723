/**
 * What an answer teaches about the account that gave it: in memory at once, in
 * the store at once where it changes a verdict.
 */
import type { Outcome } from "../codex/error_table.ts";
import type { HeaderFacts } from "../codex/headers.ts";
import { fullUntil, meterFacts, meterOfModel } from "../meters.ts";
import type { PooledAccount } from "../pool/account_pool.ts";
import { setCooldown, usageLimitKey } from "../pool/cooldowns.ts";
import { type BalanceObservation, observeBalance } from "../pool/spending.ts";
import { addAmounts } from "../decimal.ts";
import { definedIn, readDecimal } from "../values.ts";
import {
  closedMeters,
  creditsFromHeaders,
  isOlderThanAnswer,
  learnUsage,
} from "../pool/facts.ts";
import type { NormalRecord } from "../normal_types.ts";
import type { Cooldown } from "../types.ts";
import type { AccountContext, Attempt } from "./context.ts";

const MINUTE = 60_000;
/** Credits that a limit answer contradicts are not used for this long, ms. */
const CREDITS_REFUSED_MS = 5 * MINUTE;
/** A limit whose end nobody tells, ms. */
const UNTOLD_LIMIT_MS = 15 * MINUTE;
/** A model's name longer than this is not remembered, characters. */
const MAX_MODEL_LENGTH = 128;

/** A cooldown that an answer sets, by its cause. */
type CooldownUpdate =
  & Pick<Cooldown, "until" | "code">
  & { cause: string; detail: string };

/** Whether an attempt's account is still the login that it was sent with. */
function isCurrent(context: AccountContext, { account }: Attempt): boolean {
  return context.accounts.get(account.alias) === account;
}

/** Learns windows, credits and plan from what headers or stream events say: in memory before it returns. */
export async function learnFacts(
  context: AccountContext,
  attempt: Attempt,
  facts: Pick<HeaderFacts, "plan" | "usage" | "credits">,
): Promise<void> {
  if (!isCurrent(context, attempt)) return;
  const { account } = attempt;
  const { record, alias } = account;
  const now = context.now();
  const before = verdictKey(account, now);
  if (facts.credits) {
    const { balance, observedAt } = facts.credits;
    attempt.balanceAfter = balance ?? attempt.balanceAfter;
    if (balance !== undefined) {
      const told = { balance, observedAt, seenAt: now, isAsked: false };
      learnBalance(context, attempt, told);
    }
    record.credits = creditsFromHeaders(record.credits, facts.credits, now);
  }
  if (facts.usage) learnUsage(record, facts.usage, now);
  const observedAt = facts.usage?.observedAt ?? attempt.beganAt;
  const { plan } = facts;
  const isNewPlan = plan !== null && plan !== record.plan &&
    !isOlderThanAnswer(record, observedAt);
  if (facts.usage || facts.credits) context.cache.markDirty(alias);
  account.invalidate();
  if (isNewPlan) {
    await context.cache.writeRecord(account, (stored) => {
      // it may be written much later
      if (!isOlderThanAnswer(stored, observedAt)) stored.plan = plan;
    });
  } else if (verdictKey(account, now) !== before) await context.cache.write();
}

/** What tells whether an observation changed a verdict. */
function verdictKey(account: PooledAccount, now: number): string {
  // credits count for the main meter, whatever the model of the request
  const { standing } = account.assess(undefined, now);
  return `${closedMeters(account.record)} ${standing.kind}`;
}

/**
 * Learns what an answer says against its account: the cooldowns that follow.
 *
 * @returns Why the request moves on, for people.
 */
export async function learnOutcome(
  context: AccountContext,
  attempt: Attempt,
  outcome: Outcome,
): Promise<string> {
  const setAt = context.now();
  const updates = cooldownsOf(attempt, outcome, setAt);
  if (updates.length === 0) return outcome.kind;
  if (outcome.kind === "usage-limit") attempt.account.limits++;
  await setCooldowns(context, attempt, updates);
  return updates[0]!.detail;
}

/** Sets cooldowns of the account of an attempt, and tells of them. */
export async function setCooldowns(
  context: AccountContext,
  attempt: Attempt,
  updates: readonly CooldownUpdate[],
): Promise<void> {
  if (!isCurrent(context, attempt)) return;
  const { alias } = attempt.account;
  const setAt = context.now();
  const written = context.cache.writeRecord(attempt.account, (stored) => {
    for (const { cause, ...update } of updates) {
      setCooldown(stored, cause, { setAt, ...update }, context.now());
      closeAllowed(stored, cause);
    }
  });
  for (const { cause, until, detail: reason } of updates) {
    const event = { type: "cooldown", alias, cause, until, reason } as const;
    context.emit({ ...attempt.about, ...event });
  }
  await written;
}

/** Flags that allowed a full window are no longer believed after a refusal. */
function closeAllowed(record: NormalRecord, cause: string): void {
  const meter = cause.replace(/^usage-limit:/, "");
  for (const window of meterFacts(record, meter)?.windows ?? []) {
    if (window.usedPercent >= 100) delete window.flags;
  }
}

function cooldownsOf(
  attempt: Attempt,
  outcome: Outcome,
  now: number,
): CooldownUpdate[] {
  switch (outcome.kind) {
    case "workspace":
    case "plan":
    case "throttle": {
      const { kind: cause, ...update } = outcome;
      return [{ cause, ...update }];
    }
    case "model":
      return modelCooldown(attempt, outcome);
    case "usage-limit":
      return limitCooldowns(attempt, outcome, now);
    case "credits-refused": {
      const detail = `The backend refuses credits (${outcome.code})`;
      const refused = creditsCooldown(detail, now);
      if (attempt.pool === "credits") return [refused];
      const cause = usageLimitKey(meterOf(attempt));
      return [refused, { cause, until: outcome.until, detail }];
    }
    case "ok":
    case "token-rejected":
    case "encrypted-content":
    case "refused-body":
    case "transient":
    case "other":
      return [];
  }
}

function meterOf({ account, model }: Attempt): string {
  return meterOfModel(model, account.names);
}

function limitCooldowns(
  attempt: Attempt,
  outcome: Outcome & { kind: "usage-limit" },
  now: number,
): CooldownUpdate[] {
  const { meter, detail, isAboutModel } = outcome;
  const reset = isAboutModel
    ? 0
    : fullUntil(meterFacts(attempt.account.record, meter)?.windows);
  const until = outcome.until ??
    (reset > now ? reset : now + UNTOLD_LIMIT_MS);
  const updates: CooldownUpdate[] = [];
  if (!isAboutModel) {
    updates.push({ cause: usageLimitKey(meter), until, detail });
  }
  if (isAboutModel || meter !== meterOf(attempt)) {
    const code = "usage_limit_reached";
    updates.push(...modelCooldown(attempt, { until, detail, code }));
  }
  if (attempt.pool !== "first") updates.push(creditsCooldown(detail, now));
  return updates;
}

function creditsCooldown(detail: string, now: number): CooldownUpdate {
  return { cause: "credits", until: now + CREDITS_REFUSED_MS, detail };
}

function modelCooldown(
  { model }: Attempt,
  { until, detail, code }: Omit<CooldownUpdate, "cause">,
): CooldownUpdate[] {
  if (model === undefined || model.length > MAX_MODEL_LENGTH) return [];
  return [{ cause: `model:${model}`, until, detail, ...definedIn({ code }) }];
}

/**
 * Books what a balance tells; one that is as it was is only noted in memory.
 * A charge that no paid request accounts for is that of the request whose
 * answer shows it.
 */
function learnBalance(
  context: AccountContext,
  attempt: Attempt,
  told: BalanceObservation,
): void {
  const { account, pool, isFree } = attempt;
  const { alias, record } = account;
  const now = context.now();
  if (record.spending?.balance === told.balance) {
    observeBalance(record, told, now);
    return;
  }
  const before = attempt.charged;
  let topUp: string | null = null;
  void context.cache.writeRecord(account, (stored) => {
    const change = observeBalance(stored, told, now);
    topUp = change.topUp;
    if (pool !== "first" || isFree) return;
    // the last time that this is applied is the one that is kept
    attempt.charged = change.unexpected === null
      ? before
      : addAmounts(before ?? "0", change.unexpected);
  });
  tellTopUp(context, alias, topUp);
}

/** Tells of a balance that rose: something adds to it. */
export function tellTopUp(
  { emit }: AccountContext,
  alias: string,
  amount: string | null,
): void {
  if (amount === null) return;
  const reason =
    `The balance rose by ${amount}: it was topped up, so that a balance is no limit; set a cap to have one`;
  emit({ type: "warning", alias, reason });
}

/**
 * Hears of a charge that nobody expected: a balance that fell over a request
 * thought included. Until its usage was asked for, the account is unknown.
 */
export function learnCharge(context: AccountContext, attempt: Attempt): void {
  const { account, pool, isFree, balanceBefore, balanceAfter } = attempt;
  if (pool !== "first" || isFree || !isCurrent(context, attempt)) return;
  const before = readDecimal(balanceBefore);
  const after = readDecimal(balanceAfter);
  if (before === undefined || after === undefined || after >= before) return;
  const { alias } = account;
  const doubtedAt = context.now();
  void context.cache.writeRecord(account, ({ usage }) => {
    if (usage) usage.doubtedAt = Math.max(usage.doubtedAt ?? 0, doubtedAt);
  });
  context.emit({
    ...attempt.about,
    type: "credits-spent",
    alias,
    certain: true,
    balanceBefore,
    balanceAfter,
    reason: "The balance fell over a request that was thought included",
  });
}
