import { assert, assertEquals, assertRejects } from "@std/assert";
import { withBusyRetry } from "../../lib/store/file.ts";
import { test } from "../test.ts";

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

test("withBusyRetry() repeats what is busy until it works", async () => {
  for (const code of ["EPERM", "EACCES", "EBUSY"]) {
    let calls = 0;
    const result = await withBusyRetry(() => {
      calls++;
      if (calls < 5) return Promise.reject(systemError(code));
      return Promise.resolve("done");
    });
    assertEquals([result, calls], ["done", 5]);
  }
});

test("withBusyRetry() gives up in the end, with the last error", async () => {
  let calls = 0;
  const operation = () => {
    calls++;
    return Promise.reject(systemError("EBUSY"));
  };
  await assertRejects(() => withBusyRetry(operation), Error, "EBUSY");
  assert(calls > 5);
});

test("withBusyRetry() does not repeat other failures", async () => {
  let calls = 0;
  const operation = () => {
    calls++;
    return Promise.reject(systemError("ENOENT"));
  };
  await assertRejects(() => withBusyRetry(operation), Error, "ENOENT");
  assertEquals(calls, 1);
});
