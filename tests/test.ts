/**
 * Names a test on the runtime that this is: the suites that import it run on
 * Deno, Bun and Node alike.
 */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a test is, where a name and a function do not say enough. */
export interface TestDefinition {
  name: string;
  ignore?: boolean;
  /** Deno's permissions. */
  permissions?: Deno.PermissionOptions;
  fn: () => void | Promise<void>;
}

/** What adds tests. */
export interface AddTest {
  (name: string, fn: () => void | Promise<void>): void;
  (definition: TestDefinition): void;
}

/** Adds a test. */
export const test: AddTest = "Deno" in globalThis
  ? Deno.test
  : await nodeTest();

/** Adds a test for Deno alone: it starts what it tries, on whatever runtime. */
export const testOnDeno: AddTest = "Deno" in globalThis ? Deno.test : () => {};

async function nodeTest(): Promise<AddTest> {
  const { test } = await import("node:test");
  return (
    given: string | TestDefinition,
    job?: () => void | Promise<void>,
  ) => {
    const { name, ignore, fn } = typeof given === "string"
      ? { name: given, ignore: false, fn: job! }
      : given;
    test(name, { skip: ignore ?? false }, () => fn());
  };
}

/** Makes an empty folder for a test, which removes it. */
export function tempFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "codex-rotator-test-"));
}
