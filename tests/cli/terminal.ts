/** Runs the command line in a real pseudo-terminal. */
import { fromFileUrl } from "@std/path";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** util-linux's `script` gives a program a terminal of its own. */
export const hasTerminal = Deno.build.os === "linux" && (() => {
  try {
    return new Deno.Command("script", { args: ["--version"] })
      .outputSync().success;
  } catch {
    return false;
  }
})();

/** A command that runs in a terminal. */
export interface Session {
  /** All that it wrote so far. */
  readonly text: string;
  /** Types keys. */
  type(keys: string): Promise<void>;
  /** Waits until it has written `text` (again). */
  until(text: string, times?: number): Promise<void>;
  /** Waits for its end. */
  end(): Promise<number>;
}

/** Starts `cli.ts` in a terminal of the given width and height. */
export function startInTerminal(
  args: readonly string[],
  { columns = 80, rows = 24, env = {}, grants = ["-A"] }: {
    columns?: number;
    rows?: number;
    env?: Record<string, string>;
    /** What Deno is allowed before it asks. */
    grants?: readonly string[];
  } = {},
): Session {
  const call = [
    Deno.execPath(),
    ...["run", ...grants, "--no-check"],
    "cli.ts",
    ...args,
  ].map((it) => `'${it}'`).join(" ");
  const child = new Deno.Command("script", {
    args: [
      "-qec",
      `stty cols ${columns} rows ${rows}; exec ${call}`,
      "/dev/null",
    ],
    cwd: ROOT,
    env: {
      TERM: "xterm-256color",
      TZ: "UTC",
      NO_COLOR: "",
      // a locale that is not here has shells complain
      LC_ALL: "C",
      ...env,
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  let text = "";
  let wake = Promise.withResolvers<void>();
  const read = (async () => {
    const stream = child.stdout.pipeThrough(new TextDecoderStream());
    for await (const part of stream) {
      text += part;
      wake.resolve();
      wake = Promise.withResolvers();
    }
    wake.reject(new Error(`It ended after: ${JSON.stringify(text)}`));
    wake.promise.catch(() => {});
  })();
  return {
    get text() {
      return text;
    },
    type: (keys) => writer.write(new TextEncoder().encode(keys)),
    async until(wanted, times = 1) {
      while (text.split(wanted).length <= times) await wake.promise;
    },
    async end() {
      const { code } = await child.status;
      await read;
      await writer.close().catch(() => {});
      return code;
    },
  };
}
