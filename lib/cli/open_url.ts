import { spawn } from "node:child_process";
import process from "node:process";
import { isGranted } from "./granted.ts";

const OPENERS: Readonly<Record<string, readonly string[]>> = {
  darwin: ["open"],
  win32: ["rundll32", "url.dll,FileProtocolHandler"],
};

/** Opens an address in the person's browser, where there is one and Deno permits it without asking. */
export function openUrl(url: string): void {
  const [command = "", ...args] = OPENERS[process.platform] ?? ["xdg-open"];
  if (!isGranted({ name: "run", command })) return;
  try {
    const child = spawn(command, [...args, url], {
      stdio: "ignore",
      detached: true,
    });
    // the address is shown as well, so nothing is lost without an opener
    child.on("error", () => {});
    child.unref();
  } catch {
    // likewise
  }
}
