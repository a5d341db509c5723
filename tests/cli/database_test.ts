/** The command line on a database. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { fromFileUrl, join } from "@std/path";
import { postgresStore } from "../../lib/postgres.ts";
import type { PoolState } from "../../lib/types.ts";
import { PASSWORD, PROGRAMS } from "../postgres/server.ts";
import { commandOf, type Runtime, RUNTIMES } from "../runtimes.ts";
import { spawn } from "../spawn.ts";
import { type Place, testDatabase } from "../store/places.ts";
import { testOnDeno } from "../test.ts";
import type { Ran } from "./run.ts";

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
const CLI = fromFileUrl(new URL("../../cli.ts", import.meta.url));
const SECRETS = [PASSWORD, encodeURIComponent(PASSWORD), "p@ss", "p%40ss"];

/** It starts what it tries, on whatever runtime. */
function testProcesses(
  name: string,
  job: (place: Place) => Promise<void>,
): void {
  testDatabase(name, job, testOnDeno);
}

/** Runs a command as a process; no output may have the password. */
async function run(runtime: Runtime, ...args: string[]): Promise<Ran> {
  const env = { CODEX_ROTATOR_STORE: "", HOME: "/nowhere" };
  const ran = await spawn([...commandOf(runtime), CLI, ...args], { env });
  for (const secret of SECRETS) {
    assert(!`${ran.out}${ran.err}`.includes(secret), ran.out + ran.err);
  }
  return ran;
}

/** All that a store may hold. */
const STATE = {
  version: 1,
  future: { a: [1, null] },
  settings: {
    strategy: "drain",
    creditAccountAliases: ["work"],
    creditCaps: { "*": { day: 20 } },
    unknown: 1,
  },
  accounts: {
    work: {
      accountId: "1",
      userId: "u",
      plan: "plus",
      tokens: { access: "a.b.c", refresh: "refresh", expiresAt: 5 },
      spent: { "2026-11-29": "12.5" },
      odd: "\u0000 \ud800 ü",
    },
    home: {
      tokens: { access: "x" },
      source: { kind: "codex", path: "/home/me/auth.json" },
    },
  },
};
const LINES = Array.from({ length: 3 }, (_, index) => ({
  at: new Date(Date.now() - 86_400_000 * index).toISOString(),
  request: index,
  alias: "work",
  model: null,
  session: null,
  standing: "included",
  status: 200,
  ms: 5,
  attempts: 1,
  inputTokens: 10,
  cachedTokens: null,
  outputTokens: 1,
  balanceBefore: null,
  balanceAfter: null,
  credits: null,
  approximate: false,
})).sort((a, b) => a.at < b.at ? -1 : 1);
const SESSIONS = { abc: `work ${Date.now()}`, def: `home ${Date.now()} mark` };

/** A file with everything, and what belongs to it. */
async function writeAll(folder: string): Promise<string> {
  const path = join(folder, "accounts.json");
  await mkdir(folder);
  await writeFile(path, JSON.stringify(STATE), { mode: 0o600 });
  const month = Map.groupBy(LINES, ({ at }) => at.slice(0, 7));
  for (const [name, lines] of month) {
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    await writeFile(join(folder, `ledger-${name}.jsonl`), text);
  }
  const sessions = { version: 1, sessions: SESSIONS };
  await writeFile(join(folder, "sessions.json"), JSON.stringify(sessions));
  return path;
}

async function contentOf({ where }: Place) {
  await using store = postgresStore(where);
  return {
    state: await store.read(),
    lines: await Array.fromAsync(store.ledger.read(0)),
    sessions: await store.sessions.read(),
  };
}

testProcesses(
  "takes a whole file by `copy` and gives it back, and loses nothing",
  async (place) => {
    const from = await writeAll(join(place.folder, "from"));
    const there = await run("deno", "copy", from, place.where);
    assertEquals(there.code, 0, there.err);
    assertStringIncludes(there.out, "2 accounts");
    assertStringIncludes(there.err, "nothing of");
    assertStringIncludes(there.err, "home is linked to /home/me/auth.json");
    const { state, lines, sessions } = await contentOf(place);
    assertEquals(
      JSON.parse(JSON.stringify(state)),
      STATE as unknown as PoolState,
    );
    assertEquals(lines as unknown[], LINES);
    assertEquals(sessions, SESSIONS);
    const folder = join(place.folder, "back");
    const back = await run("node", "copy", place.where, join(folder, "a.json"));
    assertEquals(back.code, 0, back.err);
    const read = async (name: string) =>
      JSON.parse(await readFile(join(folder, name), "utf8"));
    assertEquals(await read("a.json"), STATE);
    assertEquals((await read("sessions.json")).sessions, SESSIONS);
    const month = LINES.at(-1)!.at.slice(0, 7);
    assertEquals(
      await readFile(join(folder, `ledger-${month}.jsonl`), "utf8"),
      await readFile(
        join(place.folder, "from", `ledger-${month}.jsonl`),
        "utf8",
      ),
    );
  },
);

