/** What tests of reading share: a time, and requests that were made then. */
import type { AboutRequest } from "../../lib/codex/headers.ts";
import type { NormalMeter, NormalUsage } from "../../lib/normal_types.ts";

export const NOW = 1_790_000_000_000;
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const DAY = 24 * 60 * MINUTE;
export const SPARK = "gpt-5.3-codex-spark";
export const SPARK_METER = "codex_bengalfox";
export const RESERVE_METER = "base_model_inference";

/** An answer asked for at this time (epoch ms) that came at once. */
export const seenAt = (time: number) => ({ observedAt: time, seenAt: time });

/** A request for a model, answered at once. */
export function about(
  model?: string,
  names?: ReadonlyMap<string, string>,
): AboutRequest {
  return { ...seenAt(NOW), model, ...(names && { names }) };
}

/** The percentages of each meter, to compare at a glance. */
export function percents(usage: NormalUsage | null): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(usage?.meters ?? {}).map(([id, { windows }]) => [
      id,
      windows.map(({ usedPercent }) => usedPercent),
    ]),
  );
}

/** The percentages of a meter with what flags made of them, as in "100 refused". */
export function flagsOf(meter: NormalMeter | undefined): string[] {
  return (meter?.windows ?? []).map(({ usedPercent, flags }) =>
    flags === undefined ? `${usedPercent}` : `${usedPercent} ${flags}`
  );
}
