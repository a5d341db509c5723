/**
 * Most answers say what the one before said. Then nothing has to be understood
 * and brought together again: what is known is still true, only later.
 *
 * @module
 */
import {
  type HeaderFacts,
  type SaidHeaders,
  sameUntil,
  saySame,
} from "../codex/headers.ts";
import { meterOfModel } from "../meters.ts";
import type { AccountRecord, CreditFacts, UsageFacts } from "../types.ts";
import type { Attempt } from "./learn.ts";
import type { Runtime } from "./runtime.ts";

/** What is known of an account since an answer was learned from. */
interface Known {
  readonly usage: UsageFacts;
  readonly credits: CreditFacts | undefined;
  readonly plan: string | undefined;
  /** All of it that carries the time at which it was observed. */
  readonly dated: readonly { observedAt?: number }[];
}

/** What an answer said. */
class Said {
  readonly headers: SaidHeaders;
  /** The meter of the model that was asked for. */
  readonly meter: string;
  /** It means something else from then on, epoch ms. */
  readonly until: number;
  readonly known: Known;

  constructor(
    headers: SaidHeaders,
    meter: string,
    until: number,
    known: Known,
  ) {
    this.headers = headers;
    this.meter = meter;
    this.until = until;
    this.known = known;
  }
}

/** Remembers what an answer said, once that was learned. */
export function remember(
  { runner, model, beganAt }: Attempt,
  headers: SaidHeaders,
  facts: HeaderFacts,
): void {
  const { usage, credits, plan } = runner.account;
  const until = sameUntil(headers, beganAt);
  const dated = usage && datedParts(runner.account, usage, facts);
  runner.said = undefined;
  if (!usage || !dated || until === undefined) return;
  const known = { usage, credits, plan, dated };
  runner.said = new Said(headers, meterOfModel(model), until, known);
}

/** The parts of what is known that came from these facts; undefined unless all of the facts are in it. */
function datedParts(
  account: AccountRecord,
  usage: UsageFacts,
  facts: HeaderFacts,
): { observedAt?: number }[] | undefined {
  // without a word of usage none of it is known to be true still
  if (!facts.usage) return undefined;
  const parts: { observedAt?: number }[] = [usage];
  for (const [name, { windows }] of Object.entries(facts.usage.meters)) {
    if (!Object.hasOwn(usage.meters, name)) return undefined;
    const meter = usage.meters[name]!;
    // one that was not told may reset, and is dropped then
    if (meter.windows.length !== windows.length) return undefined;
    if (!windows.every((it) => meter.windows.includes(it))) return undefined;
    parts.push(meter, ...windows);
  }
  if (!facts.credits) return parts;
  const { credits } = account;
  if (credits?.observedAt !== facts.credits.observedAt) return undefined;
  return [...parts, credits];
}

/**
 * Learns from an answer that says what its account's last one said.
 *
 * @returns false when it does not, or may mean something else: then nothing was learned.
 */
export function confirm(
  { live, now }: Runtime,
  { runner, model, beganAt, pool }: Attempt,
  headers: SaidHeaders,
): boolean {
  const { said, account, alias } = runner;
  // what may have been paid for goes the whole way
  if (!(said instanceof Said) || pool !== "first") return false;
  const { usage, credits, plan, dated } = said.known;
  // whatever else was learned since made them other objects
  const isKnown = usage === account.usage && credits === account.credits &&
    plan === account.plan;
  const at = now();
  if (!isKnown || beganAt > at || at >= said.until) return false;
  if (said.meter !== meterOfModel(model)) return false;
  if (!saySame(headers, said.headers)) return false;
  // nothing that is confirmed makes this verdict worse, so it can stay
  if (runner.assess(model, at).standing.kind !== "included") return false;
  if (beganAt > usage.observedAt) {
    for (const part of dated) part.observedAt = beganAt;
  }
  live.touch(alias);
  return true;
}
