import { assert, assertEquals } from "@std/assert";
import { setCooldown } from "../../lib/pool/cooldowns.ts";
import { mergeRecord, recordOfLogin } from "../../lib/pool/facts.ts";
import { normalRecord } from "../../lib/store/normal_form.ts";
import { StateCache } from "../../lib/store/state_cache.ts";
import { memoryStore } from "../../lib/store/memory_store.ts";
import type { NormalState } from "../../lib/normal_types.ts";
import type { Store } from "../../lib/types.ts";
import { test } from "../test.ts";

const NOW = 1_800_000_000_000;
const SEED = { accounts: { alice: { tokens: { access: "x" } } } };

interface Gate {
  store: Store;
  /** While set, updates wait for it. */
  closed: PromiseWithResolvers<void> | undefined;
  /** While set, what an update did is told only then. */
  late: PromiseWithResolvers<void> | undefined;
  /** While set, what was read is told only then. */
  lateRead: PromiseWithResolvers<void> | undefined;
  /** What updates fail with, while set. */
  failure: Error | undefined;
  reads: number;
  updates: number;
}

/** A store whose writing can be held up. */
function gated(inner: Store): Gate {
  const gate: Gate = {
    closed: undefined,
    late: undefined,
    lateRead: undefined,
    failure: undefined,
    reads: 0,
    updates: 0,
    store: {
      async read() {
        gate.reads++;
        const state = await inner.read();
        await gate.lateRead?.promise;
        return state;
      },
      async update(change) {
        gate.updates++;
        await gate.closed?.promise;
        if (gate.failure) throw gate.failure;
        const state = await inner.update(change);
        await gate.late?.promise;
        return state;
      },
      exclusive: (name, job) => inner.exclusive(name, job),
    },
  };
  return gate;
}

function open(store: Store, errors: unknown[] = []): StateCache {
  return new StateCache(store, {
    now: () => NOW,
    find: recordOfLogin,
    merge: mergeRecord,
    onChange() {},
    onLoad() {},
    onWriteError: (error) => errors.push(error),
    onOutOfReach: (error) => errors.push(error),
  });
}

function limit(state: NormalState): void {
  setCooldown(state.accounts["alice"]!, "throttle", {
    until: NOW + 60_000,
    setAt: NOW,
  });
}

function useOnce(live: StateCache): void {
  const alice = live.state.accounts["alice"]!;
  const window = { usedPercent: 100, windowSeconds: 18_000 };
  alice.usage = normalRecord({
    usage: {
      observedAt: NOW,
      answeredAt: null,
      meters: {
        codex: { windows: [{ ...window, resetsAt: NOW + 1_000_000 }] },
      },
    },
  }).usage!;
  alice.requests++;
  alice.lastUsedAt = NOW;
  live.markDirty("alice", 1);
}

test("StateCache keeps what it is writing when another process commits meanwhile", async () => {
  const inner = memoryStore(SEED);
  const gate = gated(inner);
  const live = open(gate.store);
  await live.reload();
  gate.closed = Promise.withResolvers();
  useOnce(live);
  const written = live.save(limit);
  await inner.update((state) => {
    state.settings.strategy = "drain";
  });
  await live.reload();
  const during = live.state.accounts["alice"]!;
  assertEquals(live.state.settings.strategy, "drain");
  assert(during.cooldowns?.["throttle"], "the cooldown counts");
  assertEquals(during.usage?.meters["codex"]?.windows[0]?.usedPercent, 100);
  gate.closed.resolve();
  await written;
  const stored = (await inner.read()).accounts["alice"]!;
  assertEquals(stored.requests, 1);
  assertEquals(stored.lastUsedAt, NOW);
  assertEquals(stored.usage?.meters["codex"]?.windows[0]?.usedPercent, 100);
  assert(stored.cooldowns?.["throttle"]);
  await live.close();
});

