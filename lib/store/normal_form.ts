/** How each stored value is read into its normal form, which `state.ts` describes. */
import { isHeaderText, isRecord, readDecimal } from "../values.ts";
import { flagged, MAIN_METER } from "../meters.ts";
import type {
  AccountSource,
  Cooldown,
  ModelUsage,
  UsageCheck,
  UsageSample,
} from "../types.ts";
import type { PaidRequest, SpendingFacts } from "../spending_types.ts";
import type {
  NormalCredits,
  NormalMeter,
  NormalRecord,
  NormalState,
  NormalTokens,
  NormalUsage,
  NormalWindow,
} from "../normal_types.ts";
import {
  dated,
  dictionary,
  entriesOf,
  flag,
  type JsonObject,
  lenient,
  list,
  nullable,
  number,
  object,
  optional,
  passing,
  type Read,
  shape,
  text,
  UNREADABLE,
} from "./shape.ts";

const MAX_ENTRIES = 32;
const MAX_WINDOWS = 8;
const MAX_TEXT = 64;

export function normalRecord(stored: unknown): NormalRecord {
  const record = readRecord(isRecord(stored) ? stored : {}, NaN);
  const { accountId } = record;
  // its requests would be another account's
  if (accountId && !isHeaderText(accountId)) delete record.tokens;
  return record;
}

const name: Read<string> = (value, at) => text(value, at).slice(0, MAX_TEXT);

const balance: Read<string> = (value, at) => {
  const read = typeof value === "number" ? number(value, at) : text(value, at);
  if (String(read).length > MAX_TEXT) throw UNREADABLE;
  return String(read);
};

const weight = passing((it): it is number =>
  Number.isFinite(it) && it as number >= 0
);

/** At most so many entries; the main meter is never the one too many. */
function recordOf<T>(
  read: Read<T>,
  most = MAX_ENTRIES,
): Read<Record<string, T>> {
  return (value, at) => {
    const stored = object(value, at);
    const record = dictionary<T>({});
    const names = new Set([MAIN_METER, ...Object.keys(stored)]);
    for (const name of names) {
      if (Object.keys(record).length === most) break;
      const fits = name.length <= MAX_TEXT && name !== "__proto__";
      if (!fits || !Object.hasOwn(stored, name)) continue;
      record[name] = read(stored[name], at);
    }
    return record;
  };
}

const readWindow = shape<NormalWindow>({
  usedPercent: number,
  windowSeconds: nullable(number),
  resetsAt: nullable(number),
  observedAt: dated,
  seenAt: dated,
  flags: lenient(passing((it) => it === "allowed" || it === "refused")),
});

/** Of too many windows the fullest ones count. */
const readWindows: Read<NormalWindow[]> = (value, at) => {
  const windows = list(value, at).map((window) => readWindow(window, at));
  if (windows.length <= MAX_WINDOWS) return windows;
  windows.sort((a, b) => b.usedPercent - a.usedPercent);
  return windows.slice(0, MAX_WINDOWS);
};

const readMeterFields = shape<NormalMeter>({
  name: lenient(name),
  allowed: nullable(flag),
  limitReached: nullable(flag),
  windows: readWindows,
  observedAt: dated,
  refusedAt: lenient(number),
});

const readMeter: Read<NormalMeter> = (value, at) => {
  const meter = readMeterFields(value, at);
  const { windows } = value as { windows: JsonObject[] };
  // others were written by hand or by a version that kept their flags apart
  const isFlagged = windows.some(({ seenAt }) => seenAt !== undefined);
  if (meter.refusedAt !== undefined || isFlagged) return meter;
  // flags are about the windows that were told with them
  const { observedAt } = meter;
  const told = meter.windows.filter((it) => it.observedAt === observedAt);
  return flagged(meter, told);
};

const readModel = shape<ModelUsage>({
  available: flag,
  availableAt: nullable(number),
  creditsWouldEnable: nullable(flag),
});
/** One that is left out would look available. */
const readModels = recordOf(readModel, Infinity);

const readUsage = shape<NormalUsage>({
  observedAt: number,
  answeredAt: (value, at) => value === null ? null : dated(value, at),
  meters: recordOf(readMeter),
  creditOnly: optional(nullable(flag), false),
  doubtedAt: lenient(number),
  modelUsage: (value = {}, at) => readModels(value, at),
  bankedResets: nullable(number),
});

