import { assertEquals } from "@std/assert";
import { HOUR, MINUTE, START, startKnown } from "../fleet.ts";
import { test } from "../test.ts";

test("rotator.status() tells how long a window lasts at the pace of the last hours", async () => {
  await using fleet = await startKnown({
    accounts: {
      alice: {
        windows: [{
          seconds: 18_000,
          usedPercent: 10,
          resetAt: START + 5 * HOUR,
        }],
        costPercent: 5,
      },
    },
  });
  const lasts = async () => {
    const { accounts, lastsUntil } = await fleet.rotator.status();
    const [window] = accounts[0]!.windows;
    return [window!.usedPercent, window!.lastsUntil, lastsUntil];
  };
  assertEquals(await lasts(), [10, null, null]);
  for (let n = 0; n < 6; n++) {
    fleet.clock.now += 10 * MINUTE;
    await fleet.ask();
  }
  // 30 % in an hour, 60 % are left
  const end = new Date(START + 3 * HOUR).toISOString();
  assertEquals(await lasts(), [40, end, end]);
});

test("rotator.status() tells no end where a window resets before it is full", async () => {
  await using fleet = await startKnown({
    accounts: {
      alice: {
        windows: [{
          seconds: 18_000,
          usedPercent: 10,
          resetAt: START + 2 * HOUR,
        }],
        costPercent: 5,
      },
    },
  });
  for (let n = 0; n < 6; n++) {
    fleet.clock.now += 10 * MINUTE;
    await fleet.ask();
  }
  const { accounts, lastsUntil } = await fleet.rotator.status();
  assertEquals([accounts[0]!.windows[0]!.lastsUntil, lastsUntil], [null, null]);
});