testProcesses(
  "is replaced by `copy` only where that is told, and its ledger never doubled",
  async (place) => {
    const from = await writeAll(join(place.folder, "from"));
    await place.open().update((state) =>
      state.accounts["old"] = { plan: "plus" }
    );
    const refused = await run("deno", "copy", from, place.where);
    assertEquals([refused.code, refused.out], [1, ""]);
    const name = place.where.replace(/:[^:@]*@/, "@");
    assertStringIncludes(refused.err, `copy ${from} '${name}' --replace`);
    assertEquals(Object.keys((await contentOf(place)).state.accounts), ["old"]);
    for (let time = 0; time < 2; time++) {
      const args = ["copy", from, place.where, "--replace"];
      assertEquals((await run("deno", ...args)).code, 0);
    }
    const { state, lines } = await contentOf(place);
    assertEquals(Object.keys(state.accounts), Object.keys(STATE.accounts));
    assertEquals(lines.length, LINES.length);
    // what its owner said of money is no less there than an account
    const capped = place.another();
    const creditCaps = { "*": { day: 1 } };
    await capped.open().update((it) => void (it.settings = { creditCaps }));
    const kept = await run("deno", "copy", from, capped.where);
    assertEquals(kept.code, 1);
    assertStringIncludes(kept.err, "has settings already");
    assertEquals((await capped.content()).settings, { creditCaps });
    const args = ["copy", from, capped.where, "--replace"];
    assertEquals((await run("deno", ...args)).code, 0);
    assertEquals((await capped.content()).settings, STATE.settings as unknown);
  },
);

/** A thousand accounts, and odd ones, as a text: `__proto__` is a name in it. */
function oddState(): string {
  const accounts = Array.from({ length: 1_000 }, (_, index) => {
    const tokens = {
      access: "a".repeat(500),
      refresh: `r${index}`,
      more: [index],
    };
    const record = { tokens, requests: index, spent: { "2026-11-29": "0.1" } };
    return `"a${index}":${JSON.stringify(record)}`;
  });
  return `{"version":1,"zukunft":{"__proto__":[null]},"settings":{"pinned":null,` +
    `"creditCaps":{"__proto__":{"day":1},"*":{"month":2}},"toString":1},` +
    `"accounts":{"__proto__":{"plan":"pro","x":{"__proto__":1}},` +
    `"constructor":{},"a b":{"note":"\\u0000 \\ud800 \u2028"},${accounts}}}`;
}

testProcesses(
  "takes odd content and a thousand accounts there and back by `copy`",
  async (place) => {
    const from = await writeAll(join(place.folder, "from"));
    await writeFile(from, oddState());
    const odd = { ...LINES[0]!, future: { "\u0000": 1 } };
    const at = ["zzz", "infinity", "2026-02-30T00:00:00.000Z", 5, null];
    const lines = [odd, ...at.map((it) => ({ ...odd, at: it }))];
    const ledger = join(
      place.folder,
      "from",
      `ledger-${odd.at.slice(0, 7)}.jsonl`,
    );
    await writeFile(
      ledger,
      lines.map((line) => `${JSON.stringify(line)}\n`).join("") + "{cut",
    );
    const file = join(place.folder, "from", "sessions.json");
    const sessions = { ...SESSIONS, "\u0000": 5, none: null, old: "work 5" };
    await writeFile(file, JSON.stringify({ version: 1, sessions }));
    const there = await run("deno", "copy", from, place.where);
    assertEquals(there.code, 0, there.err);
    assertStringIncludes(there.err, "6 lines of the ledger cannot be read");
    assertStringIncludes(there.out, "1003 accounts");
    const back = join(place.folder, "back", "a.json");
    const returned = await run("deno", "copy", place.where, back);
    assertEquals(returned.code, 0, returned.err);
    assertEquals(
      JSON.parse(await readFile(back, "utf8")),
      JSON.parse(oddState()),
    );
    const kept = await contentOf(place);
    assert(kept.lines.some((line) => "future" in line));
    assertEquals(kept.sessions, SESSIONS);
  },
);

testProcesses(
  "is whole after a `copy` that was killed is done again, either way",
  async (place) => {
    const from = await writeAll(join(place.folder, "from"));
    const month = LINES[0]!.at.slice(0, 7);
    const many = Array.from(
      { length: 20_000 },
      (_, request) => `${JSON.stringify({ ...LINES[0], request })}\n`,
    );
    const name = `ledger-${month}.jsonl`;
    await writeFile(join(place.folder, "from", name), many.join(""));
    const back = join(place.folder, "back", "a.json");
    const numberOf = async (where: string) => {
      const store = where === back ? undefined : place.open();
      if (store) return (await Array.fromAsync(store.ledger!.read(0))).length;
      const text = await readFile(join(place.folder, "back", name), "utf8")
        .catch(() => "");
      return text.split("\n").length - 1;
    };
    for (const [source, target] of [[from, place.where], [place.where, back]]) {
      const [program, ...args] = [...commandOf("deno"), CLI, "copy"];
      const child = new Deno.Command(program!, {
        args: [...args, source!, target!],
        stdout: "null",
        stderr: "null",
      }).spawn();
      while (await numberOf(target!) === 0) await sleep(5);
      child.kill("SIGKILL");
      await child.status;
      const again = await run("deno", "copy", source!, target!, "--replace");
      assertEquals(again.code, 0, again.err);
      const { accounts } = target === back
        ? JSON.parse(await readFile(back, "utf8"))
        : await place.content();
      assertEquals(Object.keys(accounts), Object.keys(STATE.accounts));
      const others = LINES.filter(({ at }) => at.slice(0, 7) !== month).length;
      const expected = many.length + (target === back ? 0 : others);
      assertEquals(await numberOf(target!), expected);
    }
  },
);

