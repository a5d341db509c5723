/**
 * The rotation at work against a stand-in for the backend: real store, real
 * rotator, real HTTP on the loopback, nothing that costs anything.
 */
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createRotator, type Rotator } from "../rotator.ts";
import { jsonStore } from "../store/json_store.ts";
import {
  type FakeAccountOptions,
  type FakeCodex,
  startFakeCodex,
} from "../testing/fake_codex.ts";
import type { RotatorEvent, StatusReport } from "../report_types.ts";
import { duration, sanitize, suggestCommand } from "./format.ts";
import { demand } from "./granted.ts";
import type { Io } from "./io.ts";
import { EXIT } from "./messages.ts";
import type { Command, Context } from "./options.ts";
import { allowed } from "./permissions.ts";
import {
  cell,
  type Color,
  columnWidths,
  line,
  lineWidth,
  pad,
  wrap,
} from "./table.ts";

export const command: Command = {
  help: `
Starts a stand-in for the backend on this machine and sends requests until
nothing is left: who serves each and why, what happens when a window fills up in
the middle of a stream, an account is overloaded or its sign-in is revoked, and
what a rotation that is blind to credits would have charged. Your own accounts
and store are not touched. The exit code is 1 if an account was charged that may
not be.

Examples:
  codex-rotator demo
`,
  operands: [0, 0],
  needs: { store: false },
  grants() {
    const folder = [allowed(tmpdir) ?? "/tmp"];
    const env = ["TMPDIR", "TMP", "TEMP"];
    return { env, read: folder, write: folder, net: ["127.0.0.1"] };
  },
  run,
};

const SPENDER = "cleo";
const REQUESTS = 15;

function cast(now: number): Record<string, FakeAccountOptions> {
  const used = (usedPercent: number) => ({
    windows: [{ seconds: 18_000, usedPercent, resetAt: now + 8_000_000 }],
    costPercent: 20,
  });
  const credits = (balance: string) => ({
    credits: { hasCredits: true, unlimited: false, balance, costPerRequest: 3 },
  });
  return {
    // tells in its stream that a window is full
    ada: { ...used(40), refusals: { as: "failed" } },
    ben: used(20),
    cleo: { ...used(100), ...credits("9") },
    dan: { plan: "team", ...used(100), ...credits("120") },
    eva: used(60),
    finn: { plan: "team", ...used(0) },
  };
}

const ALIASES = Object.keys(cast(0));

/** What happens before a request, and how the account is told of that serves instead. */
const INCIDENTS: Readonly<
  Record<number, { words: string; happen(fake: FakeCodex): void }>
> = {
  5: {
    words: "ada's stream broke off, its window is full",
    happen: (fake) => void (fake.account("ada").windows![0]!.usedPercent = 100),
  },
  6: {
    words: "eva's sign-in was revoked",
    happen: (fake) => fake.revoke("eva", "all"),
  },
  7: {
    words: "ben is overloaded",
    happen: (fake) => void fake.account("ben").queue.push({ status: 503 }),
  },
};

async function run(context: Context): Promise<number> {
  const { io, say } = context;
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-demo-"));
  // whoever reads the output may stop early, which ends the process at once
  const clear = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", clear);
  const start = () => startFakeCodex({ accounts: cast(io.now()), now: io.now });
  demand("net", "127.0.0.1");
  const [fake, second] = [await start(), await start()];
  try {
    io.out("\n");
    say("Six accounts of a stand-in for the backend, on this machine alone:");
    show(io, castRows(fake));
    io.out("\n");
    show(io, await play(io, fake, join(folder, "accounts.json")));
    await playBlindly(second);
    return conclude(context, fake, second);
  } finally {
    await Promise.all([fake.close(), second.close()]);
    process.off("exit", clear);
    clear();
  }
}

function castRows(fake: FakeCodex): string[][] {
  const rows = ALIASES.map((alias) => {
    const { plan, windows, credits } = fake.account(alias);
    const may = alias === SPENDER ? "may be spent" : "must not be spent";
    const purchased = credits?.hasCredits
      ? `${credits.balance}, ${may}`
      : "none";
    return [alias, plan, percent(windows![0]!.usedPercent), purchased];
  });
  return [["account", "plan", "5h used", "purchased credits"], ...rows];
}

function percent(used: number): string {
  return `${used}%`.padStart("5h used".length);
}

async function play(
  io: Io,
  fake: FakeCodex,
  path: string,
): Promise<string[][]> {
  const events: RotatorEvent[] = [];
  const store = jsonStore(path);
  await store.update((state) => {
    for (const alias of ALIASES) {
      const { email, plan, userId, accountId } = fake.account(alias);
      const { accountId: _, ...tokens } = fake.tokens(alias);
      state.accounts[alias] = { accountId, userId, email, plan, tokens };
    }
  });
  const rotator = createRotator({
    store,
    credits: [SPENDER],
    strategy: "round-robin",
    backend: fake.backend,
    issuer: fake.issuer,
    now: io.now,
    onEvent: (event) => void events.push(event),
  });
  const rows = [[" #", "account", "pays", "5h used", "why"]];
  try {
    await rotator.refresh({ signal: io.signal });
    for (let n = 1; n <= REQUESTS && !io.signal.aborted; n++) {
      events.length = 0;
      INCIDENTS[n]?.happen(fake);
      rows.push([`${n}`.padStart(2), ...await ask(rotator, n, events)]);
    }
  } finally {
    await rotator.close();
  }
  return rows;
}

