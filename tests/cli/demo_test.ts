import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { run } from "./run.ts";

Deno.test("demo shows included usage first, credits where they are allowed, and refusals", async () => {
  const { code, out, err } = await run(["demo"]);
  assertEquals([code, err], [0, ""]);
  const lines = out.split("\n").filter((line) => /^ +\d+ {2}/.test(line));
  assertEquals(lines.length, 30);
  const kinds = lines.map((line) => line.split(/ +/)[3]!);
  const included = kinds.filter((kind) => kind === "included").length;
  const credits = kinds.filter((kind) => kind === "credits").length;
  const refused = kinds.filter((kind) => kind === "refused").length;
  assertEquals(included + credits + refused, 30);
  // once included usage is gone it does not come back, and credits neither
  assertEquals(kinds, [
    ...Array(included).fill("included"),
    ...Array(credits).fill("credits"),
    ...Array(refused).fill("refused"),
  ]);
  assertEquals(credits, 5);
  assert(included > 20 && refused > 0);
  for (const line of lines) {
    if (line.includes(" credits ")) assertStringIncludes(line, "cleo");
  }
  for (const name of ["ada", "ben", "finn", "gina"]) {
    assert(lines.some((line) => line.includes(name)), name);
  }
  for (const name of ["dan", "eva", "hugo"]) {
    assert(!lines.some((line) => line.split(/ +/)[2] === name), name);
  }
  assertStringIncludes(out, "needs a sign-in");
  // every token of the stand-in holds this word
  assert(!out.includes("canary"));
  assertStringIncludes(
    out,
    `served ${
      included + credits
    } requests and charged ${credits} of them; none`,
  );
});
