import { quote } from "./format.ts";
import type { Runtime } from "./runtime.ts";

type Started = Pick<Runtime, "start" | "isWindows" | "peekEnv" | "peekText">;

const PACKAGE = "@codex-rotator/core";
const COMMAND = "codex-rotator";

/** Returns what a person types before a command to start this program again. */
export function programOf(runtime: Started): string {
  const { isWindows, peekEnv } = runtime;
  const { path, runner, folder } = runtime.start();
  const separator = isWindows ? "\\" : "/";
  const within = folder === undefined ? undefined : `${folder}${separator}`;
  const modules = path.lastIndexOf(`${separator}node_modules${separator}`);
  if (modules >= 0) {
    if (path.includes(`${separator}_npx${separator}`)) {
      return `npx -p ${PACKAGE} ${COMMAND}`;
    }
    const project = `${path.slice(0, modules)}${separator}`;
    return within?.startsWith(project) ? `npx ${COMMAND}` : COMMAND;
  }
  if (
    peekEnv("npm_lifecycle_event") === "start" &&
    peekEnv("npm_package_name") === PACKAGE
  ) return "npm start --";
  if (isInstalled(path, runtime)) return COMMAND;
  const isInside = within !== undefined && path.startsWith(within);
  const file = isInside ? path.slice(within.length) : path;
  return `${runner} ${quote(file, isWindows)}`;
}

/** Whether the command on the PATH, as `deno install` writes it, starts this file. */
function isInstalled(
  path: string,
  { isWindows, peekEnv, peekText }: Started,
): boolean {
  const [separator, ends] = isWindows ? ["\\", ";"] : ["/", ":"];
  const name = `${separator}${COMMAND}${isWindows ? ".cmd" : ""}`;
  const url = encodeURI(path.replaceAll(separator, "/"));
  return (peekEnv("PATH") ?? "").split(ends).some((it) =>
    it !== "" && peekText(`${it}${name}`)?.includes(url)
  );
}
