import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { commands } from "../../lib/cli/commands.ts";
import { run } from "./run.ts";

/** What bash offers after these words. */
async function offered(...words: string[]): Promise<string[]> {
  const { out } = await run(["completion", "bash"]);
  const script = `${out}
COMP_WORDS=(codex-rotator ${words.map((it) => `'${it}'`).join(" ")})
COMP_CWORD=${words.length}
_codex_rotator
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await new Deno.Command("bash", {
    args: ["--norc", "-c", script],
    // of a locale that is not here it would complain
    env: { LC_ALL: "C" },
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout).trim().split("\n");
}

Deno.test({
  name: "completion bash completes commands, their options and known words",
  ignore: Deno.build.os === "windows",
  async fn() {
    assertEquals(await offered("ref"), ["refresh"]);
    assertEquals(await offered("status", "--js"), ["--json"]);
    assertEquals(await offered("status", "--st"), ["--store"]);
    assertEquals(
      await offered("status", "--on"),
      ["--on-event", "--on-event-types"],
    );
    assertEquals(await offered("strategy", "dr"), ["drain"]);
    assertEquals(await offered("set", "work", "we"), ["weight="]);
    assertEquals(await offered("refresh", "--device"), [""]);
  },
});

Deno.test("completion prints a script for each shell that names all commands", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, out, err } = await run(["completion", shell]);
    assertEquals([code, err], [0, ""]);
    for (const name of commands.keys()) {
      assert(new RegExp(`\\b${name}\\b`).test(out), `${shell} ${name}`);
    }
    assertStringIncludes(
      out,
      shell === "fish" ? "-l weight".slice(0, 3) : "--json",
    );
  }
  const { code, err } = await run(["completion", "fis"]);
  assertEquals(code, 2);
  assertStringIncludes(err, "(did you mean fish?)");
});
