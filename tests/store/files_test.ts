import { assertEquals, assertRejects } from "@std/assert";
import { withBusyRetry } from "../../lib/store/file.ts";

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** Time that passes only by sleeping. */
function fakeTime() {
  const time = {
    passed: 0,
    now: () => time.passed,
    sleep: (ms: number) => {
      time.passed += ms;
      return Promise.resolve();
    },
  };
  return time;
}

Deno.test("withBusyRetry() repeats what is busy until it works", async () => {
  for (const code of ["EPERM", "EACCES", "EBUSY"]) {
    const time = fakeTime();
    let calls = 0;
    const result = await withBusyRetry(() => {
      calls++;
      if (calls < 5) return Promise.reject(systemError(code));
      return Promise.resolve("done");
    }, time);
    assertEquals([result, calls], ["done", 5]);
  }
});

Deno.test("withBusyRetry() gives up after 2 s with the last error", async () => {
  const time = fakeTime();
  let calls = 0;
  const error = await assertRejects(
    () =>
      withBusyRetry(() => {
        calls++;
        return Promise.reject(systemError("EBUSY"));
      }, time),
    Error,
  );
  assertEquals(error.message, "EBUSY");
  assertEquals(time.passed >= 2_000 && time.passed <= 2_200, true);
  assertEquals(calls > 5, true);
});

Deno.test("withBusyRetry() does not repeat other failures", async () => {
  let calls = 0;
  await assertRejects(() =>
    withBusyRetry(() => {
      calls++;
      return Promise.reject(systemError("ENOENT"));
    }), Error);
  assertEquals(calls, 1);
});
