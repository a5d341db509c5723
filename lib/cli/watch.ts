/** Shows something again and again: in place on a terminal, one after the other into a pipe. */
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { messageOf } from "../errors.ts";
import { sanitize } from "./format.ts";
import type { Io } from "./io.ts";
import { usageError } from "./messages.ts";
import { fit } from "./table.ts";

const DEFAULT_SECONDS = 2;
const MIN_SECONDS = 0.1;
const MAX_SECONDS = 86_400;
/** Messages that are kept below what is shown. */
const MAX_MESSAGES = 3;

// The other screen, so that what was there before comes back; no cursor.
const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
// All of a frame or nothing of it, where the terminal knows how.
const BEGIN = "\u001b[?2026h\u001b[H";
const END = "\u001b[J\u001b[?2026l";

export function watchInterval(value: string): number {
  const seconds = value === "" ? DEFAULT_SECONDS : Number(value);
  if (seconds >= MIN_SECONDS && seconds <= MAX_SECONDS) return seconds * 1000;
  throw usageError(
    `--watch=${value} is no interval; give seconds from ${MIN_SECONDS} to ${MAX_SECONDS}, for example: --watch=5`,
  );
}

export interface Display {
  /** Keeps messages below what is shown, where they would be written across it. */
  readonly io: Io;
  show(text: string): void;
  fail(error: unknown): void;
  close(): void;
}

/** Shows what `read` returns until the person interrupts. What it throws first is thrown; later it is shown, as it may pass. */
export async function watch(
  display: Display,
  interval: number,
  read: () => Promise<string>,
): Promise<void> {
  const { signal } = display.io;
  display.show(await read());
  try {
    for (;;) {
      await setTimeout(interval, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      await read().then(display.show, display.fail);
    }
  } finally {
    display.close();
  }
}

export function sequence(io: Io): Display {
  const fail = (error: unknown) => io.err(failure(error));
  return { io, show: io.out, fail, close: () => {} };
}

export function screen(io: Io): Display {
  let isOpen = false;
  let text = "";
  let shown = "";
  let messages: string[] = [];
  const draw = () => {
    const frame = frameOf(text + messages.join(""), io);
    // what has not changed need not be drawn
    if (frame !== shown) io.out(frame);
    shown = frame;
  };
  const terminate = () => {
    io.out(LEAVE);
    process.exit(143);
  };
  const show = (next: string) => {
    if (!isOpen) {
      isOpen = true;
      process.once("SIGTERM", terminate);
      process.stdout.on("resize", draw);
      io.out(ENTER);
    }
    text = next;
    draw();
  };
  const err = (message: string) => {
    if (!isOpen) return io.err(message);
    messages = [...messages.filter((it) => it !== message), message]
      .slice(-MAX_MESSAGES);
  };
  return {
    io: Object.create(io, {
      err: { value: err },
      errIsTerminal: { get: () => io.errIsTerminal && !isOpen },
    }),
    show,
    fail: (error) => show(failure(error)),
    close() {
      process.off("SIGTERM", terminate);
      process.stdout.off("resize", draw);
      io.out(LEAVE);
    },
  };
}

function failure(error: unknown): string {
  return `Error: ${sanitize(messageOf(error))}\n`;
}

/** Draws over what is there line by line; what is too much is left out before the last paragraph, which sums up. */
function frameOf(text: string, { columns, rows }: Io): string {
  const lines = text.trimEnd().split("\n");
  if (lines.length > rows) {
    const end = lines.slice(lines.lastIndexOf("")).slice(-(rows - 1));
    const room = rows - 1 - end.length;
    const hidden = lines.length - room - end.length;
    const mark = `… ${hidden} more lines; enlarge the terminal`;
    lines.splice(room, Infinity, fit(mark, columns), ...end);
  }
  return BEGIN + lines.map((it) => `${it}\u001b[K`).join("\n") + END;
}
