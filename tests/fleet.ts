/** A rotator in front of a stand-in backend, for tests of the whole way of a request. */
import {
  type AccountRecord,
  createRotator,
  memoryStore,
  type PoolState,
  type Rotator,
  type RotatorEvent,
  type RotatorOptions,
  type Settings,
  type Store,
} from "../mod.ts";
import {
  type FakeAccountOptions,
  type FakeCodex,
  type FakeCodexOptions,
  type FakeWindow,
  startFakeCodex,
} from "../lib/testing/fake_codex.ts";

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** What a test says of its accounts and its rotator. */
export interface FleetOptions extends Omit<RotatorOptions, "store"> {
  accounts: Record<string, FakeAccountOptions>;
  /** Fields laid over the seeded records. */
  records?: Record<string, Partial<AccountRecord>>;
  settings?: Settings;
  fake?: Omit<FakeCodexOptions, "accounts" | "now">;
  store?: (initial: Partial<PoolState>) => Store | string;
}

/** All parts of such a set-up, with a clock of its own. */
export interface Fleet extends AsyncDisposable {
  fake: FakeCodex;
  rotator: Rotator;
  store: Store | string;
  events: RotatorEvent[];
  clock: { now: number };
  /** Sends a request as an agent would, to the end of its answer. */
  ask(
    body?: Record<string, unknown>,
    init?: RequestInit,
    by?: Rotator,
  ): Promise<Answered>;
  /** Who served, in order; "name$" when it was charged. */
  served(): string[];
  /** How many usage requests there were. */
  usageCalls(): number;
}

export interface Answered {
  status: number;
  alias: string | undefined;
  text: string;
  response: Response;
}

/** The record of an account as it stands right after a sign-in. */
export function recordOf(fake: FakeCodex, name: string): AccountRecord {
  const { access, refresh, id, accountId, expiresAt } = fake.tokens(name);
  const { email, plan, userId } = fake.account(name);
  return {
    accountId,
    userId,
    email,
    plan,
    tokens: { access, refresh, id, expiresAt },
  };
}

/** Starts a stand-in with the accounts, seeds a store with them, and puts a rotator in front. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { accounts, records, settings, fake: fakeOptions, store, ...rest } =
    options;
  const clock = { now: 1_800_000_000_000 };
  const now = () => clock.now;
  const fake = await startFakeCodex({
    accessLifetimeMs: 400 * DAY,
    ...fakeOptions,
    accounts,
    now,
  });
  const seeded: Record<string, AccountRecord> = {};
  for (const name of Object.keys(accounts)) {
    seeded[name] = { ...recordOf(fake, name), ...records?.[name] };
  }
  const initial = { version: 1, settings: settings ?? {}, accounts: seeded };
  const kept = store?.(initial) ?? memoryStore(initial);
  const events: RotatorEvent[] = [];
  const rotator = createRotator({
    store: kept,
    backend: fake.backend,
    issuer: fake.issuer,
    now,
    onEvent: (event) => events.push(event),
    ...rest,
  });
  return {
    fake,
    rotator,
    store: kept,
    events,
    clock,
    ask: (body, init, by = rotator) => ask(by, body, init),
    served: () => servedBy(fake),
    usageCalls: () => fake.log.filter((entry) => entry.kind === "usage").length,
    async [Symbol.asyncDispose]() {
      await rotator.close();
      await fake.close();
    },
  };
}

/** A body that the backend accepts. */
export function requestBody(
  more: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    model: "gpt-5.5",
    instructions: "Be brief.",
    input: [{ role: "user", content: "Hello" }],
    store: false,
    stream: true,
    ...more,
  };
}

async function ask(
  rotator: Rotator,
  body: Record<string, unknown> = {},
  init: RequestInit = {},
): Promise<Answered> {
  const response = await rotator.fetch(`${rotator.baseURL}/responses`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(requestBody(body)),
    ...init,
  });
  const alias = rotator.accountOf(response);
  return {
    status: response.status,
    alias,
    text: await response.text(),
    response,
  };
}

function servedBy(fake: FakeCodex): string[] {
  return fake.log
    .filter((entry) => entry.kind === "responses" && entry.status === 200)
    .map((entry) => `${entry.account}${entry.charged ? "$" : ""}`);
}

/** Full windows that reset in an hour and in three days. */
export function fullWindows(now: number): FakeWindow[] {
  return [
    { seconds: 18_000, usedPercent: 100, resetAt: now + HOUR },
    { seconds: 604_800, usedPercent: 40, resetAt: now + 3 * DAY },
  ];
}

/** The clock that fleets start with, epoch ms. */
export const START = 1_800_000_000_000;

/** Ten credits. */
export const TEN_CREDITS = {
  hasCredits: true,
  unlimited: false,
  balance: "10",
};

/** A week that is used up and resets in three days: the included usage is gone. */
export const EXHAUSTED: FakeAccountOptions = { windows: fullWindows(START) };

/** Exhausted, with ten credits. */
export const CREDITED: FakeAccountOptions = {
  windows: fullWindows(START),
  credits: TEN_CREDITS,
};

/** A fleet whose facts are fresh, and whose log is empty. */
export async function startKnown(options: FleetOptions): Promise<Fleet> {
  const fleet = await startFleet(options);
  await fleet.rotator.refresh();
  fleet.fake.clearLog();
  return fleet;
}

/** An account's row of `status`, in short: why it stands as it does, and for how many ms more. */
export async function rowOf(
  fleet: Fleet,
  alias: string,
  model?: string,
): Promise<[why: string, ms: number | null]> {
  const report = await fleet.rotator.status(
    model === undefined ? {} : { model },
  );
  const row = report.accounts.find((account) => account.alias === alias);
  if (!row) throw new Error(`No account is named ${alias}`);
  const why = row.reason ?? row.standing;
  return [
    why,
    row.until === null ? null : Date.parse(row.until) - fleet.clock.now,
  ];
}

/** What was asked of the backend and the issuer, in order. */
export function kindsOf(fleet: Fleet): string[] {
  return fleet.fake.log.map((entry) => `${entry.kind}:${entry.account ?? ""}`);
}
