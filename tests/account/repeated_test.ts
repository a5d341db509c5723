import { assert, assertEquals } from "@std/assert";
import { type Attempt, learnFacts } from "../../lib/account/learn.ts";
import { confirm, remember } from "../../lib/account/repeated.ts";
import { scanHeaders, understandHeaders } from "../../lib/codex/headers.ts";
import { mergeUsage } from "../../lib/pool/facts.ts";
import { type House, openHouse } from "../../lib/runtime.ts";
import { type AccountRecord, memoryStore } from "../../mod.ts";
import { HOUR, MINUTE, START } from "../fleet.ts";

const SPARK = "gpt-5.3-codex-spark";
const RESET = START + 5 * HOUR;

/** What an ordinary answer says. */
const USUAL = {
  "x-codex-plan-type": "plus",
  "x-codex-primary-used-percent": "12.5",
  "x-codex-primary-window-minutes": "300",
  "x-codex-primary-reset-at": String(RESET / 1000),
  "x-codex-primary-reset-after-seconds": "18000",
  "x-codex-credits-has-credits": "False",
  "x-codex-credits-unlimited": "False",
};
const SPARK_FAMILY = {
  "x-codex-bengalfox-primary-used-percent": "1",
  "x-codex-bengalfox-primary-window-minutes": "300",
};

/** Full, and nobody knows for how long. */
const FULL_SPARK = {
  "x-codex-bengalfox-primary-used-percent": "100",
  "x-codex-bengalfox-primary-window-minutes": "300",
};

/** One account in the real house, and a clock. */
interface Scene extends AsyncDisposable {
  house: House;
  clock: { now: number };
  account(): AccountRecord;
  /**
   * An answer comes in.
   *
   * @returns Whether it was found to say what the last one said.
   */
  hear(headers: Record<string, string>, more?: Partial<Attempt>): boolean;
}

async function open(): Promise<Scene> {
  const clock = { now: START };
  const tokens = { access: "access", expiresAt: START + 24 * HOUR };
  const accounts = { alice: { tokens } };
  const store = memoryStore({ version: 1, settings: {}, accounts });
  const house = openHouse({ store, credits: "none", now: () => clock.now });
  await house.live.reload();
  const runner = () => house.roster.get("alice")!;
  return {
    house,
    clock,
    account: () => runner().account,
    hear(headers, more) {
      const attempt: Attempt = {
        runner: runner(),
        pool: "first",
        model: "gpt-5.5",
        access: "access",
        beganAt: clock.now,
        balanceBefore: null,
        balanceAfter: null,
        ...more,
      };
      const said = scanHeaders(new Headers(headers));
      if (confirm(house, attempt, said)) return true;
      const { beganAt, model } = attempt;
      const facts = understandHeaders(said, beganAt, model);
      void learnFacts(house, attempt, facts);
      remember(attempt, said, facts);
      return false;
    },
    [Symbol.asyncDispose]: () => house.live.close(),
  };
}

/** An account whose last answers said the usual: after the first one the plan and the verdict are written. */
async function openHeard(
  usual: Record<string, string> = USUAL,
): Promise<Scene> {
  const scene = await open();
  scene.hear(usual, { beganAt: START - 1 });
  await scene.house.live.flush();
  scene.hear(usual);
  return scene;
}

Deno.test("confirm() moves the times of all that was said again", async () => {
  const both = { ...USUAL, ...SPARK_FAMILY };
  await using scene = await openHeard(both);
  scene.clock.now += MINUTE;
  assert(scene.hear(both));
  const { usage, credits } = scene.account();
  const { codex, codex_bengalfox: spark } = usage!.meters;
  const times = [usage, credits, codex, spark, ...codex!.windows].concat(
    spark!.windows,
  ).map((it) => it!.observedAt);
  assertEquals(times, Array(6).fill(START + MINUTE));
});

Deno.test("confirm() takes no notice of how long a reset is away whose time is known", async () => {
  await using scene = await openHeard();
  scene.clock.now += MINUTE;
  const later = { "x-codex-primary-reset-after-seconds": "17940" };
  assert(scene.hear({ ...USUAL, ...later }));
});

