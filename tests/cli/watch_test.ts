import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import { recordOf } from "../fleet.ts";
import { test } from "../test.ts";
import type { AccountRecord, PoolState } from "../../lib/types.ts";
import { account, type Bench, bench, run } from "./run.ts";

/** Runs `status --watch`, interrupted once it has written `times` snapshots. */
async function watched(path: string, times: number, ...args: string[]) {
  const interrupt = new AbortController();
  const parts: string[] = [];
  const ran = await run(
    ["status", "--watch=0.1", "--store", path, ...args],
    {},
    {
      out: (text) => {
        parts.push(text);
        if (parts.length === times) interrupt.abort();
      },
      signal: interrupt.signal,
    },
  );
  return { ...ran, parts };
}

test("status --watch prints snapshots into a pipe until it is interrupted", async () => {
  await using it = await bench({ alice: account("alice") });
  const { code, parts, err } = await watched(it.path, 3);
  assertEquals([code, err, parts.length], [130, "", 3]);
  for (const text of parts) {
    assertEquals(text.match(/^\d{4}-\d\d-\d\d [\d:]+\n.*\n→ alice/)?.length, 1);
    assertEquals(text.includes("\u001b"), false);
  }
});

test("status --watch --json prints a report per line", async () => {
  await using it = await bench({ alice: account("alice") });
  const { code, parts } = await watched(it.path, 2, "--json");
  assertEquals(code, 130);
  const lines = parts.join("").trimEnd().split("\n");
  assertEquals(lines.map((line) => JSON.parse(line).next), ["alice", "alice"]);
});

test("status --watch refuses what is no interval, and --check", async () => {
  await using it = await bench({ alice: account("alice") });
  for (const seconds of ["0", "-1", "soon", "1e9", "NaN"]) {
    const { code, err } = await it.run("status", `--watch=${seconds}`);
    assertEquals(code, 2, seconds);
    assertStringIncludes(err, "for example: --watch=5");
  }
  const both = await it.run("status", "--watch", "--check");
  assertEquals(both.code, 2);
  assertStringIncludes(both.err, "give one of them");
  // a value goes behind "="
  assertEquals((await it.run("status", "--watch", "5")).code, 2);
});

test("status --watch ends at once when there is nothing to watch", async () => {
  await using it = await bench();
  await writeFile(it.path, "{");
  const { code, out, err } = await it.run("status", "--watch");
  assertEquals([code, out], [1, ""]);
  assertStringIncludes(err, it.path);
});

test("status --watch says on stderr what goes wrong in between, and goes on", async () => {
  for (const args of [["--json"], []]) {
    await using it = await bench({ alice: account("alice") });
    const whole = await readFile(it.path, "utf8");
    const interrupt = new AbortController();
    const parts: string[] = [];
    let errors = "";
    const { code } = await run(
      ["status", "--watch=0.1", "--store", it.path, ...args],
      {},
      {
        out(text) {
          parts.push(text);
          if (parts.length === 2) interrupt.abort();
          else writeFileSync(it.path, "{");
        },
        err(text) {
          errors += text;
          writeFileSync(it.path, whole);
        },
        signal: interrupt.signal,
      },
    );
    assertEquals([code, parts.length], [130, 2]);
    assertStringIncludes(errors, it.path);
    if (args.length > 0) { for (const line of parts) JSON.parse(line); }
    assertEquals(parts.join("").includes("Error"), false);
  }
});

test("status --watch --json prints reports one after the other on a terminal, too", async () => {
  await using it = await bench({ alice: account("alice") });
  const interrupt = new AbortController();
  const { out } = await run(
    ["status", "--watch=0.1", "--json", "--store", it.path],
    {},
    {
      outIsTerminal: true,
      get signal() {
        setTimeout(() => interrupt.abort(), 50);
        return interrupt.signal;
      },
    },
  );
  assertEquals(JSON.parse(out).next, "alice");
});

/** A month may end while a test runs. */
const NOW = Date.now();

/** An account with a window of five hours, observed just now. */
function using(name: string, usedPercent: number, changes: AccountRecord = {}) {
  const observedAt = NOW;
  const resetsAt = observedAt + 8_040_000;
  const windows = [{ usedPercent, windowSeconds: 18_000, resetsAt }];
  const usage = { observedAt, meters: { codex: { windows } } };
  const credits = {
    observedAt,
    hasCredits: true,
    unlimited: false,
    balance: "10",
  };
  return account(name, { usage, credits, ...changes });
}

