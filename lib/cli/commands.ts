import type { CommandTable } from "./options.ts";

/** All commands, in the order in which the help shows them. */
export const commands: CommandTable = new Map([
  ["status", {
    usage: "status [ALIAS…] [OPTIONS]",
    summary: "shows who can serve, on what, and until when",
    load: () => import("./status.ts"),
  }],
  ["refresh", {
    usage: "refresh [ALIAS…] [--json]",
    summary: "asks the backend how much usage is left",
    load: () => import("./refresh.ts"),
  }],
  ["login", {
    usage: "login [ALIAS] [--device]",
    summary: "signs in; the way to add several accounts",
    load: () => import("./login.ts"),
  }],
  ["import", {
    usage: "import [FILE] [--alias NAME] [--from TOOL] [--copy] [--settings]",
    summary: "adds the accounts that other tools are signed in with",
    load: () => import("./import.ts"),
  }],
  ["credits", {
    usage: "credits [all | none | ALIAS…] [--cap [ALIAS=]CAP]",
    summary: "shows or sets who may spend purchased credits, and how much",
    load: () => import("./credits.ts"),
  }],
  ["spend", {
    usage: "spend [--by KEY] [--since TIME] [--json] [--html FILE]",
    summary: "shows what was served and what was paid",
    load: () => import("./spend.ts"),
  }],
  ["set", {
    usage: "set ALIAS [weight=N] [priority=N] [reserve=PERCENT]",
    summary: "shows or sets what decides between equal accounts",
    load: () => import("./set.ts"),
  }],
  ["strategy", {
    usage: "strategy [NAME]",
    summary: "shows or sets the order in which accounts serve",
    load: () => import("./strategy.ts"),
  }],
  ["use", {
    usage: "use ALIAS | --auto",
    summary: "lets one account alone serve, or all again",
    load: () => import("./use.ts"),
  }],
  ["enable", {
    usage: "enable ALIAS…",
    summary: "lets accounts serve again",
    load: async () => ({ command: (await import("./enable.ts")).enable }),
  }],
  ["disable", {
    usage: "disable ALIAS…",
    summary: "keeps accounts from serving",
    load: async () => ({ command: (await import("./enable.ts")).disable }),
  }],
  ["rename", {
    usage: "rename OLD NEW",
    summary: "gives an account another alias",
    load: () => import("./rename.ts"),
  }],
  ["remove", {
    usage: "remove ALIAS… [--yes]",
    summary: "forgets accounts and their tokens",
    load: () => import("./remove.ts"),
  }],
  ["doctor", {
    usage: "doctor [--offline] [--emails] [--json]",
    summary: "looks for what is wrong, and says what to do",
    load: () => import("./doctor.ts"),
  }],
  ["restore", {
    usage: "restore",
    summary: "puts the backup of the store back",
    load: () => import("./restore.ts"),
  }],
  ["serve", {
    usage: "serve [--port N] [--host H] [--log] [--no-key] [--show-key]",
    summary: "lets agents that know only a base URL rotate too",
    load: () => import("./serve.ts"),
  }],
  ["demo", {
    usage: "demo",
    summary: "shows the rotation at work; needs no account and no internet",
    load: () => import("./demo.ts"),
  }],
  ["completion", {
    usage: "completion bash | zsh | fish",
    summary: "prints a script that lets a shell complete commands",
    load: () => import("./completion.ts"),
  }],
]);

/** What other tools call a command. */
export const SYNONYMS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    status: "list ls ps show info whoami who accounts usage limits quota",
    login: "add auth signin sign-in connect",
    remove: "logout rm delete del signout unlink",
    use: "switch select pin activate default unpin",
    refresh: "update sync reload check",
    rename: "mv alias",
    credits: "cap budget",
    spend: "spending spent cost costs bill ledger history ccusage",
    strategy: "config settings rotation",
    serve: "server proxy gateway",
    doctor: "diagnose debug verify",
    help: "commands",
  }).flatMap(([command, names]) =>
    names.split(" ").map((name) => [name, command])
  ),
);