Deno.test("confirm() learns nothing from an answer that says anything else", async () => {
  for (
    const other of [
      { "x-codex-primary-used-percent": "13" },
      { "x-codex-primary-reset-at": String(RESET / 1000 + 60) },
      { "x-codex-secondary-used-percent": "1" },
      { "x-codex-plan-type": "pro" },
      { "x-codex-active-limit": "codex_bengalfox" },
      { "x-codex-credits-has-credits": "True" },
      { "x-codex-credits-balance": "5" },
      SPARK_FAMILY,
    ]
  ) {
    await using scene = await openHeard();
    assert(!scene.hear({ ...USUAL, ...other }), JSON.stringify(other));
    // nor from one that says less
    await scene.house.live.flush();
    scene.hear({ ...USUAL, ...other });
    assert(!scene.hear(USUAL), JSON.stringify(other));
  }
  const both = { ...USUAL, ...SPARK_FAMILY };
  await using scene = await openHeard(both);
  const more = { "x-codex-bengalfox-primary-used-percent": "2" };
  assert(!scene.hear({ ...both, ...more }));
  const third = { "x-third-primary-used-percent": "2" };
  scene.hear({ ...both, ...third });
  scene.clock.now += 1;
  scene.hear({ ...both, ...third });
  scene.clock.now += 1;
  assert(scene.hear({ ...both, ...third }));
  assert(!scene.hear(both));
});

Deno.test("confirm() learns nothing where the same words may mean something else", async () => {
  const moving = {
    ...USUAL,
    "x-codex-primary-reset-at": "",
  };
  const past = { ...USUAL, "x-codex-primary-reset-at": "1700000000" };
  const far = { ...USUAL, "x-codex-primary-reset-at": "1900000000" };
  const nothing = { "x-codex-plan-type": "plus" };
  // it is full for a quarter of an hour from when that is read
  const full = { ...USUAL, ...FULL_SPARK };
  for (const headers of [moving, past, far, nothing, full]) {
    await using scene = await openHeard(headers);
    scene.clock.now += 1;
    assert(!scene.hear(headers), JSON.stringify(headers));
  }
  const never = { ...USUAL, ...moving };
  delete (never as Record<string, string>)[
    "x-codex-primary-reset-after-seconds"
  ];
  await using scene = await openHeard(never);
  assert(scene.hear(never), "a window without a reset is the same at any time");
  const delay = { "x-codex-primary-reset-after-seconds": "600" };
  assert(!scene.hear({ ...never, ...delay }), "until it has one");
});

Deno.test("confirm() learns nothing once a window has reset", async () => {
  await using scene = await openHeard();
  scene.clock.now = RESET - 1;
  assert(scene.hear(USUAL));
  scene.clock.now = RESET;
  assert(!scene.hear(USUAL));
});

Deno.test("confirm() learns nothing where a window is known that was not told", async () => {
  await using scene = await open();
  const { account, clock } = scene;
  const week = {
    usedPercent: 90,
    windowSeconds: 604_800,
    resetsAt: START + HOUR,
    observedAt: START - 1,
  };
  const observedAt = START - 1;
  account().usage = { observedAt, meters: { codex: { windows: [week] } } };
  scene.hear(USUAL);
  clock.now = START + 2 * HOUR;
  assert(!scene.hear(USUAL));
  const { windows } = account().usage!.meters["codex"]!;
  assertEquals(windows.map((it) => it.windowSeconds), [18_000]);
  assert(scene.hear(USUAL));
});

Deno.test("confirm() leaves to others what may have been paid for", async () => {
  await using scene = await openHeard();
  assert(scene.hear(USUAL));
  assert(!scene.hear(USUAL, { pool: "unconfirmed" }));
  assert(!scene.hear(USUAL, { pool: "credits" }));
});

Deno.test("confirm() learns nothing when the usual is said of another meter", async () => {
  await using scene = await openHeard();
  assert(scene.hear(USUAL, { model: "gpt-5.4" }));
  assert(!scene.hear(USUAL, { model: SPARK }));
});

