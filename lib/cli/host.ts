/**
 * The runtime as the command line needs it.
 *
 * @module
 */

/** What a process is given, and how it answers. */
export interface Host {
  /** Without the program's name. */
  readonly args: readonly string[];
  readonly isWindows: boolean;
  /** Whether NO_COLOR asks for none. */
  readonly noColor: boolean;
  env(name: string): string | undefined;
  write(to: "out" | "err", text: string): void;
  isTerminal(stream: "out" | "err"): boolean;
  /** Of the terminal on stdout, now; undefined when there is none. */
  size(): { columns: number; rows: number } | undefined;
  /** The text of a regular file, where it can be had with one quick look. */
  quickRead?(path: string): string | undefined;
  /** Has `listener` called instead of the process ended by Ctrl-C. */
  onInterrupt(listener: () => void): void;
  /** Ends the process after `ms`, unless it has ended before. */
  exitAfter(ms: number, code: number): void;
  exit(code: number): never;
  /** Ends the process: all is done. */
  finish(code: number): void;
}
