/** The meters that a request can count on, and their windows. */
import type {
  NormalMeter,
  NormalRecord,
  NormalWindow,
} from "./normal_types.ts";

/** The meter of ordinary models. */
export const MAIN_METER = "codex";
export const SPARK_METER = "codex_bengalfox";
const SPARK_MODEL = "gpt-5.3-codex-spark";

/** Meters that are known before any account was seen to have them, by the name of their model. */
const KNOWN_METERS: ReadonlyMap<string, string> = new Map([
  ["gpt-reserve", "base_model_inference"],
]);

/** Meters by the `limit_name` (in lower case) of the model that is their own. */
export type MeterNames = ReadonlyMap<string, string>;

export function isSparkModel(model: string | undefined): boolean {
  return model?.toLowerCase().startsWith(SPARK_MODEL) ?? false;
}

/** The meter that applies to a model, by those that accounts were seen with; the main one when the model is unknown. */
export function meterOfModel(
  model: string | undefined,
  names: MeterNames = KNOWN_METERS,
): string {
  if (model === undefined) return MAIN_METER;
  const name = model.toLowerCase();
  const own = names.get(name) ?? KNOWN_METERS.get(name);
  return own ?? (isSparkModel(model) ? SPARK_METER : MAIN_METER);
}

/** The meters of these accounts, by the name of the model that is their own. */
export function meterNames(records: Iterable<NormalRecord>): MeterNames {
  const names = new Map(KNOWN_METERS);
  for (const record of records) {
    for (const [name, meter] of namedMeters(record)) names.set(name, meter);
  }
  return names;
}

/** The same for one account: where others have another meter of that name, its own counts. */
export function ownMeterNames(
  record: NormalRecord,
  names: MeterNames,
): MeterNames {
  const own = namedMeters(record);
  const isAlike = own.every(([name, meter]) => names.get(name) === meter);
  return isAlike ? names : new Map([...names, ...own]);
}

function namedMeters({ usage }: NormalRecord): [string, string][] {
  const named: [string, string][] = [];
  for (const meter in usage?.meters) {
    const name = usage.meters[meter]?.name;
    if (name !== undefined && meter !== MAIN_METER) {
      named.push([name.toLowerCase(), meter]);
    }
  }
  return named;
}

export function meterFacts(
  { usage }: Pick<NormalRecord, "usage">,
  meter: string,
): NormalMeter | undefined {
  if (!usage || !Object.hasOwn(usage.meters, meter)) return undefined;
  return usage.meters[meter];
}

/** Whether two lengths (seconds) are of one window: the backend rounds them. */
export function isSameLength(a: number | null, b: number | null): boolean {
  if (a === null || b === null) return a === b;
  return Math.abs(a - b) <= 0.02 * Math.max(a, b);
}

/** Where a window of that length (seconds) is; -1: nowhere. */
export function indexOfLength(
  windows: readonly Pick<NormalWindow, "windowSeconds">[],
  windowSeconds: number | null,
): number {
  return windows.findIndex((window) =>
    isSameLength(window.windowSeconds, windowSeconds)
  );
}

/** When all windows that are full have reset, as far as is known, epoch ms; 0 where nothing is. */
export function fullUntil(windows: readonly NormalWindow[] = []): number {
  const resets = windows.filter(({ usedPercent }) => usedPercent >= 100)
    .map(({ resetsAt }) => resetsAt ?? 0);
  return Math.max(0, ...resets);
}

export function isRefused({ allowed, limitReached }: NormalMeter): boolean {
  return limitReached === true || allowed === false;
}

/**
 * Puts a meter's flags, in place, on those of the windows told together with
 * them that they are about: a refusal on those at 100 %, else on the fullest;
 * of equally full ones any may be meant.
 */
export function flagged(
  meter: NormalMeter,
  told: NormalWindow[] = meter.windows,
): NormalMeter {
  const refuses = isRefused(meter);
  if (refuses && told.length === 0 && meter.windows.length === 0) {
    meter.refusedAt = meter.observedAt;
  }
  if (!refuses && meter.allowed !== true) return meter;
  const fullest = Math.max(...told.map((window) => window.usedPercent));
  for (const window of told) {
    const isFull = window.usedPercent >= 100;
    if (refuses) {
      if (window.usedPercent >= Math.min(fullest, 100)) {
        window.flags = "refused";
      }
    } else if (!isFull || meter.limitReached === false) {
      window.flags = "allowed";
    }
  }
  return meter;
}
