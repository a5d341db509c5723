import { assertEquals, assertStringIncludes } from "@std/assert";
import { writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "../test.ts";
import { account, bench, run } from "./run.ts";

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
