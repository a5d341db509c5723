import { assert, assertEquals } from "@std/assert";
import {
  type Fleet,
  fullWindows,
  HOUR,
  MINUTE,
  START,
  startFleet,
  TEN_CREDITS,
} from "../fleet.ts";
import { test } from "../test.ts";
import type { Store } from "../../mod.ts";

const HELLO = { role: "user", content: "Hello" };
const REPLY = { role: "assistant", content: "Hi" };

function message(content: string) {
  return { role: "user", content };
}

/** Asks with headers of one's own. */
function askWith(fleet: Fleet, name: string, value: string) {
  const headers = { "content-type": "application/json", [name]: value };
  return fleet.ask({}, { headers });
}

function switches(fleet: Fleet): string[] {
  return fleet.events.filter((event) => event.type === "switched")
    .map((event) => `${event.from}>${event.alias}`);
}

test("a session stays on its account by any of its names, while others take turns", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {}, carol: {} },
  });
  await fleet.rotator.refresh();
  const names = ["session-id", "session_id", "conversation_id", "thread-id"];
  const asks: ((id: string) => ReturnType<Fleet["ask"]>)[] = [
    (id) => fleet.ask({ prompt_cache_key: id }),
    ...names.map((name) => (id: string) => askWith(fleet, name, id)),
    (id) => fleet.ask({ input: [message(id), REPLY, HELLO] }),
    (id) => fleet.ask({ instructions: id, input: [HELLO, REPLY, HELLO] }),
  ];
  for (const ask of asks) {
    const homes = [await ask("one"), await ask("two"), await ask("three")]
      .map(({ alias }) => alias);
    assertEquals(new Set(homes).size, 3, "a new session is nobody's yet");
    for (let turn = 0; turn < 3; turn++) {
      assertEquals((await ask("three")).alias, homes[2]);
      assertEquals((await ask("one")).alias, homes[0]);
    }
  }
  assertEquals(switches(fleet), []);
});

test("a session goes by its cache key before its headers, and by those before its beginning", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  await fleet.rotator.refresh();
  const input = [message("Start"), REPLY, HELLO];
  const headers = { "content-type": "application/json", "session-id": "s" };
  const keyed = await fleet.ask({ prompt_cache_key: "k" });
  const headed = await askWith(fleet, "session-id", "s");
  assert(keyed.alias !== headed.alias);
  for (let turn = 0; turn < 3; turn++) {
    const both = await fleet.ask({ prompt_cache_key: "k", input }, { headers });
    assertEquals(both.alias, keyed.alias);
    const { alias } = await fleet.ask({ input }, { headers });
    assertEquals(alias, headed.alias);
  }
});

test("a conversation that only begins is no session, and affinity: false knows none", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  for (let n = 0; n < 4; n++) await fleet.ask();
  assertEquals(fleet.served(), ["alice", "bob", "alice", "bob"]);
  await using off = await startFleet({
    affinity: false,
    accounts: { alice: {}, bob: {} },
  });
  for (let n = 0; n < 4; n++) await off.ask({ prompt_cache_key: "k" });
  assertEquals(off.served(), ["alice", "bob", "alice", "bob"]);
  assertEquals(switches(off), []);
});

test("a session is remembered for 60 idle minutes, and each turn begins them anew", async () => {
  await using fleet = await startFleet({ accounts: { alice: {}, bob: {} } });
  const ask = async () => (await fleet.ask({ prompt_cache_key: "k" })).alias;
  assertEquals(await ask(), "alice");
  for (let turn = 0; turn < 3; turn++) {
    fleet.clock.now += 59 * MINUTE;
    assertEquals(await ask(), "alice");
  }
  fleet.clock.now += 61 * MINUTE;
  assertEquals(await ask(), "bob");
});

