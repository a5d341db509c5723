import { assertEquals } from "@std/assert";
import { Deadlines } from "../lib/deadlines.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("Deadlines calls back what is due, in the order of its starts", async () => {
  const due: string[] = [];
  const deadlines = new Deadlines(20);
  deadlines.start(() => due.push("first"));
  await pause(10);
  deadlines.start(() => due.push("second"));
  assertEquals(due, []);
  while (due.length < 2) await pause(5);
  assertEquals(due, ["first", "second"]);
  deadlines.start(() => due.push("third"));
  while (due.length < 3) await pause(5);
  deadlines.close();
});

Deno.test("Deadlines forgets what was cancelled", async () => {
  const due: string[] = [];
  const deadlines = new Deadlines(10);
  const cancelled = deadlines.start(() => due.push("cancelled"));
  const kept = deadlines.start(() => due.push("kept"));
  deadlines.cancel(cancelled);
  while (due.length === 0) await pause(5);
  assertEquals(due, ["kept"]);
  deadlines.cancel(kept);
  deadlines.cancel(cancelled);
  deadlines.close();
});

Deno.test("Deadlines still calls back when it was closed, and leaves no timer behind", async () => {
  const due: string[] = [];
  const deadlines = new Deadlines(10);
  deadlines.start(() => {
    due.push("first");
    deadlines.start(() => due.push("second"));
  });
  deadlines.close();
  while (due.length < 2) await pause(5);
  assertEquals(due, ["first", "second"]);
});

Deno.test("Deadlines calls back in time although the clock was set back meanwhile", async () => {
  const real = Date.now;
  const due: string[] = [];
  const deadlines = new Deadlines(20);
  try {
    deadlines.start(() => due.push("first"));
    await pause(10);
    deadlines.start(() => due.push("second"));
    Date.now = () => real() - 3_600_000;
    while (due.length < 2) await pause(5);
    deadlines.start(() => due.push("third"));
    while (due.length < 3) await pause(5);
  } finally {
    Date.now = real;
    deadlines.close();
  }
  assertEquals(due, ["first", "second", "third"]);
});

Deno.test("Deadlines calls the others back when one of them throws", async () => {
  const { href } = new URL("../lib/deadlines.ts", import.meta.url);
  const script = `const { Deadlines } = await import("${href}");
    addEventListener("error", (event) => event.preventDefault());
    const deadlines = new Deadlines(100);
    deadlines.start(() => { throw new Error("not the others' fault"); });
    await new Promise((resolve) => deadlines.start(resolve));
    console.log("due");`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    signal: AbortSignal.timeout(20_000),
  }).output();
  assertEquals(new TextDecoder().decode(stdout), "due\n");
});

Deno.test("Deadlines keeps the process alive while something waits, and no longer", async () => {
  const { href } = new URL("../lib/deadlines.ts", import.meta.url);
  const script = `const { Deadlines } = await import("${href}");
    const deadlines = new Deadlines(200);
    await new Promise((resolve) => deadlines.start(resolve));
    console.log("due");
    const long = new Deadlines(60_000);
    long.cancel(long.start(() => {}));`;
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    signal: AbortSignal.timeout(20_000),
  }).output();
  assertEquals([success, new TextDecoder().decode(stdout)], [true, "due\n"]);
});
