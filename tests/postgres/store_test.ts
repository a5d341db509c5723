/** What the store in PostgreSQL promises besides what every store does. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "@std/path";
import { inspect, promisify } from "node:util";
import { RotatorError } from "../../lib/errors.ts";
import { postgresStore } from "../../lib/postgres.ts";
import type { LedgerEntry } from "../../lib/spending_types.ts";
import { createRotator } from "../../mod.ts";
import { count } from "../store/stores.ts";
import { serverOfTests, testDatabase, testInTorture } from "../store/places.ts";
import { test } from "../test.ts";
import { PASSWORD, startPostgres } from "./server.ts";
import { startProxy } from "./proxy.ts";

const execute = promisify(execFile);
const ENCODED = encodeURIComponent(PASSWORD);
const schemaOf = (where: string) => new URL(where).searchParams.get("schema")!;

/** Asserts that an error has the code, and nothing of it the password. */
async function assertFails(
  job: () => Promise<unknown>,
  code: string,
): Promise<string> {
  const error = await assertRejects(job, RotatorError);
  assertEquals(error.code, code);
  const all = inspect(error, { depth: 9, showHidden: true });
  for (const secret of [PASSWORD, ENCODED]) assert(!all.includes(secret), all);
  return error.message;
}

testDatabase(
  "makes its schema once, however many begin at the same time",
  async ({ open, where }) => {
    const stores = Array.from({ length: 12 }, () => open());
    await Promise.all(stores.map((store) => store.update(count)));
    assertEquals((await open().read()).accounts["a"]!.requests, 12);
    const { sql } = await serverOfTests();
    const text = `select count(*) from pg_tables where schemaname = '${
      schemaOf(where)
    }'`;
    assertEquals(await sql(text), ["6"]);
  },
);

testDatabase(
  "writes what changed alone, also of 1000 accounts",
  async ({ open, where }) => {
    const { port, sql } = await serverOfTests();
    await using proxy = await startProxy(port);
    const store = open({ where: proxy.through(where) });
    const token = "t".repeat(2_000);
    await store.update((state) => {
      for (let index = 0; index < 1_000; index++) {
        state.accounts[`a${index}`] = { tokens: { access: token } };
      }
    });
    await store.update((state) => state.accounts["a7"]!.requests = 1);
    const before = proxy.sentBy(0);
    await store.update((state) => state.accounts["a7"]!.requests = 2);
    assert(proxy.sentBy(0) - before < 2 * token.length);
    const written = await sql(
      `select alias from ${schemaOf(where)}.accounts a, ${
        schemaOf(where)
      }.pool p where a.revision = p.revision`,
    );
    assertEquals(written, ["a7"]);
  },
);

testDatabase(
  "serves a hundred that write to 1000 accounts at the same time, each in its turn",
  async ({ open }) => {
    await open().update((state) => {
      for (let index = 0; index < 1_000; index++) {
        state.accounts[`a${index}`] = { plan: "plus", requests: 0 };
      }
    });
    const stores = Array.from({ length: 100 }, () => open());
    await Promise.all(stores.map(async (store, index) => {
      for (let turn = 0; turn < 3; turn++) {
        await store.update((state) => {
          state.accounts[`a${index}`]!.requests = turn + 1;
          state.accounts["a999"]!.requests! += 1;
        });
      }
    }));
    const { accounts } = await open().read();
    assertEquals(accounts["a999"]!.requests, 300);
    const own = stores.map((_, index) => accounts[`a${index}`]!.requests);
    assertEquals(own, stores.map(() => 3));
  },
  testInTorture,
);

testDatabase(
  "needs two connections, whatever goes on at once",
  async ({ open, where }) => {
    const { port } = await serverOfTests();
    await using proxy = await startProxy(port);
    const store = open({ where: proxy.through(where) });
    const jobs = Array.from(
      { length: 5 },
      (_, index) => store.exclusive(`x${index}`, () => store.update(count)),
    );
    await Promise.all([...jobs, store.read(), store.update(count)]);
    store.remote?.isCurrent();
    assertEquals((await store.read()).accounts["a"]!.requests, 6);
    assertEquals(proxy.most, 2);
  },
);

