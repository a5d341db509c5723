/**
 * The meters that a request can count on.
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
