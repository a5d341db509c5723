/**
 * Shows something again and again: in place on a terminal, one after the
 * other into a pipe.
 *
 * @module
 */
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { usageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { fit } from "./table.ts";
import { sanitize } from "./format.ts";

const DEFAULT_SECONDS = 2;
const SHORTEST_SECONDS = 0.1;
const LONGEST_SECONDS = 86_400;

// The other screen, so that what was there before comes back; no cursor.
const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
// All of a frame or nothing of it, where the terminal knows how.
const BEGIN = "\u001b[?2026h\u001b[H";
const END = "\u001b[J\u001b[?2026l";

/**
 * The interval that `--watch[=SECONDS]` asks for, ms.
 *
 * @throws {CliError} Exit code 2, when it is no sensible number.
 */
export function watchInterval(value: string): number {
  const seconds = value === "" ? DEFAULT_SECONDS : Number(value);
  if (seconds >= SHORTEST_SECONDS && seconds <= LONGEST_SECONDS) {
    return seconds * 1000;
  }
  throw usageError(
    `--watch=${
      sanitize(value)
    } is no interval; give seconds from ${SHORTEST_SECONDS} to ${LONGEST_SECONDS}, for example: --watch=5`,
  );
}

/** What is said aside while something else is on the screen. */
export interface Aside {
  /** As the one it was made of, but stderr is kept once `keep` was called. */
  readonly io: Io;
  keep(): void;
  /** The last of what was kept, each ended by a line feed. */
  kept(): string;
}

const MOST_KEPT = 3;

/** Keeps what would be written across the screen, to be shown below. */
export function aside(io: Io): Aside {
  let keeping = false;
  let lines: string[] = [];
  const err = (text: string) => {
    if (!keeping) io.err(text);
    else lines = [...lines.filter((it) => it !== text), text].slice(-MOST_KEPT);
  };
  return {
    io: Object.create(io, {
      err: { value: err },
      errIsTerminal: { get: () => io.errIsTerminal && !keeping },
    }),
    keep: () => void (keeping = true),
    kept: () => lines.join(""),
  };
}

/**
 * Shows what `read` returns until the person interrupts.
 *
 * @param interval ms
 * @param inPlace On a terminal, and not one after the other.
 * @param read What to show, read anew each time. What it throws the first time
 *   is thrown; later it is said, as it may pass.
 */
export async function watch(
  io: Io,
  interval: number,
  inPlace: boolean,
  read: () => Promise<string>,
): Promise<void> {
  let text = await read();
  const screen = inPlace ? openScreen(io) : undefined;
  const draw = screen ? screen.draw : (it: string) => io.out(it);
  const fail = screen ? screen.draw : (it: string) => io.err(it);
  draw(text);
  try {
    for (;;) {
      await pause(interval, io.signal);
      if (io.signal.aborted) break;
      try {
        text = await read();
      } catch (error) {
        fail(errorText(error));
        continue;
      }
      draw(text);
    }
  } finally {
    screen?.close();
  }
}

function errorText(error: unknown): string {
  return `Error: ${error instanceof Error ? sanitize(error.message) : error}\n`;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // interrupted: whoever waits looks at the signal
  await setTimeout(ms, undefined, { signal }).catch(() => {});
}

/** What is shown in place. */
interface Screen {
  draw(text: string): void;
  /** Leaves the terminal as it was found. */
  close(): void;
}

function openScreen(io: Io): Screen {
  let text = "";
  let shown = "";
  const redraw = () => {
    const frame = frameOf(text, io);
    // what has not changed need not be drawn
    if (frame !== shown) io.out(frame);
    shown = frame;
  };
  const terminate = () => {
    io.out(LEAVE);
    process.exit(143);
  };
  process.once("SIGTERM", terminate);
  process.stdout.on("resize", redraw);
  io.out(ENTER);
  return {
    draw(next) {
      text = next;
      redraw();
    },
    close() {
      process.off("SIGTERM", terminate);
      process.stdout.off("resize", redraw);
      io.out(LEAVE);
    },
  };
}

/** Draws over what is there line by line, as far as the terminal reaches. */
function frameOf(text: string, { columns, rows }: Io): string {
  const lines = clip(text.trimEnd().split("\n"), columns, rows);
  return BEGIN + lines.map((it) => `${it}\u001b[K`).join("\n") + END;
}

/** What is too much is left out before the last paragraph, which sums up. */
function clip(
  lines: readonly string[],
  columns: number,
  rows: number,
): readonly string[] {
  if (lines.length <= rows) return lines;
  const end = lines.slice(lines.lastIndexOf("")).slice(-(rows - 1));
  const room = rows - 1 - end.length;
  const hidden = lines.length - room - end.length;
  const mark = `… ${hidden} more lines; enlarge the terminal`;
  return [...lines.slice(0, room), fit(mark, columns), ...end];
}