testDatabase(
  "refuses what a newer version or somebody's hand left, and leaves it alone",
  async ({ open, where }) => {
    const { sql } = await serverOfTests();
    const schema = schemaOf(where);
    await open().update(count);
    const cases = [
      ["pool set layout = 2", "pool set layout = 1", "store_version"],
      [
        `pool set rest = '{"version":2}'`,
        `pool set rest = '{"version":1}'`,
        "store_version",
      ],
      [
        "pool set rest = '5'",
        `pool set rest = '{"version":1}'`,
        "store_corrupt",
      ],
      [
        "accounts set record = '[]', revision = 99",
        `accounts set record = '{"requests":1}', revision = 1`,
        "store_corrupt",
      ],
    ] as const;
    for (const [harm, repair, code] of cases) {
      const running = open();
      await running.read();
      const [table] = harm.split(" ");
      const dump = `select * from ${schema}.${table}`;
      await sql(
        `update ${schema}.${harm}; update ${schema}.pool set revision = revision + 1`,
      );
      const before = await sql(dump);
      for (const store of [running, open()]) {
        const message = await assertFails(() => store.read(), code);
        assertStringIncludes(message, `schema=${schema}`);
        await assertFails(() => store.update(count), code);
      }
      assertEquals(await sql(dump), before);
      await sql(
        `update ${schema}.${repair}; update ${schema}.pool set revision = revision + 1`,
      );
    }
    assertEquals((await open().update(count)).accounts["a"]!.requests, 2);
  },
);

testDatabase(
  "makes a change once whose connection ends in its transaction, before it is committed, or before that is told",
  async ({ another }) => {
    const { port } = await serverOfTests();
    for (
      const [text, when] of [
        ["for update", "before"],
        ["for update", "answer"],
        ["commit", "before"],
        ["commit", "answer"],
      ] as const
    ) {
      const { open, where } = another();
      await using proxy = await startProxy(port);
      const mine = open({ where: proxy.through(where) });
      const other = open();
      await mine.update(count);
      // now it waits for its turn, in a transaction
      await other.update((state) => state.settings.strategy = "drain");
      const ended = proxy.endAt(text, when);
      const written = mine.update(count);
      await ended;
      // what was surely not written is tried once more, at once
      if (text !== "commit") proxy.heal();
      await other.update((state) => state.accounts["b"] = { requests: 7 });
      proxy.heal();
      const expected = { a: { requests: 2 }, b: { requests: 7 } };
      assertEquals((await written).accounts, expected);
      assertEquals((await mine.read()).accounts, expected);
      assertEquals((await open().read()).accounts, expected);
    }
  },
);

testDatabase(
  "writes nothing of a transaction that did not begin",
  async ({ another }) => {
    const { port } = await serverOfTests();
    for (
      const [severity, sqlState, isMade] of [
        ["ERROR", "25006", false],
        ["FATAL", "57P01", true],
      ] as const
    ) {
      const { open, where } = another();
      await using proxy = await startProxy(port);
      const mine = open({ where: proxy.through(where) });
      const other = open();
      await mine.update(count);
      // now it waits for its turn, in a transaction
      await other.update((state) => state.settings.strategy = "drain");
      proxy.refuseBegin(severity, sqlState);
      if (isMade) await mine.update(count);
      else await assertFails(() => mine.update(count), "store_unwritable");
      const requests = isMade ? 2 : 1;
      assertEquals((await other.read()).accounts, { a: { requests } });
      assertEquals((await mine.update(count)).accounts, {
        a: { requests: requests + 1 },
      });
      assertEquals((await other.read()).accounts["a"]!.requests, requests + 1);
    }
  },
);

testDatabase(
  "starts over from an older copy that is put in its place",
  async ({ open, where }) => {
    const { sql } = await serverOfTests();
    const schema = schemaOf(where);
    const store = open();
    for (let turn = 0; turn < 5; turn++) await store.update(count);
    await sql(`update ${schema}.pool set revision = 2;
    update ${schema}.accounts set revision = 2, record = '{"requests":1}'`);
    assertEquals((await store.read()).accounts, { a: { requests: 1 } });
    assertEquals((await store.update(count)).accounts, { a: { requests: 2 } });
    assertEquals((await open().read()).accounts, { a: { requests: 2 } });
  },
);