const readCreditFields = shape<NormalCredits>({
  observedAt: number,
  hasCredits: nullable(flag),
  unlimited: nullable(flag),
  balance: nullable(balance),
  overageLimitReached: optional(flag, false),
  spendControlReached: optional(flag, false),
  individualLimit: optional(flag, false),
  reachedType: nullable(name),
  malformed: optional(flag, false),
  limitsObservedAt: dated,
});

/** Credits that cannot be read are credits that cannot be used. */
const readCredits: Read<NormalCredits> = (value, at) => {
  const credits = lenient(readCreditFields)(value, at);
  if (credits) return credits;
  const stored = isRecord(value) ? value["observedAt"] : undefined;
  const observedAt = lenient(number, 0)(stored, at);
  return { ...readCreditFields({ observedAt }, at), malformed: true };
};

const readTokenFields = shape<NormalTokens>({
  access: lenient(text, ""),
  refresh: lenient(text),
  id: lenient(text),
  expiresAt: lenient(nullable(number), null),
});

/** A refresh token alone is enough to get an access token with. */
const readTokens: Read<NormalTokens> = (value, at) => {
  const tokens = readTokenFields(value, at);
  const { access, refresh } = tokens;
  if (access === "" ? !refresh : !isHeaderText(access)) throw UNREADABLE;
  return tokens;
};

const readCooldown = shape<Cooldown>({
  until: number,
  setAt: lenient(number, 0),
  clearedAt: lenient(number),
  returns: lenient(number),
  code: lenient(name),
  detail: lenient(text),
});

const readAuthFields = shape<NonNullable<NormalRecord["auth"]>>({
  invalidAt: lenient(number, 0),
  reason: lenient(text, "Needs a sign-in"),
});

const readAmounts = entriesOf((value) => {
  if (readDecimal(value) === undefined) throw UNREADABLE;
  return String(value);
});

const readSample = shape<UsageSample>({ at: number, percent: number });

const readSamples = recordOf<UsageSample[]>((value, at) =>
  Array.isArray(value) ? value.slice(-40).map((it) => readSample(it, at)) : []
);

const readPaidRequest = shape<PaidRequest>({
  startedAt: number,
  endedAt: lenient(number),
  tokens: lenient(number),
  credits: lenient(balance),
  approximate: lenient(flag),
  isHidden: lenient(flag),
  isSettled: lenient(flag),
});
/** One that is left out would not count for a cap. */
const readPaid = recordOf(readPaidRequest, Infinity);

const readSpending = shape<SpendingFacts>({
  balance: lenient(balance),
  observedAt: lenient(number, 0),
  seenAt: lenient(number, 0),
  asked: optional(entriesOf(number)),
  paid: (value = {}, at) => readPaid(value, at),
  dearest: readAmounts,
  toppedUpAt: lenient(number),
});

const readRecord = shape<NormalRecord>({
  accountId: lenient(text),
  userId: lenient(text),
  email: lenient(text),
  plan: lenient(name),
  fedramp: lenient(flag),
  // "false" in quotes was meant to switch the account off
  enabled: (value = true) => value === true,
  weight: lenient(weight, 1),
  priority: lenient(number, 0),
  reserve: lenient(number, 0),
  tokens: lenient(readTokens),
  source: lenient(shape<AccountSource>({
    kind: text,
    path: text,
    seen: lenient(text),
  })),
  usage: lenient(readUsage),
  credits: optional(readCredits),
  samples: lenient(readSamples),
  spent: optional(readAmounts),
  formerAliases: lenient(recordOf(number)),
  spending: lenient(readSpending),
  cooldowns: entriesOf(readCooldown),
  tokenCallAt: lenient(number),
  auth: (value = null, at) =>
    value === null
      ? undefined
      : readAuthFields(isRecord(value) ? value : {}, at),
  usageCheck: lenient(shape<UsageCheck>({
    askedAt: number,
    failedAt: optional(number),
    error: optional(text),
  })),
  requests: lenient(number, 0),
  lastUsedAt: lenient(nullable(number), null),
});

export const readSettings = shape<NormalState["settings"]>({
  strategy: lenient(text),
  // of any form: where it cannot be read, nobody may spend
  creditAccountAliases: (value) => structuredClone(value),
  creditCaps: (value) => structuredClone(value),
  spentByRemoved: optional(readAmounts),
  // a pin that cannot be read still pins: nobody has such a name
  pinned: (value = null) =>
    typeof value === "string" || value === null
      ? value || null
      : JSON.stringify(value),
});
