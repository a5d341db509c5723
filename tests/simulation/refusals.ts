/** How the backend refuses, and what it tells by that. */
import { meterIdOf, type Verdict } from "./account.ts";
import { now, sleep } from "./clock.ts";
import { json, streamOf } from "./http.ts";
import type { Random } from "./random.ts";
import { headersOf, metersOf, type Shown, type ShownMeter } from "./told.ts";
import { type Attempt, clockOf, type Witness } from "./witness.ts";

/** What all answers need. */
export interface Answering {
  random: Random;
  witness: Witness;
  signal: AbortSignal;
}

const CREDIT_CODES = [
  "insufficient_quota",
  "credit_balance_exhausted",
  "organization_spend_limit_exceeded",
  "project_spend_limit_exceeded",
  "organization_usage_limit_exceeded",
];

/** The headers of an answer, told now; `began` is by the clock of the process. */
export function tellHeaders(
  attempt: Attempt,
  began: number,
  witness: Witness,
): Record<string, string> {
  const { account, model, process } = attempt;
  const { tellsCredits, hidesUnused } = account.options;
  const shown = account.show(now());
  let meter = meterFor(shown, model);
  if (meter && hidesUnused) {
    const windows = meter.windows.filter(({ used }) => used > 0);
    meter = windows.length > 0 ? { ...meter, windows } : null;
  }
  witness.told(process, account, {
    kind: "headers",
    began,
    arrived: clockOf(process),
    shown,
    meters: meter ? [meter] : [],
    tellsCredits,
    attempt,
    isRefresh: false,
  });
  return headersOf(shown, meter, account.options);
}

/** An overload, told at once or in the stream. */
export async function overload(
  attempt: Attempt,
  { random, signal }: Answering,
): Promise<Response> {
  const error = {
    code: "server_is_overloaded",
    message: "Selected model is at capacity",
  };
  attempt.outcome = "failed";
  if (random.chance(0.5)) {
    await sleep(random.between(200, 3000), signal);
    return json(503, { error });
  }
  const wait = random.between(3000, 50_000);
  return stream(signal, async (send) => {
    send({ type: "response.created", response: { id: "r" } });
    await sleep(wait, signal);
    send({ type: "response.failed", response: { error } });
  });
}

/** A 429 that says nothing about quota. */
export async function throttle(
  attempt: Attempt,
  { random, witness, signal }: Answering,
): Promise<Response> {
  const { throttled } = attempt.account.trouble;
  await sleep(random.between(50, 500), signal);
  attempt.outcome = "throttled";
  const seconds = Math.max(1, Math.ceil((throttled - now()) / 1000));
  const tells = random.chance(0.7);
  const wait = (tells ? seconds : 60) * 1000;
  witness.throttled(attempt, clockOf(attempt.process) + wait);
  const error = { type: "rate_limit_exceeded", message: "Slow down" };
  const headers: Record<string, string> = tells
    ? { "retry-after": String(seconds) }
    : {};
  return json(429, { error }, headers);
}

/** A 429 about quota or credits, at once or as an event with headers. */
export async function limit(
  attempt: Attempt,
  verdict: Extract<Verdict, { kind: "limit" | "credits-refused" }>,
  { random, witness, signal }: Answering,
): Promise<Response> {
  const { account, model, process } = attempt;
  const isAboutCredits = verdict.kind === "credits-refused" &&
    random.chance(0.6);
  const type = isAboutCredits
    ? random.pick(CREDIT_CODES)
    : random.pick(["usage_limit_reached", "usage_limit_exceeded"]);
  const inStream = random.chance(0.3);
  await sleep(random.between(50, inStream ? 6000 : 1500), signal);
  attempt.outcome = "limited";
  const shown = account.show(now());
  const error: Record<string, unknown> = { type, message: "Limit reached" };
  const isSilent = isAboutCredits || random.chance(0.3);
  const until = isSilent
    ? null
    : resetOf(shown, model, verdict.kind === "limit" ? verdict.about : "meter");
  if (until !== null) error["resets_at"] = until / 1000;
  const began = inStream ? clockOf(process) : attempt.began;
  const headers = tellHeaders(attempt, began, witness);
  witness.limited(process, account, {
    attempt,
    began,
    arrived: clockOf(process),
    isAboutCredits,
    named: meterFor(shown, model),
    until,
  });
  if (!inStream) return json(429, { error }, headers);
  return stream(signal, (send) => {
    send({ type: "error", error, status_code: 429, headers });
    return Promise.resolve();
  });
}

function stream(
  signal: AbortSignal,
  write: Parameters<typeof streamOf>[1],
): Response {
  const headers = { "content-type": "text/event-stream" };
  return new Response(streamOf(signal, write), { headers });
}

function meterFor(shown: Shown, model: string): ShownMeter | null {
  const id = meterIdOf(model);
  return metersOf(shown).find((meter) => meter.id === id) ?? null;
}

/** When a refusal says that it ends, epoch ms; null: it does not. */
function resetOf(
  shown: Shown,
  model: string,
  about: "meter" | "model",
): number | null {
  const available = shown.models[model]?.availableAt;
  if (about === "model") {
    return available ? Math.floor(available / 1000) * 1000 : null;
  }
  const windows = meterFor(shown, model)?.windows ?? [];
  const full = windows.filter(({ used }) => used >= 100);
  if (full.length === 0) return null;
  return Math.max(...full.map(({ resetsAt }) => resetsAt));
}
