import { assertEquals, assertThrows } from "@std/assert";
import { RotatorError } from "../../lib/errors.ts";
import { defaultStorePath } from "../../lib/store/paths.ts";

Deno.test("defaultStorePath() takes CODEX_ROTATOR_STORE before all else", () => {
  const env = { CODEX_ROTATOR_STORE: "/s/a.json", XDG_CONFIG_HOME: "/x" };
  assertEquals(defaultStorePath(env, "linux"), "/s/a.json");
});

Deno.test("defaultStorePath() follows XDG_CONFIG_HOME when it is absolute", () => {
  assertEquals(
    defaultStorePath({ XDG_CONFIG_HOME: "/x", HOME: "/h" }, "linux"),
    "/x/codex-rotator/accounts.json",
  );
  assertEquals(
    defaultStorePath({ XDG_CONFIG_HOME: "x", HOME: "/h" }, "darwin"),
    "/h/.config/codex-rotator/accounts.json",
  );
});

Deno.test("defaultStorePath() uses APPDATA on Windows, else the profile", () => {
  const env = { APPDATA: "C:\\Data", USERPROFILE: "C:\\Users\\me" };
  assertEquals(
    defaultStorePath(env, "win32"),
    "C:\\Data\\codex-rotator\\accounts.json",
  );
  assertEquals(
    defaultStorePath({ USERPROFILE: "C:\\Users\\me" }, "win32"),
    "C:\\Users\\me\\.config\\codex-rotator\\accounts.json",
  );
});

Deno.test("defaultStorePath() treats empty variables as unset", () => {
  const env = { CODEX_ROTATOR_STORE: "", XDG_CONFIG_HOME: "", HOME: "/h" };
  assertEquals(
    defaultStorePath(env, "linux"),
    "/h/.config/codex-rotator/accounts.json",
  );
});

Deno.test("defaultStorePath() says what to set when no folder is known", () => {
  const error = assertThrows(() => defaultStorePath({}, "linux"), RotatorError);
  assertEquals(error.code, "store_unwritable");
  assertEquals(error.message.includes("CODEX_ROTATOR_STORE"), true);
});

Deno.test("defaultStorePath() reads no variable that it does not need", async () => {
  const module = new URL("../../lib/store/paths.ts", import.meta.url);
  const code = `import { defaultStorePath } from ${JSON.stringify(module)};
    console.log(defaultStorePath());`;
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-env=CODEX_ROTATOR_STORE",
      `data:text/typescript,${encodeURIComponent(code)}`,
    ],
    env: { CODEX_ROTATOR_STORE: "/only/this.json" },
    stderr: "inherit",
  }).output();
  assertEquals(success, true);
  assertEquals(new TextDecoder().decode(stdout).trim(), "/only/this.json");
});
