import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { createRotator, type Rotator } from "../../mod.ts";
import { type Fleet, MINUTE, startKnown } from "../fleet.ts";
import { tempFolder, test } from "../test.ts";

/** A fleet whose store is a file, and another rotator on it as after a restart. */
async function filed(
  work: (fleet: Fleet, restart: () => Rotator, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await tempFolder();
  const path = join(folder, "accounts.json");
  const fleet = await startKnown({
    accounts: { alice: {}, bob: {}, carol: {} },
    store(initial) {
      writeFileSync(path, JSON.stringify(initial));
      return path;
    },
  });
  const restart = () =>
    createRotator({
      store: path,
      backend: fleet.fake.backend,
      issuer: fleet.fake.issuer,
      now: () => fleet.clock.now,
    });
  await work(fleet, restart, folder);
  await fleet[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
}

test("a session stays on its account after a restart, for an hour", async () => {
  await filed(async (fleet, restart, folder) => {
    const body = { prompt_cache_key: "a secret thread" };
    const { alias } = await fleet.ask(body);
    await fleet.rotator.close();
    const stored = await readFile(join(folder, "sessions.json"), "utf8");
    assert(!stored.includes("secret"), stored);
    assertEquals(
      statSync(join(folder, "sessions.json")).mode! & 0o777,
      0o600,
    );
    const second = restart();
    assertEquals((await fleet.ask(body, {}, second)).alias, alias);
    assertEquals((await fleet.ask(body, {}, second)).alias, alias);
    await second.close();
    fleet.clock.now += 61 * MINUTE;
    const third = restart();
    assert((await fleet.ask(body, {}, third)).alias !== alias);
    await third.close();
  });
});

test("affinity: false neither reads nor writes sessions", async () => {
  await filed(async (fleet, _restart, folder) => {
    const rotator = createRotator({
      store: join(folder, "accounts.json"),
      backend: fleet.fake.backend,
      issuer: fleet.fake.issuer,
      now: () => fleet.clock.now,
      affinity: false,
    });
    await fleet.ask({ prompt_cache_key: "k" }, {}, rotator);
    await rotator.close();
    assert(!existsSync(join(folder, "sessions.json")));
  });
});