Deno.test("confirm() learns nothing when anything else was learned since", async () => {
  const changes: ((scene: Scene) => void)[] = [
    ({ account }) => {
      const observedAt = START;
      const answer = { observedAt, meters: { codex: { windows: [] } } };
      account().usage = mergeUsage(account().usage, answer, START);
    },
    ({ account }) => account().credits = { ...account().credits! },
    ({ account }) => account().plan = "pro",
    ({ account }) => account().enabled = false,
    ({ clock }) => clock.now -= MINUTE,
  ];
  for (const change of changes) {
    await using scene = await openHeard();
    const beganAt = scene.clock.now;
    assert(scene.hear(USUAL, { beganAt }));
    change(scene);
    scene.house.roster.invalidate();
    assert(!scene.hear(USUAL, { beganAt }), String(change));
  }
});

Deno.test("confirm() lets an account that was not asked for long be known again", async () => {
  await using scene = await openHeard();
  const { house, clock } = scene;
  const runner = house.roster.get("alice")!;
  // it has credits now, so that old facts are not enough
  runner.account.credits!.hasCredits = true;
  const rich = { ...USUAL, "x-codex-credits-has-credits": "True" };
  scene.hear(rich);
  clock.now += 20 * MINUTE;
  assertEquals(runner.assess("gpt-5.5", clock.now).standing.kind, "unknown");
  scene.hear(rich, { beganAt: clock.now - 10 * MINUTE });
  assertEquals(runner.assess("gpt-5.5", clock.now).standing.kind, "included");
});

Deno.test("confirm() does not set times back for an answer that was long on its way", async () => {
  await using scene = await openHeard();
  scene.clock.now += 2 * MINUTE;
  assert(scene.hear(USUAL));
  assert(scene.hear(USUAL, { beganAt: START + MINUTE }));
  assertEquals(scene.account().usage!.observedAt, START + 2 * MINUTE);
});

Deno.test("confirm() has the new times written", async () => {
  await using scene = await openHeard();
  const { house, clock } = scene;
  const runner = house.roster.get("alice")!;
  const { account, said } = runner;
  await house.live.flush();
  // as if nothing had been pending, and so nothing written and read again
  house.live.state.accounts["alice"] = account;
  Object.assign(runner, { account, said });
  clock.now += MINUTE;
  assert(scene.hear(USUAL));
  await house.live.flush();
  const { accounts } = await house.store.read();
  assertEquals(accounts["alice"]!.usage!.observedAt, START + MINUTE);
});

Deno.test("remember() forgets an answer that is older than the usage known", async () => {
  const strange = { ...USUAL, "x-constructor-primary-used-percent": "1" };
  await using scene = await open();
  const { account, clock } = scene;
  const observedAt = START;
  account().usage = { observedAt, meters: { codex: { windows: [] } } };
  account().plan = "pro";
  assert(!scene.hear(strange, { beganAt: START - 1 }));
  assertEquals(account().plan, "pro");
  clock.now += MINUTE;
  assert(!scene.hear(strange));
  assertEquals(account().plan, "plus");
  await scene.house.live.flush();
  clock.now += 1;
  scene.hear(strange);
  assert(scene.hear(strange), "once it is the newest, it is remembered");
});

Deno.test("remember() forgets an answer that is older than the credits known", async () => {
  await using scene = await openHeard();
  const { account, clock } = scene;
  const credits = {
    ...account().credits!,
    observedAt: START + 10,
    balance: "9",
  };
  account().credits = credits;
  clock.now += 20;
  scene.hear(USUAL, { beganAt: START + 5 });
  assertEquals(account().credits, credits);
  const spent = { ...USUAL, "x-codex-credits-balance": "0" };
  scene.hear(spent, { beganAt: START + 6 });
  clock.now += MINUTE;
  assert(!scene.hear(spent));
  assertEquals(account().credits!.balance, "0");
  assert(scene.hear(spent), "once it is the newest, it is remembered");
});