test("a session of 100 turns near a threshold switches at most once and never costs", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: { costPercent: 0.5, credits: { ...TEN_CREDITS }, windows: near() },
      bob: { costPercent: 0.5, credits: { ...TEN_CREDITS } },
      carol: { costPercent: 0.5, credits: { ...TEN_CREDITS } },
    },
  });
  const aliases: (string | undefined)[] = [];
  for (let turn = 0; turn < 100; turn++) {
    aliases.push((await fleet.ask({ prompt_cache_key: "k" })).alias);
    fleet.clock.now += 10_000;
  }
  const stayed = aliases.filter((alias) => alias === "alice").length;
  assertEquals(stayed, 40, "it stays for as long as it is free");
  assertEquals(new Set(aliases.slice(40)).size, 1);
  assertEquals(switches(fleet), ["alice>bob"]);
  assertEquals(fleet.fake.charged, []);
});

/** Four in five used: 40 requests are left. */
function near() {
  return [{ seconds: 18_000, usedPercent: 80, resetAt: START + 4 * HOUR }];
}

test("a session leaves before it costs, and returns to where it was served last only", async () => {
  await using fleet = await startFleet({
    accounts: {
      alice: { costPercent: 50, credits: { ...TEN_CREDITS } },
      bob: { costPercent: 10, credits: { ...TEN_CREDITS } },
    },
  });
  for (let turn = 0; turn < 12; turn++) {
    await fleet.ask({ prompt_cache_key: "k" });
  }
  assertEquals(
    fleet.served().join(" "),
    `alice alice${" bob".repeat(10)}`,
  );
  assertEquals(switches(fleet), ["alice>bob"]);
  const { alias } = await fleet.ask({ prompt_cache_key: "k" });
  assertEquals(alias, "bob", "nobody has included usage left: it stays");
  assertEquals(fleet.fake.charged.length, 1);
  fleet.fake.account("alice").windows = [{ seconds: 18_000, usedPercent: 0 }];
  fleet.clock.now += 2 * MINUTE;
  await fleet.ask({ prompt_cache_key: "k" });
  assertEquals(fleet.served().at(-1), "alice", "an early reset counts at once");
});

test("a session outlives a hiccup of its account by moving once", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: {}, carol: {} },
  });
  await fleet.ask({ prompt_cache_key: "k" });
  fleet.fake.account("alice").queue.push({
    status: 429,
    headers: { "retry-after": "5" },
    body: {},
  });
  for (let turn = 0; turn < 20; turn++) {
    await fleet.ask({ prompt_cache_key: "k" });
    fleet.clock.now += 1000;
  }
  assertEquals(switches(fleet), ["alice>bob"]);
  assertEquals(fleet.served().slice(1), Array(20).fill("bob"));
});

test("a session takes nobody's turn by weight", async () => {
  await using fleet = await startFleet({
    strategy: "weighted",
    random: () => 0.5,
    accounts: { alice: {}, bob: {} },
    records: { alice: { weight: 3 }, bob: { weight: 1 } },
  });
  await fleet.rotator.refresh();
  assertEquals((await fleet.ask({ prompt_cache_key: "k" })).alias, "alice");
  const others: (string | undefined)[] = [];
  for (let n = 0; n < 40; n++) {
    assertEquals((await fleet.ask({ prompt_cache_key: "k" })).alias, "alice");
    if (n < 8) others.push((await fleet.ask()).alias);
  }
  assertEquals(others.filter((alias) => alias === "bob").length, 2);
});

test("a session keeps its account when a preferred plan joins, and leaves one that is taken away", async () => {
  await using fleet = await startFleet({
    accounts: { alice: {}, bob: { windows: fullWindows(START), plan: "pro" } },
  });
  const ask = async () => (await fleet.ask({ prompt_cache_key: "k" })).alias;
  assertEquals(await ask(), "alice");
  fleet.fake.account("bob").windows = [{ seconds: 18_000, usedPercent: 0 }];
  fleet.clock.now += 2 * MINUTE;
  await fleet.rotator.refresh();
  assertEquals(await ask(), "alice");
  assertEquals((await fleet.ask()).alias, "bob");
  const store = fleet.store as Store;
  await store.update((state) => {
    delete state.accounts["alice"];
  });
  fleet.clock.now += 1000;
  assertEquals(await ask(), "bob");
});
