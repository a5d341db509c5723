import { assertEquals, assertThrows } from "@std/assert";
import { RotatorError } from "../../lib/errors.ts";
import { storePath } from "../../lib/store/paths.ts";
import { commandOf } from "../runtimes.ts";
import { spawn } from "../spawn.ts";
import { test, testOnDeno } from "../test.ts";

function pathIn(env: Record<string, string>, platform: "posix" | "windows") {
  return storePath((name) => env[name], platform === "windows");
}

test("storePath() takes CODEX_ROTATOR_STORE before all else", () => {
  const env = { CODEX_ROTATOR_STORE: "/s/a.json", XDG_CONFIG_HOME: "/x" };
  assertEquals(pathIn(env, "posix"), "/s/a.json");
});

test("storePath() follows XDG_CONFIG_HOME when it is absolute", () => {
  assertEquals(
    pathIn({ XDG_CONFIG_HOME: "/x", HOME: "/h" }, "posix"),
    "/x/codex-rotator/accounts.json",
  );
  assertEquals(
    pathIn({ XDG_CONFIG_HOME: "x", HOME: "/h" }, "posix"),
    "/h/.config/codex-rotator/accounts.json",
  );
});

test("storePath() uses APPDATA on Windows, else the profile", () => {
  const env = { APPDATA: "C:\\Data", USERPROFILE: "C:\\Users\\me" };
  assertEquals(
    pathIn(env, "windows"),
    "C:\\Data\\codex-rotator\\accounts.json",
  );
  assertEquals(
    pathIn({ USERPROFILE: "C:\\Users\\me" }, "windows"),
    "C:\\Users\\me\\.config\\codex-rotator\\accounts.json",
  );
});

test("storePath() treats empty variables as unset", () => {
  const env = { CODEX_ROTATOR_STORE: "", XDG_CONFIG_HOME: "", HOME: "/h" };
  assertEquals(
    pathIn(env, "posix"),
    "/h/.config/codex-rotator/accounts.json",
  );
});

test("storePath() says what to set when no folder is known", () => {
  const error = assertThrows(() => pathIn({}, "posix"), RotatorError);
  assertEquals(error.code, "store_unwritable");
  assertEquals(error.message.includes("CODEX_ROTATOR_STORE"), true);
});

test("storePath() takes a folder with a slash at its end, and the root", () => {
  const path = "codex-rotator/accounts.json";
  assertEquals(pathIn({ XDG_CONFIG_HOME: "/x/" }, "posix"), `/x/${path}`);
  assertEquals(pathIn({ HOME: "/" }, "posix"), `/.config/${path}`);
  assertEquals(
    pathIn({ APPDATA: "C:\\Data\\" }, "windows"),
    "C:\\Data\\codex-rotator\\accounts.json",
  );
});

testOnDeno(
  "defaultStorePath() reads no variable that it does not need",
  async () => {
    const module = new URL("../../lib/store/paths.ts", import.meta.url);
    const code = `import { defaultStorePath } from ${JSON.stringify(module)};
    console.log(defaultStorePath());`;
    const { out, err } = await spawn([
      ...commandOf("deno", ["--allow-env=CODEX_ROTATOR_STORE"]),
      `data:text/typescript,${encodeURIComponent(code)}`,
    ], { env: { CODEX_ROTATOR_STORE: "/only/this.json" } });
    assertEquals([out, err], ["/only/this.json\n", ""]);
  },
);
