/**
 * How fast windows fill up, from samples of their usage, and how long they
 * last at that pace.
 *
 * @module
 */
import type { NormalRecord, NormalWindow } from "../normal_types.ts";
import type { UsageSample } from "../types.ts";

/** The pace is that of the last hours of use, ms. */
const PACE_MS = 3 * 3_600_000;
/** Samples are so far apart at least, ms. */
const SAMPLE_MS = 5 * 60_000;
/** More samples of one window are not kept. */
const MAX_SAMPLES = 40;

function keyOf(meter: string, { windowSeconds }: NormalWindow): string {
  return `${meter}:${windowSeconds ?? ""}`;
}

/** Takes samples of all windows of an account, where the last ones are old enough. */
export function takeSamples(record: NormalRecord): void {
  const { usage, samples = {} } = record;
  for (const [meter, { windows }] of Object.entries(usage?.meters ?? {})) {
    for (const window of windows) {
      const key = keyOf(meter, window);
      const taken = withSample(samples[key], window);
      if (taken !== samples[key]) {
        record.samples = { ...record.samples, [key]: taken };
      }
    }
  }
}

function withSample(
  samples: UsageSample[] | undefined,
  { seenAt: at, usedPercent: percent }: NormalWindow,
): UsageSample[] {
  const last = samples?.at(-1);
  // a window that is emptier has begun anew
  if (!samples || !last || percent < last.percent) return [{ at, percent }];
  if (at < last.at + SAMPLE_MS) return samples;
  return [...samples, { at, percent }]
    .filter((sample) => sample.at >= at - 2 * PACE_MS)
    .slice(-MAX_SAMPLES);
}

/** When a window will be full at its present pace, epoch ms; null when it does not move or resets before. */
export function lastsUntil(
  { samples = {} }: Pick<NormalRecord, "samples">,
  meter: string,
  window: NormalWindow,
): number | null {
  const { seenAt, usedPercent, resetsAt } = window;
  const first = samples[keyOf(meter, window)]?.find(({ at }) =>
    at >= seenAt - PACE_MS
  );
  if (!first || usedPercent >= 100 || seenAt - first.at < SAMPLE_MS) {
    return null;
  }
  const perMs = (usedPercent - first.percent) / (seenAt - first.at);
  if (perMs <= 0) return null;
  const fullAt = Math.round(seenAt + (100 - usedPercent) / perMs);
  return resetsAt !== null && resetsAt < fullAt ? null : fullAt;
}

/** When the first window of a meter is full, epoch ms; null when none will be before it resets. */
export function meterLastsUntil(
  record: NormalRecord,
  meter: string,
): number | null {
  const windows = record.usage?.meters[meter]?.windows ?? [];
  const ends = windows.map((window) => lastsUntil(record, meter, window))
    .filter((end) => end !== null);
  return ends.length > 0 ? Math.min(...ends) : null;
}

/** Samples of two processes: those that go on longer count. */
export function mergeSamples(target: NormalRecord, mine: NormalRecord): void {
  for (const [key, own] of Object.entries(mine.samples ?? {})) {
    const known = target.samples?.[key]?.at(-1)?.at ?? -Infinity;
    if ((own.at(-1)?.at ?? -Infinity) <= known) continue;
    target.samples = { ...target.samples, [key]: own };
  }
}