test("StateCache keeps what could not be written and writes it later", async () => {
  const inner = memoryStore(SEED);
  const gate = gated(inner);
  const errors: unknown[] = [];
  const live = open(gate.store, errors);
  await live.reload();
  gate.failure = new Error("The disk is full");
  useOnce(live);
  await live.save(limit);
  assertEquals(errors, [gate.failure]);
  assertEquals(live.isBehind, true);
  gate.failure = undefined;
  await live.flush();
  assertEquals(live.isBehind, false);
  const stored = (await inner.read()).accounts["alice"]!;
  assertEquals([stored.requests, stored.cooldowns?.["throttle"]?.until], [
    1,
    NOW + 60_000,
  ]);
  await live.close();
});

test("StateCache gives a store that could not tell the same change again, by which it is known", async () => {
  const inner = memoryStore(SEED);
  const made = new Set<unknown>();
  let isAway = true;
  // as one behind a network: what it did is not told
  const store: Store = {
    ...inner,
    read: () => inner.read(),
    async update(change) {
      const state = await inner.update((it) => {
        if (!made.has(change)) change(it);
      });
      made.add(change);
      if (isAway) throw new Error("no answer");
      return state;
    },
  };
  const errors: unknown[] = [];
  const live = open(store, errors);
  await live.reload();
  useOnce(live);
  await live.save(limit);
  assertEquals([errors.length, live.isBehind], [1, true]);
  useOnce(live);
  await live.flush();
  await live.save((state) => state.settings.strategy = "drain");
  isAway = false;
  useOnce(live);
  await live.flush();
  assertEquals([errors.length, live.isBehind], [3, false]);
  const { accounts, settings } = await inner.read();
  assertEquals([accounts["alice"]!.requests, settings.strategy], [3, "drain"]);
  assertEquals(live.state.accounts["alice"]!.requests, 3);
  await live.close();
});

test("StateCache does not bring back an account that another process removed", async () => {
  const inner = memoryStore(SEED);
  const live = open(inner);
  await live.reload();
  useOnce(live);
  await inner.update((state) => {
    delete state.accounts["alice"];
  });
  await live.flush();
  assertEquals(Object.keys((await inner.read()).accounts), []);
  assertEquals(Object.keys(live.state.accounts), []);
  await live.close();
});

test("StateCache reads at most once per second and writes counters behind", async () => {
  const gate = gated(memoryStore(SEED));
  const live = open(gate.store);
  await live.sync();
  for (let n = 0; n < 1000; n++) {
    await live.sync();
    useOnce(live);
  }
  assert(gate.reads <= 3, `${gate.reads} reads`);
  assertEquals(gate.updates, 0);
  await live.close();
  assertEquals(gate.updates, 1);
  assertEquals(live.state.accounts["alice"]?.requests, 1000);
});

/** A write of this process is done but not told yet when another one's token comes. */
async function withLateWrite(
  job: (live: StateCache, gate: Gate, written: Promise<void>) => Promise<void>,
): Promise<void> {
  const inner = memoryStore(SEED);
  const gate = gated(inner);
  const live = open(gate.store);
  await live.reload();
  gate.late = Promise.withResolvers();
  const written = live.save(limit);
  await new Promise((resolve) => setTimeout(resolve, 0));
  await inner.update((state) => {
    state.accounts["alice"]!.tokens = { access: "renewed-elsewhere" };
  });
  await job(live, gate, written);
  await live.close();
}

const accessOf = (live: StateCache) =>
  live.state.accounts["alice"]?.tokens?.access;

test("StateCache sees what another process wrote when its own write ends while it reads", async () => {
  await withLateWrite(async (live, gate, written) => {
    gate.lateRead = Promise.withResolvers();
    const reloaded = live.reload();
    gate.late!.resolve();
    await written;
    gate.lateRead.resolve();
    await reloaded;
    assertEquals(accessOf(live), "renewed-elsewhere");
  });
});

test("StateCache keeps what it read when its own older write ends after that", async () => {
  await withLateWrite(async (live, gate, written) => {
    await live.reload();
    assertEquals(accessOf(live), "renewed-elsewhere");
    gate.late!.resolve();
    await written;
    assertEquals(accessOf(live), "renewed-elsewhere");
  });
});
