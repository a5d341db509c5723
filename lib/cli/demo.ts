/**
 * The whole rotation against a stand-in for the backend: real store, real
 * rotator, real HTTP on the loopback, nothing that costs anything.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import process from "node:process";
import { join } from "node:path";
import { createRotator, type Rotator } from "../rotator.ts";
import { jsonStore } from "../store/json_store.ts";
import { type FakeCodex, startFakeCodex } from "../testing/fake_codex.ts";
import type { RotatorEvent } from "../report_types.ts";
import type { Command, Context, Grants } from "./options.ts";
import { ALLOWED, cast, KNOWN, seed } from "./demo_cast.ts";
import { eventWords } from "./demo_words.ts";
import { EXIT } from "./exit.ts";
import { demandListening } from "./granted.ts";
import type { Io } from "./io.ts";
import { allowed } from "./permissions.ts";
import { renderStatus } from "./render_status.ts";
import { wrap } from "./table.ts";
import { sanitize, windowLabel } from "./format.ts";

const REQUESTS = 30;

/** `demo`: shows the rotation at work. */
export const command: Command = {
  help: `
Starts a stand-in for the backend on this machine, fills a store in a temporary
folder with accounts in every standing, and sends ${REQUESTS} requests while their usage
windows fill up. It prints who served each request, on what and why, then the
status, then what was charged to whom. Your own accounts and store are not
touched. The exit code is 1 if an account was charged that may not be.

Examples:
  cli.ts demo
`,
  operands: [0, 0],
  needs: { store: false },
  grants,
  run,
};

function grants(): Grants {
  const folder = allowed(tmpdir) ?? "/tmp";
  return {
    env: ["TMPDIR", "TMP", "TEMP"],
    read: [folder],
    write: [folder],
    net: ["127.0.0.1"],
  };
}

async function run({ io }: Context): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "codex-rotator-demo-"));
  // whoever reads the output may stop early, which ends the process at once
  const clear = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", clear);
  try {
    demandListening("127.0.0.1");
    await using fake = await startFakeCodex({
      accounts: cast(io.now()),
      now: io.now,
    });
    return await play(io, fake, join(folder, "accounts.json"));
  } finally {
    process.off("exit", clear);
    clear();
  }
}

async function play(io: Io, fake: FakeCodex, path: string): Promise<number> {
  const events: RotatorEvent[] = [];
  const store = jsonStore(path);
  await store.update((state) => seed(state, fake, io.now()));
  const rotator = createRotator({
    store,
    credits: ALLOWED,
    backend: fake.backend,
    issuer: fake.issuer,
    now: io.now,
    onEvent: (event) => void events.push(event),
  });
  try {
    await rotator.refresh({ aliases: KNOWN, signal: io.signal });
    io.out(
      `${REQUESTS} requests; only ${ALLOWED.join(", ")} may spend credits\n\n`,
    );
    for (let n = 1; n <= REQUESTS && !io.signal.aborted; n++) {
      events.length = 0;
      const outcome = await request(rotator, n, events, io.signal);
      const told = events.flatMap(eventWords);
      io.out(hanging(`${String(n).padStart(3)}  `, outcome, io));
      for (const text of told) {
        io.out(hanging(" ".repeat(7), sanitize(text), io));
      }
    }
    const { columns, color } = io;
    const report = await rotator.status();
    io.out(`\n${renderStatus(report, { columns, color, now: io.now() })}\n`);
  } finally {
    await rotator.close();
  }
  return verdict(io, fake);
}

/** A text behind `head`, and below itself where a terminal is too narrow. */
function hanging(head: string, text: string, io: Io): string {
  const width = io.outIsTerminal ? io.columns : Infinity;
  return wrap(text, Math.max(20, width - head.length), "keep")
    .map((it, i) => `${i === 0 ? head : " ".repeat(head.length)}${it}\n`)
    .join("");
}

/** Sends one request and says who served it, on what and why. */
async function request(
  rotator: Rotator,
  n: number,
  events: readonly RotatorEvent[],
  signal: AbortSignal,
): Promise<string> {
  const response = await rotator.fetch("/responses", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "gpt-5.4",
      instructions: "Answer briefly.",
      input: [{ role: "user", content: `Question ${n}` }],
      store: false,
      stream: true,
    }),
    signal,
  });
  const text = await response.text();
  const alias = rotator.accountOf(response);
  const selected = events.findLast((it) => it.type === "selected");
  if (!response.ok || alias === undefined || selected === undefined) {
    return `${"-".padEnd(6)} refused   ${response.status}: ${refusal(text)}`;
  }
  return `${alias.padEnd(6)} ${
    selected.standing.padEnd(9)
  } ${await shortestWindow(
    rotator,
    alias,
  )}  ${sanitize(selected.reason)}`;
}

/** How far the account's shortest window is used now. */
async function shortestWindow(
  rotator: Rotator,
  alias: string,
): Promise<string> {
  const { accounts } = await rotator.status();
  const [window] = accounts.find((it) => it.alias === alias)?.windows ?? [];
  if (window === undefined) return "";
  const percent = `${window.usedPercent}%`.padStart(4);
  return `${windowLabel(window.windowSeconds)} ${percent}`;
}

function refusal(text: string): string {
  try {
    return sanitize(String(JSON.parse(text).error.message));
  } catch {
    return "no reason given";
  }
}

/** What the stand-in, which knows best, says was charged. */
function verdict(io: Io, fake: FakeCodex): number {
  const allowed = new Set<string | null>(ALLOWED);
  const wrong = fake.charged.filter((it) => !allowed.has(it.account));
  const served = fake.log.filter((it) =>
    it.kind === "responses" && it.status === 200
  );
  const charged = fake.charged.length;
  const text =
    `The stand-in served ${served.length} requests and charged ${charged} of them; ${
      wrong.length === 0 ? "none" : wrong.length
    } of those for an account that may not spend credits`;
  io.out(hanging("", text, io));
  return wrong.length === 0 ? EXIT.ok : EXIT.failed;
}
