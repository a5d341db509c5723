/**
 * The meters that a request can count on, and their windows.
 *
 * @module
 */

/** The meter of ordinary models. */
export const MAIN_METER = "codex";
/** The meter of the Spark models. */
export const SPARK_METER = "codex_bengalfox";
const SPARK_MODEL = "gpt-5.3-codex-spark";

/** The meter that applies to a model; the main one when it is unknown. */
export function meterOfModel(model: string | undefined): string {
  return model?.startsWith(SPARK_MODEL) ? SPARK_METER : MAIN_METER;
}

/** A model that counts on one of the two meters. */
export function modelOfMeter(meter: string): string | undefined {
  return meter === SPARK_METER ? SPARK_MODEL : undefined;
}

/** Where the first window of a length stands; -1: nowhere. A plain loop, as every answer comes by here. */
export function indexOfLength(
  windows: readonly { windowSeconds: number | null }[],
  windowSeconds: number | null,
): number {
  for (let index = 0; index < windows.length; index++) {
    if (windows[index]!.windowSeconds === windowSeconds) return index;
  }
  return -1;
}
