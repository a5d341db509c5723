/** The main job, on every runtime: nothing here but what all of them have. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  type AccountRecord,
  createRotator,
  jsonStore,
  type RotatorOptions,
} from "../../mod.ts";
import {
  type FakeCodex,
  startFakeCodex,
} from "../../lib/testing/fake_codex.ts";

const HOUR = 3_600_000;
const CREDITS = { hasCredits: true, unlimited: false, balance: "10" };

interface SetUp {
  fake: FakeCodex;
  file: string;
  folder: string;
  options: RotatorOptions;
}

/** Two accounts, the first of them with credits, in a real store file. */
async function withFleet(
  job: (setUp: SetUp) => Promise<void>,
  change: (fake: FakeCodex) => void = () => {},
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-test-"));
  const fake = await startFakeCodex({
    accounts: { alice: { credits: { ...CREDITS } }, bob: {} },
  });
  try {
    const file = join(folder, "store", "accounts.json");
    const accounts: Record<string, AccountRecord> = {};
    for (const name of ["alice", "bob"]) {
      const { accountId, ...tokens } = fake.tokens(name);
      accounts[name] = { accountId, plan: "plus", tokens };
    }
    await jsonStore(file).update((state) => {
      Object.assign(state.accounts, accounts);
    });
    change(fake);
    const { backend, issuer } = fake;
    const options = { store: file, backend, issuer, credits: "all" as const };
    await job({ fake, file, folder, options });
  } finally {
    await fake.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const REQUEST = {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({
    model: "gpt-5.5",
    instructions: "Be brief.",
    input: [{ role: "user", content: "Hello" }],
    store: false,
    stream: true,
  }),
};

function fill(fake: FakeCodex, ...names: string[]): void {
  for (const name of names) {
    fake.account(name).windows = [{
      seconds: 18_000,
      usedPercent: 100,
      resetAt: Date.now() + HOUR,
    }];
  }
}

async function serve(options: RotatorOptions, count: number) {
  const rotator = createRotator(options);
  const served: [number, string | undefined][] = [];
  try {
    for (let n = 0; n < count; n++) {
      const response = await rotator.fetch("/v1/responses", REQUEST);
      served.push([response.status, rotator.accountOf(response)]);
      await response.text();
    }
  } finally {
    await rotator.close();
  }
  return served;
}

test("rotator.fetch() asks first and takes turns", () =>
  withFleet(async ({ fake, options }) => {
    assert.deepEqual(await serve(options, 4), [
      [200, "alice"],
      [200, "bob"],
      [200, "alice"],
      [200, "bob"],
    ]);
    assert.equal(fake.log[0]?.kind, "usage");
    assert.equal(fake.log.filter(({ kind }) => kind === "usage").length, 2);
    assert.deepEqual(fake.violations, []);
  }));

test("rotator.fetch() passes a stream on as it comes", () =>
  withFleet(async ({ options }) => {
    const rotator = createRotator(options);
    const response = await rotator.fetch(
      `${rotator.baseURL}/responses`,
      REQUEST,
    );
    assert.equal(response.url, `${rotator.baseURL}/responses`);
    const text = await response.text();
    assert.match(text, /response\.created[\s\S]*Hello[\s\S]*completed/);
    await rotator.close();
  }));

test("rotator.fetch() spends credits when nothing else is left and they are allowed", () =>
  withFleet(async ({ fake, options }) => {
    assert.deepEqual(await serve(options, 2), [[200, "alice"], [200, "alice"]]);
    assert.equal(fake.charged.length, 2);
  }, (fake) => fill(fake, "alice", "bob")));

test("rotator.fetch() spends nothing when credits are forbidden, with the same accounts", () =>
  withFleet(async ({ fake, options }) => {
    const served = await serve({ ...options, credits: "none" }, 2);
    assert.deepEqual(served, [[429, undefined], [429, undefined]]);
    assert.equal(fake.charged.length, 0);
  }, (fake) => fill(fake, "alice", "bob")));

test("rotator.fetch() renews a refused token once and saves it before it is used", () =>
  withFleet(async ({ fake, file, options }) => {
    fake.revoke("alice", "access");
    const before = JSON.parse(await readFile(file, "utf8"));
    const served = await serve({ ...options, credits: "none" }, 2);
    assert.deepEqual(served.sort(), [[200, "alice"], [200, "bob"]]);
    const after = JSON.parse(await readFile(file, "utf8"));
    const { refresh } = after.accounts.alice.tokens;
    assert.notEqual(refresh, before.accounts.alice.tokens.refresh);
    assert.equal(fake.log.filter(({ kind }) => kind === "token").length, 1);
    assert.deepEqual(fake.violations, []);
  }));

test("jsonStore() keeps its file to its owner", () =>
  withFleet(async ({ file, folder }) => {
    if (process.platform === "win32") return;
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await stat(`${file}.bak`)).mode & 0o777, 0o600);
    assert.equal((await stat(join(folder, "store"))).mode & 0o777, 0o700);
  }));

test("createRotator() heeds within a second what another one wrote", () =>
  withFleet(async ({ file, options }) => {
    const rotator = createRotator(options);
    const first = await rotator.fetch("/responses", REQUEST);
    await first.text();
    await jsonStore(file).update((state) => {
      state.accounts["alice"]!.enabled = false;
    });
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    for (let n = 0; n < 2; n++) {
      const response = await rotator.fetch("/responses", REQUEST);
      await response.text();
      assert.equal(rotator.accountOf(response), "bob");
    }
    await rotator.close();
  }));

test("createRotator() keeps no script alive that never calls close()", () =>
  withFleet(async ({ fake, file, folder }) => {
    const script = join(folder, "script.ts");
    const mod = new URL("../../mod.ts", import.meta.url).href;
    await writeFile(
      script,
      `import { createRotator } from ${JSON.stringify(mod)};
const rotator = createRotator(${
        JSON.stringify({
          store: file,
          backend: fake.backend,
          issuer: fake.issuer,
          credits: "none",
        })
      });
const response = await rotator.fetch("/responses", ${JSON.stringify(REQUEST)});
await response.text();
console.log(rotator.accountOf(response));
`,
    );
    const flags = "Deno" in globalThis ? ["run", "-A", "--no-config"] : [];
    const child = spawn(process.execPath, [...flags, script]);
    let output = "";
    child.stdout.on("data", (chunk) => output += chunk);
    child.stderr.on("data", (chunk) => output += chunk);
    const code = await new Promise((resolve) => child.on("close", resolve));
    assert.equal(code, 0, output);
    assert.match(output, /alice/);
    const state = JSON.parse(await readFile(file, "utf8"));
    assert.ok(state.accounts.alice.usage, "what was learned is stored");
  }));
