import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "../test.ts";
import { run } from "./run.ts";

/** The rows of the requests: number, account, what pays, the rest. */
function rowsOf(out: string): string[][] {
  return out.split("\n").filter((line) => /^ +\d+ {2}\S/.test(line))
    .map((line) => line.trim().split(/ {2,}/));
}

test("demo shows included usage first, then credits where they are allowed, then a refusal", async () => {
  const { code, out, err } = await run(["demo"]);
  assertEquals([code, err], [0, ""]);
  const rows = rowsOf(out);
  assertEquals(rows.map(([n]) => Number(n)), rows.map((_, i) => i + 1));
  assertEquals(rows.map(([, , pays]) => pays), [
    ...Array(11).fill("included"),
    ...Array(3).fill("credits"),
    "refused",
  ]);
  for (const [, alias, pays] of rows) {
    if (pays === "credits") assertEquals(alias, "cleo");
    // it has credits, and must not spend them
    assert(alias !== "dan");
  }
  // every token of the stand-in holds this word
  assert(!out.includes("canary"));
});

test("demo shows the cast first, and why an account serves", async () => {
  const { out } = await run(["demo"]);
  assert(out.indexOf("must not be spent") < out.indexOf("longest unused of 4"));
  const why = new Map(rowsOf(out).map((row) => [row[0], row.at(-1)]));
  assertEquals(why.get("1"), "longest unused of 4");
  assertStringIncludes(why.get("5")!, "ada's stream broke off");
  assertStringIncludes(why.get("6")!, "eva's sign-in was revoked");
  assertStringIncludes(why.get("7")!, "ben is overloaded");
  assertStringIncludes(why.get("15")!, "back in 2h14m");
});

test("demo measures what a rotation blind to credits is charged for the same requests", async () => {
  const { out } = await run(["demo"]);
  assertStringIncludes(out, "Charged: 9 credits, all of them cleo's");
  const [, total, foreign] =
    /would have charged (\d+) for the same 15 requests, (\d+) of/.exec(out) ??
      [];
  assert(Number(total) > 9 && Number(foreign) > 0, out);
});

test("demo ends with what to do next, and keeps to a screen and a half at every width", async () => {
  for (const columns of [60, 80, 120]) {
    const { out } = await run(["demo"], {}, { columns, outIsTerminal: true });
    assert(out.split("\n").length <= 41, out);
    for (const line of out.split("\n")) assert(line.length <= columns, line);
    assertStringIncludes(out, "  cli.ts login ");
  }
});
