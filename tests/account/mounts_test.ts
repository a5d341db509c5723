/**
 * `refresh`, twice, where the store or the linked file cannot be written or not
 * in the usual way: in mount namespaces, where this machine has them.
 */
import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import { writeBundle } from "../bundle.ts";
import { spawn } from "../spawn.ts";
import { commandOf } from "../runtimes.ts";
import { linkedSetUp, MINUTE, unlink } from "./linked.ts";

/** What is done to a file. */
interface Fault {
  name: string;
  /** A shell script; `$FILE` is in `$FOLDER`. */
  script: string;
  /** Run by another user than the one who owns the file. */
  asOther?: boolean;
  /** What tells why it cannot be written; undefined: it can. */
  code: string | undefined;
}

const MOUNTED = `mount --bind "$FILE" "$FILE"`;
const FAULTS: Fault[] = [
  {
    name: "mounted by itself and read-only",
    script: `${MOUNTED}; mount -o remount,bind,ro "$FILE"`,
    code: "E(?:ROFS|BUSY)",
  },
  {
    name: "in a folder that is mounted read-only",
    script: `mount --bind "$FOLDER" "$FOLDER"
      mount -o remount,bind,ro "$FOLDER"`,
    code: "EROFS",
  },
  {
    name: "in another user's folder",
    script: `chmod 755 "$FOLDER"; chmod 644 "$FILE"`,
    asOther: true,
    code: "EACCES",
  },
  {
    name: "on a full disk",
    script: `cp -a "$FOLDER" "$FOLDER.copy"
      mount -t tmpfs -o size=64k tmpfs "$FOLDER"
      cp -a "$FOLDER.copy/." "$FOLDER"
      cat /dev/zero > "$FOLDER/filler" || true`,
    code: "ENOSPC",
  },
];
const SINGLE = { name: "mounted by itself", script: MOUNTED, code: undefined };
const ALL = [SINGLE, ...FAULTS];

const folder = await Deno.makeTempDir();
await Deno.chmod(folder, 0o755);
const cli = join(folder, "cli.mjs");
const isPossible = await canMount();
if (isPossible) await writeBundle(cli);
else console.log("Skipped: mounts, which this machine lets no test make");
globalThis.addEventListener(
  "unload",
  () => Deno.removeSync(folder, { recursive: true }),
);

async function canMount(): Promise<boolean> {
  if (Deno.build.os !== "linux") return false;
  const script = "mount -t tmpfs tmpfs /mnt && setpriv --reuid 65534 true";
  try {
    return (await spawn(["unshare", "-m", "sh", "-c", script])).code === 0;
  } catch {
    return false;
  }
}

/** Refreshes twice while there is a fault, each time by a command of its own. */
async function refreshTwice(
  subject: "store" | "linked",
  { script, asOther }: Fault,
  lifetimeMs: number,
) {
  await using s = await linkedSetUp({ below: "links" });
  const { refresh } = await s.signIn("me", lifetimeMs);
  await s.link();
  await Deno.chmod(s.folder, 0o755);
  const FILE = subject === "store" ? s.storePath : s.file;
  const FOLDER = dirname(FILE);
  if (subject === "store") await unlink(s.storePath);
  const own = dirname(subject === "store" ? s.file : s.storePath);
  const as = asOther ? "setpriv --reuid 65534 --clear-groups" : "";
  const run = `set -e; ${script}
    ${asOther ? `chown -R 65534 ${own}` : ""}
    set +e; for turn in 1 2; do echo turn; ${as} "$@" 2>&1; done`;
  const flags = ["--store", s.storePath, "--backend", s.fake.backend];
  const { out, err } = await spawn(
    ["unshare", "-m", "sh", "-c", run, "sh", ...commandOf("node"), cli].concat(
      ["refresh", "--json", ...flags, "--issuer", s.fake.issuer],
    ),
    { env: { FILE, FOLDER, CODEX_ROTATOR_CREDIT_ACCOUNTS: "none" } },
  );
  const turns = out.split("turn\n").slice(1);
  assertEquals([turns.length, s.fake.violations], [2, []], out + err);
  assert(!out.includes(s.fake.canary));
  return {
    /** How each of them ended. */
    ok: turns.map((turn) => turn.includes('"ok": true')),
    turns,
    isShown: s.shown().length > 0,
    isReplaced: !(await Deno.readTextFile(FILE)).includes(refresh),
    path: FILE,
  };
}

for (const subject of ["store", "linked"] as const) {
  for (const fault of ALL) {
    const { name, code } = fault;
    const file = subject === "store" ? "store" : "linked file";
    const result = code === undefined
      ? "gets the new tokens"
      : "has no refresh token shown: the access token is used while it lives, then the reason is told";
    Deno.test({
      name: `a ${file} ${name} ${result}`,
      ignore: !isPossible,
      async fn() {
        const expired = await refreshTwice(subject, fault, -MINUTE);
        const valid = await refreshTwice(subject, fault, 4 * MINUTE);
        const isRenewed = code === undefined;
        for (const ran of [expired, valid]) {
          assertEquals(ran.isShown, isRenewed, ran.turns.join());
          assertEquals(ran.isReplaced, isRenewed);
        }
        assertEquals(valid.ok, [true, true], valid.turns.join());
        assertEquals(expired.ok, [isRenewed, isRenewed]);
        if (code === undefined) return;
        const reason = new RegExp(
          `${RegExp.escape(expired.path)}.*\\(${code}\\);`,
        );
        for (const turn of expired.turns) assert(reason.test(turn), turn);
      },
    });
  }
}