testDatabase(
  "says what is refused to a user who may not, and where nobody answers",
  async ({ where }) => {
    const { sql, url } = await serverOfTests();
    await sql(`create user guest password '${PASSWORD}'`);
    const guest = url.replace("//rotator:", "//guest:");
    await using forbidden = postgresStore(guest);
    const message = await assertFails(
      () => forbidden.read(),
      "store_unwritable",
    );
    assertStringIncludes(message, "postgres://guest@127.0.0.1");
    assertStringIncludes(message, "permission denied");
    await sql("drop user guest");
    const wrong = where.replace(ENCODED, `wrong${ENCODED}`);
    const nobody = where.replace(/127\.0\.0\.1:\d+/, "127.0.0.1:1");
    const none = where.replace("/postgres?", "/none?");
    for (
      const [url, reason] of [
        [wrong, "password authentication failed"],
        [nobody, "connection refused"],
        [none, 'database "none" does not exist'],
      ] as const
    ) {
      await using store = postgresStore(url);
      const calls = [
        () => store.read(),
        () => store.update(count),
        () => store.ledger.append([]),
        () => store.sessions.read(),
      ];
      for (const call of calls) {
        assertStringIncludes(
          await assertFails(call, "store_unwritable"),
          reason,
        );
      }
    }
  },
);

