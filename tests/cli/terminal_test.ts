import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { startFakeCodex } from "../../lib/testing/fake_codex.ts";
import { textWidth } from "../../lib/cli/table.ts";
import { account, bench } from "./run.ts";
import { hasTerminal, startInTerminal } from "./terminal.ts";

const ignore = !hasTerminal;
// deno-lint-ignore no-control-regex
const COLORS = /\u001b\[\d+m/g;
// deno-lint-ignore no-control-regex
const ESCAPES = /\u001b\[[?\d;]*[a-zA-Z]/g;

Deno.test({
  name: "status in a terminal is coloured and keeps to its width",
  ignore,
  async fn() {
    await using it = await bench({
      alice: account("alice"),
      ["b".repeat(64)]: account("bob", { enabled: false }),
    });
    for (const columns of [60, 80, 120]) {
      const status = startInTerminal(["status", "--store", it.path], {
        columns,
      });
      assertEquals(await status.end(), 0, status.text);
      assertStringIncludes(status.text, "\u001b[2munknown");
      const lines = status.text.replace(ESCAPES, "").split("\r\n");
      for (const line of lines) {
        // a command is not broken
        const isCommand = line.includes("cli.ts credits none");
        assert(isCommand || textWidth(line) <= columns, line);
      }
    }
  },
});

Deno.test({
  name: "status in a terminal obeys NO_COLOR, --no-color and TERM=dumb",
  ignore,
  async fn() {
    await using it = await bench({ alice: account("alice") });
    const args = ["status", "--store", it.path];
    const cases: [Record<string, string>, string[]][] = [
      [{ NO_COLOR: "1" }, []],
      [{ TERM: "dumb" }, []],
      [{}, ["--no-color"]],
    ];
    for (const [env, flags] of cases) {
      const status = startInTerminal([...args, ...flags], { env });
      assertEquals(await status.end(), 0, status.text);
      assertStringIncludes(status.text, "alice");
      assertEquals(status.text.match(COLORS), null);
    }
  },
});

Deno.test({
  name: "status --watch draws in place and leaves the terminal as it was",
  ignore,
  async fn() {
    await using it = await bench({ alice: account("alice") });
    const args = ["status", "--watch=0.1", "--store", it.path];
    const watched = startInTerminal(args);
    await watched.until("unknown");
    // not drawn again before something changes
    const state = it.state();
    state.accounts.alice!.enabled = false;
    await Deno.writeTextFile(it.path, JSON.stringify(state));
    await watched.until("disabled");
    await watched.type("\x03");
    assertEquals(await watched.end(), 130);
    const { text } = watched;
    const enter = text.indexOf("\u001b[?1049h\u001b[?25l");
    const leave = text.indexOf("\u001b[?25h\u001b[?1049l");
    assert(enter >= 0 && leave > enter, JSON.stringify(text));
    assertEquals(text.slice(leave), "\u001b[?25h\u001b[?1049l");
    // in place: each frame begins at the top and clears line by line
    const frames = text.slice(enter, leave).split("\u001b[?2026h").slice(1);
    assertEquals(frames.length, 2);
    for (const frame of frames) {
      assert(frame.startsWith("\u001b[H") && !frame.includes("\u001b[2J"));
      for (const line of frame.split("\r\n").slice(0, -1)) {
        assert(line.trimEnd().endsWith("\u001b[K"), JSON.stringify(line));
      }
    }
  },
});

Deno.test({
  name: "status --watch shows the sum where not all rows fit",
  ignore,
  async fn() {
    const names = Array.from({ length: 30 }, (_, i) => `account-${i}`);
    await using it = await bench(
      Object.fromEntries(names.map((name) => [name, account(name)])),
    );
    const args = ["status", "--watch=0.1", "--store", it.path];
    const watched = startInTerminal(args, { columns: 120, rows: 12 });
    await watched.until("Everyone may spend");
    await watched.type("\x03");
    assertEquals(await watched.end(), 130);
    const [, frame = ""] = watched.text.split("\u001b[?2026h");
    const lines = frame.split("\u001b[J")[0]!.split("\n");
    assertEquals(lines.length, 12);
    assertStringIncludes(frame, "more lines; enlarge the terminal");
    assertStringIncludes(frame, "30 unknown until asked");
  },
});

Deno.test({
  name: "status --watch goes on when the store cannot be read for a while",
  ignore,
  async fn() {
    await using it = await bench({ alice: account("alice") });
    const whole = await Deno.readTextFile(it.path);
    const args = ["status", "--watch=0.1", "--store", it.path];
    const watched = startInTerminal(args, { columns: 120 });
    await watched.until("unknown");
    await Deno.writeTextFile(it.path, whole.slice(0, -9));
    await watched.until("Error: ");
    await Deno.writeTextFile(it.path, whole);
    await watched.until("unknown", 2);
    await watched.type("\x03");
    assertEquals(await watched.end(), 130);
  },
});

Deno.test({
  name: "refresh in a terminal shows its progress and takes it away again",
  ignore,
  async fn() {
    await using fake = await startFakeCodex({ accounts: { me: {}, you: {} } });
    const login = (name: string) => {
      const { access, refresh, id, expiresAt } = fake.tokens(name);
      return account(name, { tokens: { access, refresh, id, expiresAt } });
    };
    await using it = await bench({ me: login("me"), you: login("you") });
    const refresh = startInTerminal([
      "refresh",
      "--store",
      it.path,
      "--backend",
      fake.backend,
      "--issuer",
      fake.issuer,
    ]);
    assertEquals(await refresh.end(), 0, refresh.text);
    assertStringIncludes(refresh.text, "\r\u001b[KRefreshed 1 of 2");
    assertStringIncludes(
      refresh.text,
      "Refreshed 1 of 2\r\u001b[K    \u001b[2m5h, resets in",
    );
  },
});

Deno.test({
  name: "refresh without permissions asks once for variables, folder and host",
  ignore,
  async fn() {
    await using fake = await startFakeCodex({ accounts: { me: {} } });
    const { access, refresh, id, expiresAt } = fake.tokens("me");
    const tokens = { access, refresh, id, expiresAt };
    await using it = await bench({ me: account("me", { tokens }) });
    const started = startInTerminal([
      ...["refresh", "--store", it.path],
      ...["--backend", fake.backend, "--issuer", fake.issuer],
    ], { grants: [], columns: 120, env: { NO_COLOR: "1" } });
    let hasEnded = false;
    const ended = started.end().finally(() => hasEnded = true);
    // Deno drops what was typed before it listens
    while (!hasEnded) {
      await started.type("y\n").catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assertEquals(await ended, 0, started.text);
    const questions = started.text.matchAll(/Deno requests (.*)\.\r/g);
    assertEquals(
      [...new Set([...questions].map(([, it]) => it))],
      [
        "env access",
        `read access to "${it.folder}"`,
        `write access to "${it.folder}"`,
        `net access to "${new URL(fake.backend).host}"`,
      ],
    );
    assertStringIncludes(started.text.replace(ESCAPES, ""), "included");
  },
});

Deno.test({
  name: "remove in a terminal removes only what a person says yes to",
  ignore,
  async fn() {
    await using it = await bench({ alice: account("alice") });
    for (const [answer, code] of [["", 1], ["yes", 0]] as const) {
      const args = ["remove", "alice", "--store", it.path];
      const started = startInTerminal(args);
      await started.until("Forget alice and the tokens? [y/N] ");
      await started.type(`${answer}\n`);
      assertEquals(await started.end(), code, started.text);
      assertEquals("alice" in it.state().accounts, code === 1);
    }
  },
});