/** Watches a store while it is changed, and returns the events that a command was told, once there are so many. */
async function told(
  it: Bench,
  states: PoolState["accounts"][],
  count: number,
  args: string[] = [],
): Promise<Record<string, unknown>[]> {
  const file = `${it.folder}/two words`;
  const interrupt = new AbortController();
  let shown = 0;
  const read = async () => {
    const text = await readFile(file, "utf8").catch(() => "");
    return text.trim().split("\n").filter(Boolean).map((it) => JSON.parse(it));
  };
  const watching = run(
    [
      ...["status", "--watch=0.1", "--store", it.path, ...args],
      ...["--on-event", `sh -c 'cat >> "$0"' "${file}"`],
    ],
    {},
    {
      out() {
        const accounts = states[shown++];
        if (accounts === undefined) return;
        const { settings } = it.state();
        const state = { version: 1, settings, accounts };
        writeFileSync(it.path, JSON.stringify(state));
      },
      now: () => NOW,
      signal: interrupt.signal,
    },
  );
  let events = await read();
  while (events.length < count || shown < states.length + 3) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    events = await read();
  }
  interrupt.abort();
  assertEquals((await watching).code, 130);
  return events;
}

test({
  name:
    "status --watch runs a command for what changes in the store, and for nothing else",
  ignore: process.platform === "win32",
  async fn() {
    const auth = { invalidAt: 1, reason: "It was revoked" };
    const credits = {
      observedAt: NOW,
      hasCredits: false,
      unlimited: false,
      balance: "0",
    };
    const spent = { [new Date(NOW).toISOString().slice(0, 10)]: "2.5" };
    const open = using("bob", 42);
    const full = using("bob", 100);
    const out = using("carol", 42, { auth });
    await using it = await bench({
      alice: using("alice", 42),
      bob: open,
      carol: using("carol", 42),
    });
    const events = await told(it, [
      // that another one's turn has come is no event
      {
        alice: using("alice", 43, { lastUsedAt: 1 }),
        bob: open,
        carol: using("carol", 42),
      },
      { alice: using("alice", 100), bob: full, carol: using("carol", 42) },
      { alice: using("alice", 100), bob: full, carol: out },
      { alice: using("alice", 100, { spent }), bob: full, carol: out },
      {
        alice: using("alice", 100, { spent, credits }),
        bob: using("bob", 100, { credits }),
        carol: out,
      },
    ], 7);
    const shown = events.map(({ type, alias, from }) =>
      [type, alias, from].filter(Boolean).join(" ")
    );
    assertEquals(shown, [
      "exhausted alice",
      "exhausted bob",
      "switched carol bob",
      "login-required carol",
      "switched alice carol",
      "credits-spent alice",
      "exhausted",
    ]);
    assertEquals(events[3]!.reason, "It was revoked");
    const { reason: _, ...charge } = events[5]!;
    assertEquals(charge, {
      type: "credits-spent",
      alias: "alice",
      certain: true,
      balanceBefore: "10",
      balanceAfter: "10",
    });
    assertEquals(typeof events[6]!.until, "number");
    assert(!JSON.stringify(events).includes("canary"));
  },
});

test({
  name:
    "status --watch --refresh runs the command for what its own checks tell, where it is named",
  ignore: process.platform === "win32",
  async fn() {
    await using fake = await startFakeCodex({ accounts: { me: {} } });
    for (const types of [[], ["--on-event-types", "usage-refreshed"]]) {
      await using it = await bench({ me: recordOf(fake, "me") });
      const events = await told(it, [], types.length / 2, [
        ...["--refresh", "--backend", fake.backend, "--issuer", fake.issuer],
        ...types,
      ]);
      assertEquals(
        events.map(({ type, alias }) => [type, alias]),
        types.length === 0 ? [] : [["usage-refreshed", "me"]],
      );
      assert(!JSON.stringify(events).includes(fake.canary));
    }
  },
});

test("status --on-event without --watch, or with types that are none, is an error of usage", async () => {
  await using it = await bench({ alice: account("alice") });
  const option = ["--on-event", "true"];
  const alone = await it.run("status", ...option);
  assertEquals([alone.code, alone.out], [2, ""]);
  assertStringIncludes(alone.err, "give --watch too");
  const types = ["--on-event-types", "selected,odd"];
  assertEquals(
    (await it.run("status", "--watch", ...option, ...types)).code,
    2,
  );
  const { code } = await watched(it.path, 1, ...option);
  assertEquals(code, 130);
});