test("postgresStore() says that connections are closed at once, and does not try on and on", async () => {
  let connections = 0;
  const server = createServer((client) => {
    connections++;
    client.on("error", () => {}).destroy();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  const hosts = [`127.0.0.1:${port}`, `127.0.0.1:${port},127.0.0.1:${port}`];
  for (const host of hosts) {
    await using store = postgresStore(`postgres://u:p@${host}/db`);
    for (const call of [() => store.read(), () => store.update(count)]) {
      connections = 0;
      const message = await assertFails(call, "store_unwritable");
      assertStringIncludes(message, "connection closed by the other side");
      assert(connections <= 4, `${connections} connections`);
    }
  }
  await new Promise((done) => server.close(done));
});

testDatabase(
  "keeps a line of the ledger once, in order, and no longer than 13 months",
  async ({ open, where }) => {
    const { sql } = await serverOfTests();
    const { ledger } = open();
    const now = Date.now();
    const line = (request: number) => ({
      at: new Date(now - 1000 * (5_000 - request)).toISOString(),
      request,
      alias: "a",
    } as LedgerEntry);
    const lines = Array.from({ length: 4_500 }, (_, index) => line(index));
    await ledger!.append([...lines].reverse());
    // a writer that has heard nothing writes the same again
    await ledger!.append(lines.slice(100, 200));
    // another one may have made the same line
    await open().ledger!.append([line(3)]);
    const read = await Array.fromAsync(open().ledger!.read(0));
    const numbers = read.map(({ request }) => request);
    assertEquals(numbers.length, 4_501);
    assertEquals(numbers, [...numbers].sort((a, b) => a - b));
    const since = Date.parse(lines[4_000]!.at);
    assertEquals((await Array.fromAsync(ledger!.read(since))).length, 500);
    await sql(
      `update ${
        schemaOf(where)
      }.ledger set at = now() - interval '14 months' where entry ->> 'request' < '3'`,
    );
    await open().ledger!.append([]);
    const left = await Array.fromAsync(ledger!.read(0));
    assert(
      left.length > 0 && left.every(({ request }) => String(request) >= "3"),
    );
  },
);

testDatabase(
  "forgets a session an hour after it was written last",
  async ({ open, where }) => {
    const { sql } = await serverOfTests();
    const { sessions } = open();
    await sessions!.write({ one: "a 1", two: "b 2" });
    await open().sessions!.write({ two: "c 3", "\u2028": "d 4" });
    assertEquals(await sessions!.read(), {
      one: "a 1",
      two: "c 3",
      "\u2028": "d 4",
    });
    await sql(
      `update ${
        schemaOf(where)
      }.sessions set at = now() - interval '61 minutes' where key = 'one'`,
    );
    assertEquals(await sessions!.read(), { two: "c 3", "\u2028": "d 4" });
  },
);

testDatabase(
  "knows by itself whether what was read is the newest",
  async ({ open }) => {
    const [mine, other] = [open(), open()];
    const isCurrent = () => mine.remote!.isCurrent();
    assertEquals(isCurrent(), false);
    for (let turn = 0; !isCurrent(); turn++) {
      assert(turn < 100);
      await new Promise((done) => setTimeout(done, 50));
      await mine.read();
    }
    await mine.update(count);
    assertEquals(isCurrent(), true);
    await other.update(count);
    for (let turn = 0; isCurrent(); turn++) {
      assert(turn < 20, "it was not told within a second");
      await new Promise((done) => setTimeout(done, 50));
    }
    assertEquals((await mine.read()).accounts["a"]!.requests, 2);
    assertEquals(isCurrent(), true);
  },
);

test("postgresStore() refuses a URL or a schema that it cannot read, and repeats neither", () => {
  const wrong: [url: string, schema?: string][] = [
    ["canary"],
    ["mysql://u:canary@host/db"],
    ["postgres://u:canary@host:port/db"],
    ["postgres://u:can#ary@host/db"],
    ["postgres://u:canary?@host/db"],
    ["postgres://host/db", "canary-1"],
    ["postgres://host/db", `"; drop table canary; --`],
    ["postgres://host/db?schema=can%20ary"],
  ];
  for (const [url, schema] of wrong) {
    const open = () =>
      postgresStore(url, schema === undefined ? {} : { schema });
    const error = assertThrows(open, TypeError);
    assert(
      !inspect(error, { showHidden: true }).includes("ary"),
      error.message,
    );
  }
  const error = assertThrows(
    () => createRotator({ store: "postgres://u:canary@host/db" }),
    TypeError,
    "postgresStore(url)",
  );
  assert(!error.message.includes("canary"));
});

test("postgresStore() is named by its URL without a password", () => {
  const cases = [
    ["postgres://u:p%40@h:1/db?sslmode=require", "postgres://u@h:1/db"],
    ["postgresql://u:p/w:x@y@h/db", "postgresql://u@h/db"],
    ["postgres://h1:1,h2:2/db", "postgres://h1:1,h2:2/db"],
    ["postgres:///db?schema=x", "postgres:///db?schema=x"],
  ];
  for (const [url, name] of cases) {
    assertEquals(postgresStore(url!).name, name);
    if (!URL.canParse(name!)) continue;
    assertEquals(postgresStore(new URL(name!)).name, name);
  }
});

testDatabase(
  "speaks TLS, and trusts the certificates that it is told to",
  async () => {
    await using server = await startPostgres(["ssl = on"], async (data) => {
      const [key, certificate] = ["key", "crt"].map((it) =>
        join(data, `server.${it}`)
      );
      await execute("openssl", [
        ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
        ...[
          "-subj",
          "/CN=localhost",
          "-addext",
          "subjectAltName=DNS:localhost",
        ],
        ...["-keyout", key!, "-out", certificate!],
      ]);
      return await readFile(certificate!, "utf8");
    });
    const url = server.url.replace("127.0.0.1", "localhost");
    const encrypted = "select ssl from pg_stat_ssl join pg_stat_activity " +
      "using (pid) where application_name = 'codex-rotator'";
    for (
      const [way, client, isEncrypted] of [
        ["", {}, "f"],
        ["?sslmode=require", {}, "t"],
        ["", { ssl: { ca: server.prepared } }, "t"],
      ] as const
    ) {
      await using store = postgresStore(`${url}${way}`, { client });
      await store.exclusive("x", () => store.update(count));
      assertEquals(
        new Set(await server.sql(encrypted)),
        new Set([isEncrypted]),
      );
    }
    for (const way of ["?sslmode=verify-full", "?ssl=true"]) {
      await using store = postgresStore(`${url}${way}`);
      const message = await assertFails(() => store.read(), "store_unwritable");
      assertStringIncludes(message, "certificate");
    }
  },
);
