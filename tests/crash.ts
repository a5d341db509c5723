/** Processes that are killed at any one of their changes to files, or see it fail, where a C compiler is there. */
import { fromFileUrl, join } from "@std/path";

const SOURCE = fromFileUrl(new URL("./crash.c", import.meta.url));

/** Where in its changes a process is killed, or sees one fail. */
export interface CrashPoint {
  /** 1 for the first change. */
  at: number;
  /** A number: the change fails with this errno. */
  mode: "before" | "after" | "half" | number;
}

/**
 * Builds the library that kills.
 *
 * @param folder Where to.
 * @returns Its path, or undefined where it cannot be built or used.
 */
export async function buildCrash(folder: string): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  const library = join(folder, "crash.so");
  const flags = ["-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"];
  try {
    const cc = new Deno.Command("cc", { args: flags, stderr: "null" });
    return (await cc.output()).success ? library : undefined;
  } catch {
    return undefined;
  }
}

/** The environment of a process that is killed at a point; without one it is only watched. */
export function crashEnv(
  library: string,
  folder: string,
  options: { point?: CrashPoint; log?: string },
): Record<string, string> {
  const { point, log } = options;
  return {
    LD_PRELOAD: library,
    CRASH_DIR: folder,
    ...(point ? { CRASH_AT: `${point.at}`, CRASH_MODE: `${point.mode}` } : {}),
    ...(log ? { CRASH_LOG: log } : {}),
  };
}
