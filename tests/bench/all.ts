/** All measurements, one after the other, each on the runtimes that it is for. */
import { commandOf, RUNTIMES } from "../runtimes.ts";

const HERE = new URL(".", import.meta.url);

async function run(command: readonly string[], ...args: string[]) {
  const [program, ...flags] = command;
  const { code } = await new Deno.Command(program!, {
    args: [...flags, ...args],
    stdout: "inherit",
    stderr: "inherit",
  }).spawn().status;
  if (code !== 0) Deno.exitCode = 1;
}

function fileOf(name: string): string {
  return decodeURIComponent(new URL(name, HERE).pathname);
}

console.log("## Added per request\n");
for (const runtime of RUNTIMES) {
  await run(commandOf(runtime), fileOf("overhead.ts"));
}