async function ask(
  rotator: Rotator,
  n: number,
  events: readonly RotatorEvent[],
): Promise<string[]> {
  const before = await rotator.status();
  const response = await rotator.fetch("/responses", requestOf(n));
  const text = await response.text();
  if (!response.ok) {
    const ms = JSON.parse(text).error.resets_in_seconds * 1000;
    return ["-", "refused", "", `back in ${duration(ms)}`];
  }
  const alias = rotator.accountOf(response)!;
  const { accounts } = await rotator.status();
  const served = accounts.find((it) => it.alias === alias)!;
  const used = percent(served.windows[0]!.usedPercent);
  const spent = events.find((it) => it.type === "credits-spent");
  return spent === undefined
    ? [alias, "included", used, reason(n, before, events)]
    : [alias, "credits", used, `${spent.balanceAfter} credits are left`];
}

function requestOf(n: number, headers: Record<string, string> = {}) {
  const body = JSON.stringify({
    model: "gpt-5.4",
    instructions: "Answer briefly.",
    input: [{ role: "user", content: `Question ${n}` }],
    store: false,
    stream: true,
  });
  const type = { "content-type": "application/json" };
  return { method: "POST", headers: { ...type, ...headers }, body };
}

function reason(
  n: number,
  { accounts }: StatusReport,
  events: readonly RotatorEvent[],
): string {
  const peers = accounts.filter((it) => it.standing === "included").length;
  const switched = events.findLast((it) => it.type === "switched");
  if (switched === undefined) {
    return peers > 1 ? `longest unused of ${peers}` : "the only one left";
  }
  const words = INCIDENTS[n]?.words;
  return words?.startsWith(switched.from)
    ? words
    : sanitize(`instead of ${switched.from}: ${switched.reason}`);
}

/** Sends the same requests in turn to whoever answers, as a rotation without a view of credits does. */
async function playBlindly(fake: FakeCodex): Promise<void> {
  const logins = ALIASES.map((alias) => fake.tokens(alias));
  let turn = 0;
  for (let n = 1; n <= REQUESTS; n++) {
    INCIDENTS[n]?.happen(fake);
    for (let tries = 0; tries < logins.length; tries++) {
      const { access, accountId } = logins[turn++ % logins.length]!;
      const request = requestOf(n, {
        "authorization": `Bearer ${access}`,
        "chatgpt-account-id": accountId,
        "user-agent": "blind-rotation/1.0",
      });
      const response = await fetch(`${fake.backend}/codex/responses`, request);
      const text = await response.text();
      if (response.ok && !text.includes("response.failed")) break;
    }
  }
}

function conclude(
  { io, say }: Context,
  fake: FakeCodex,
  second: FakeCodex,
): number {
  const [ours, blind] = [charges(fake), charges(second)];
  const whose = ours.foreign === 0
    ? `all of them ${SPENDER}'s, and only once no included usage was left`
    : `${ours.foreign} of them of accounts that must not spend`;
  io.out("\n");
  say(`Charged: ${ours.total} credits, ${whose}.`);
  say(
    `A rotation blind to credits would have charged ${blind.total} for the same ${REQUESTS} requests, ${blind.foreign} of them dan's, which must not be spent (measured just now).`,
  );
  io.out("\nNext, with your own accounts:\n");
  show(io, [
    [suggestCommand("login"), "sign in, once for each"],
    [suggestCommand("import"), "or take those of Codex CLI and OpenCode"],
    [suggestCommand("status"), "who can serve, on what, until when"],
  ]);
  return ours.foreign === 0 ? EXIT.ok : EXIT.failed;
}

function charges({ book }: FakeCodex): { total: number; foreign: number } {
  const sum = (alias?: string) =>
    book.filter((it) => it.kind === "charge" && it.account !== alias)
      .reduce((sum, it) => sum + it.amount, 0);
  return { total: sum(), foreign: sum(SPENDER) };
}

const COLORS: Readonly<Record<string, Color>> = {
  included: "green",
  credits: "magenta",
  refused: "red",
};

/** A table whose last column goes on below itself where a terminal is too narrow. */
function show(io: Io, rows: readonly string[][]): void {
  const width = io.outIsTerminal ? io.columns : Infinity;
  const firsts = rows.map((row) =>
    row.slice(0, -1).map((it) => cell(it, COLORS[it]))
  );
  const widths = columnWidths(firsts);
  const more = " ".repeat(lineWidth(widths) + 2);
  rows.forEach((row, i) => {
    const last = wrap(row.at(-1)!, Math.max(20, width - more.length - 2));
    const begin = [...pad(firsts[i]!, widths), cell(last.shift() ?? "")];
    const lines = [line(begin, io.color), ...last.map((it) => more + it)];
    io.out(lines.map((it) => `  ${it}\n`).join(""));
  });
}
