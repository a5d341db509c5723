/**
 * What the tests run in processes of their own, under any runtime.
 * Prints one line per event.
 */
import { writeSync } from "node:fs";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import type { PoolState } from "../../lib/types.ts";
import { openStore } from "./open.ts";

/** `where` is a file or the URL of a database; `tally` what only a lock protects. */
const [command, where = "", name = "", amount = "0", limit = "", tally = ""] =
  process.argv.slice(2);
const count = Number(amount);
const store = await openStore(where, { waitLimit: Number(limit) || 30_000 });

function say(line: string): void {
  writeSync(1, line + "\n");
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function increment(state: PoolState): number {
  const account = state.accounts[name] ??= {};
  account.requests = (account.requests ?? 0) + 1;
  // Part of what the backup mirrors, so that it is under test as well.
  account.email = `${account.requests}@example.com`;
  return account.requests;
}

/** Counts in the store, and tells each number once it is written. */
async function countUp(): Promise<void> {
  for (let done = 0; done < count; done++) {
    let reached = 0;
    await store.update((state) => {
      reached = increment(state);
    });
    say(String(reached));
  }
}

/** As `countUp`, and goes on when the store is out of reach. */
async function countOn(): Promise<void> {
  for (let done = 0; done < count; done++) {
    let reached = 0;
    for (let isDone = false; !isDone;) {
      try {
        await store.update((state) => {
          reached = increment(state);
        });
        isDone = true;
      } catch (error) {
        if ((error as { code?: string }).code !== "store_unwritable") {
          throw error;
        }
        await sleep(20);
      }
    }
    say(String(reached));
  }
}

/** Waits inside of an exclusive job for a line, and writes then. */
async function writeLate(): Promise<void> {
  await store.exclusive(name, async () => {
    say("held");
    await new Promise((resolve) => process.stdin.once("data", resolve));
    const written = store.update((state) => void increment(state));
    await written.then(() => say("written"), (error) => say(error.code));
  });
  await store.update((state) => void increment(state));
  say("done");
  process.exit();
}

/** Holds a name for a while. */
async function hold(): Promise<void> {
  await store.exclusive(name, async () => {
    say("held");
    await sleep(count);
    say("released");
  });
}

/** Counts in a file that only the lock protects. */
async function countAlone(): Promise<void> {
  for (let done = 0; done < count; done++) {
    await store.exclusive(name, async () => {
      await appendFile(`${tally}.log`, `start ${process.pid}\n`);
      const before = Number(await readFile(tally, "utf8").catch(() => "0"));
      await sleep(3);
      await writeFile(tally, String(before + 1));
      await appendFile(`${tally}.log`, `end ${process.pid}\n`);
    });
  }
  say("done");
}

/** Is suspended in the middle of its update, until someone wakes it. */
async function stopInside(): Promise<void> {
  let runs = 0;
  await store.update((state) => {
    runs++;
    increment(state);
    if (runs > 1) return;
    say("inside");
    process.kill(process.pid, "SIGSTOP");
  });
  say(`runs ${runs}`);
}

/** Dies in the middle of its update. */
async function dieInside(): Promise<void> {
  await store.update(() => process.kill(process.pid, "SIGKILL"));
}

/** Reads, changes and locks: all that a store does. */
async function everything(): Promise<void> {
  const before = await store.read();
  await store.update(increment);
  const alone = await store.exclusive(name, () => Promise.resolve("alone"));
  const after = await store.read();
  say(JSON.stringify({ before, alone, after }));
}

/** Saves new tokens, as a renewal does. */
async function renew(): Promise<void> {
  await store.exclusive(name, async () => {
    await store.update((state) => {
      state.accounts[name]!.tokens = {
        access: "new-access",
        refresh: "new-refresh",
        expiresAt: count,
      };
    });
  });
  say("renewed");
}

const commands: Record<string, () => Promise<void>> = {
  countUp,
  countOn,
  writeLate,
  hold,
  countAlone,
  stopInside,
  dieInside,
  everything,
  renew,
};
await commands[command ?? ""]?.();