testProcesses(
  "is shown and changed by every command, on every runtime",
  async (place) => {
    const from = await writeAll(join(place.folder, "from"));
    await run("deno", "copy", from, place.where);
    const store = ["--store", place.where];
    for (const runtime of RUNTIMES) {
      const status = await run(runtime, "status", "--json", ...store);
      const report = JSON.parse(status.out);
      assertEquals(report.store, place.where.replace(/:[^:@]*@/, "@"));
      assertEquals(report.accounts.length, 2);
    }
    const spend = await run("node", "spend", "--json", ...store);
    assertEquals(JSON.parse(spend.out).total.inputTokens, 30, spend.err);
    const set = await run("bun", "set", "work", "weight=7", ...store);
    assertEquals(set.code, 0, set.err);
    const doctor = await run("deno", "doctor", "--offline", ...store);
    assertStringIncludes(doctor.out, "version 1, 2");
    const restore = await run("deno", "restore", ...store);
    assertEquals(restore.code, 2);
    assertStringIncludes(restore.err, "pg_restore");
    const { accounts } = (await contentOf(place)).state;
    assertEquals(accounts["work"]!.weight, 7);
  },
);

/** Asks a server, which a name of its own leads to. */
function statusOf(port: number, host: string): Promise<number | undefined> {
  const headers = { host, authorization: "Bearer some-key" };
  return new Promise((resolve, reject) => {
    const options = { port, path: "/status", headers };
    get(options, (answer) => resolve(answer.resume().statusCode))
      .on("error", reject);
  });
}

testProcesses(
  "is served by the commands of the page's compose file",
  async ({ where }) => {
    const file = new URL("../../docs/several-machines.md", import.meta.url);
    const page = await readFile(file, "utf8");
    const line = (name: string) =>
      new RegExp(`^ +${name}: (.+)$`, "m").exec(page)![1]!;
    const { port, search } = new URL(where);
    const store = `rotator@127.0.0.1:${port}/postgres${search}`;
    const [deno, , , , ...flags] = line("entrypoint")
      .replace("rotator@db/rotator", store).split(" ");
    assertEquals(deno, "deno");
    const [program, ...args] = [...commandOf("deno"), CLI, ...flags];
    const child = new Deno.Command(program!, {
      args: [...args, ...line("command").split(" "), "--port", "0"],
      env: { PGPASSWORD: PASSWORD, CODEX_ROTATOR_SERVE_KEY: "some-key" },
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const output = child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    const own = Number(/:(\d+)\/v1/.exec((await output.read()).value!)![1]);
    assertEquals(await statusOf(own, "rotator.example.com"), 200);
    assertEquals(await statusOf(own, "other.example.com"), 403);
    child.kill("SIGTERM");
    while (!(await output.read()).done);
    assertEquals((await child.status).code, 0);
    // while it is made, the image's server answers on its socket alone
    for (const [at, code] of [[port, 0], ["1", 2]] as const) {
      const [, ...words] = line("test").split(" ");
      const asked = await new Deno.Command(`${PROGRAMS}/pg_isready`, {
        args: words,
        env: { PGPORT: at },
      }).output();
      assertEquals(asked.code, code);
    }
  },
);

testProcesses(
  "keeps its password out of every message, whatever is wrong",
  async ({ where }) => {
    const odd = where.replace(encodeURIComponent(PASSWORD), PASSWORD);
    const nobody = where.replace(/127\.0\.0\.1:\d+/, "127.0.0.1:1");
    const calls = [
      ["status", where, "--store", where],
      ["status", `--store=${nobody}`],
      ["login", "x", "--no-such-flag", "--store", where],
      ["copy", where, where],
      ["copy", "/nowhere/a.json", where],
      ["copy", nobody, where],
      ["status", "--store", odd],
      ["status", "--store", where.replace("/postgres?", "/none?")],
      ["status", "--store", where.replace("schema=", "schema=1-")],
      ["serve", "--port", "x", "--store", where],
    ];
    for (const call of calls) {
      const { code, err } = await run("deno", ...call);
      assert(code !== 0 || call.includes(odd), call[0]);
      assert(err !== "" || code === 0 || code === 4);
    }
  },
);
