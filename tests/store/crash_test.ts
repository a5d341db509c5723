/**
 * A process that renews tokens is killed at each of its changes to files. TORTURE=1 kills it before, in the middle of, and after each.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { readdir, readFile } from "node:fs/promises";
import { copy, emptyDir } from "@std/fs";
import { fromFileUrl, join } from "@std/path";
import { jsonStore } from "../../lib/store/json_store.ts";
import type { Tokens } from "../../lib/types.ts";
import { buildCrash, crashEnv, type CrashPoint } from "../crash.ts";
import { programOf } from "../runtimes.ts";
import { TORTURE } from "./processes.ts";
import { withFolder } from "./stores.ts";

const WORKER = fromFileUrl(new URL("./worker.ts", import.meta.url));
const OLD = { access: "old-access", refresh: "old-refresh", expiresAt: 1 };
const NEW = { access: "new-access", refresh: "new-refresh", expiresAt: 2 };
const MODES: CrashPoint["mode"][] = TORTURE
  ? ["before", "half", "after"]
  : ["after"];
/** Kills at the same time. */
const AT_ONCE = 3;
/** More changes than a renewal makes. */
const MAX_CALLS = 200;

/** Renews and is killed at a change; false when it makes fewer. */
async function renewUntil(
  folder: string,
  library: string,
  point: CrashPoint,
): Promise<boolean> {
  const path = join(folder, "accounts.json");
  const { success } = await new Deno.Command(programOf("node")!, {
    args: [WORKER, "renew", path, "a", String(NEW.expiresAt)],
    env: crashEnv(library, folder, { point }),
    stderr: "inherit",
  }).output();
  return !success;
}

/** Whether some file holds the new tokens whole. */
async function hasArrived(folder: string): Promise<boolean> {
  for (const name of await readdir(folder)) {
    try {
      const state = JSON.parse(await readFile(join(folder, name), "utf8"));
      if (state.accounts.a.tokens.refresh === NEW.refresh) return true;
    } catch {
      // a lock, or cut off
    }
  }
  return false;
}

async function assertRecovers(folder: string, where: string): Promise<void> {
  const arrived = await hasArrived(folder);
  const store = jsonStore(join(folder, "accounts.json"));
  const { accounts } = await store.update((state) => {
    state.settings.strategy = "drain";
  });
  const tokens = accounts["a"]!.tokens as Tokens;
  assert(tokens.refresh === NEW.refresh || !arrived, where);
  assertEquals(tokens, arrived ? NEW : OLD, where);
  for (const name of await readdir(folder)) {
    // what was locked besides the store is cleared away after an hour
    assertMatch(
      name,
      /^accounts\.json(?:\.bak(?:\.2)?|\.[0-9a-f]{16}\.lock.*)?$/,
    );
  }
}

Deno.test({
  name: "jsonStore() loses no token that a killed process had on disk",
  ignore: Deno.build.os !== "linux" || programOf("node") === undefined,
  fn: () =>
    withFolder(async (root) => {
      const library = await buildCrash(root);
      if (library === undefined) return;
      const seed = join(root, "seed");
      await jsonStore(join(seed, "accounts.json")).update((state) => {
        state.accounts["a"] = { accountId: "id", tokens: OLD };
      });
      for (const mode of MODES) {
        let calls = 0;
        const lane = async (_: unknown, lane: number) => {
          const folder = join(root, `lane${lane}`);
          while (calls < MAX_CALLS) {
            const call = ++calls;
            await emptyDir(folder);
            await copy(seed, folder, { overwrite: true });
            const point: CrashPoint = { at: call, mode };
            if (!await renewUntil(folder, library, point)) return;
            await assertRecovers(folder, `${mode} change ${call}`);
          }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, lane));
        assert(calls > 20 && calls < MAX_CALLS, `${calls} calls`);
      }
    }),
});
