import { type AddedLogin, addLogin } from "../account/import.ts";
import { signInByBrowser } from "../account/login_browser.ts";
import { LOOPBACKS } from "../account/login_callback.ts";
import {
  DEVICE_SETTING,
  type LoginOptions,
  signInByDevice,
} from "../account/login.ts";
import type { ImportedLogin } from "../account/login_files.ts";
import { CLIENT_ID, LOGIN_PORTS } from "../codex/endpoints.ts";
import { creditNote, renameHint, settleCredits } from "./added.ts";
import { duration, nameOf, sanitize, suggestCommand, texts } from "./format.ts";
import { demand, isGranted } from "./granted.ts";
import { changeStore, openStore, refreshQuietly } from "./open.ts";
import {
  type Command,
  type Context,
  issuerOf,
  requireAlias,
} from "./options.ts";
import { renderStatus } from "./status_table.ts";
import { statusReader } from "./stored_status.ts";
import { systemFetch } from "../account/context.ts";

export const command: Command = {
  help: `
Signs in to a ChatGPT account and adds it to the store. Run it once for each
account; the logins do not touch each other, nor those of other tools. Signing
in again to an account that is known renews its login.

The browser opens, or open the address that is shown. When the browser runs on
another machine, as over SSH, it ends on an address that does not load: paste
that address here. With --device no browser on this machine is needed at all.

It signs in with the public client id of OpenAI's Codex CLI, so OpenAI's page
asks about Codex.

Options:
  --device         show a code to enter on another device

Examples:
  codex-rotator login
  codex-rotator login work
  codex-rotator login work --device
`,
  operands: [0, 1],
  needs: { write: true, network: true, policy: true },
  grants: ({ flags }) =>
    flags.on("device")
      ? {}
      : { net: LOGIN_PORTS.map((port) => `127.0.0.1:${port}`) },
  run,
};

async function run(context: Context): Promise<void> {
  const { io, flags, note, operands: [alias] } = context;
  requireAlias(alias);
  // a store that cannot be used is found out before a person has signed in
  const store = openStore(context);
  await store.read();
  await store.update(() => {});
  const issuer = issuerOf(context);
  const options: LoginOptions = {
    issuer,
    fetch: systemFetch,
    signal: io.signal,
  };
  note(
    `Signing in at ${issuer}, with the public client id of OpenAI's Codex CLI (${CLIENT_ID})`,
  );
  const kept = flags.on("device")
    ? await keep(context, await byDevice(context, options))
    : await byBrowser(context, options);
  await showUsage(context, kept);
}

async function byDevice(
  { io, note }: Context,
  options: LoginOptions,
): Promise<ImportedLogin> {
  // a person who goes through it without would only be refused at the end
  note(`For this, ${DEVICE_SETTING}`);
  try {
    return await signInByDevice({
      ...options,
      onCode({ userCode, page, lifetimeMs }) {
        io.err(`\nOpen this page on any device:\n\n  ${page}\n\n`);
        const limit = duration(lifetimeMs);
        note(
          `and enter this code there, within ${limit} and only if you started this yourself:`,
        );
        io.err(`\n  ${sanitize(userCode)}\n\n`);
        io.err(`Waiting for the sign-in …${io.errIsTerminal ? "" : "\n"}`);
      },
    });
  } finally {
    // its place is taken by what comes of it
    if (io.errIsTerminal) io.err("\r\u001b[K");
  }
}

async function byBrowser(
  context: Context,
  options: LoginOptions,
): Promise<AddedLogin> {
  const { io, note } = context;
  demand("net", `127.0.0.1:${LOGIN_PORTS[0]}`);
  const isSecondGranted = LOGIN_PORTS.every((port) =>
    isGranted("net", `[::1]:${port}`)
  );
  let kept: AddedLogin | undefined;
  await signInByBrowser({
    ...options,
    async keep(login) {
      kept = await keep(context, login);
    },
    loopbacks: isSecondGranted ? LOOPBACKS : LOOPBACKS.slice(0, 1),
    onAddress({ url, open }) {
      io.err(`Open this address in a browser:\n\n${url}\n\n`);
      const ports = LOGIN_PORTS.join(" and ");
      note(
        open
          ? "When the browser runs on another machine, paste the address it ends on here:"
          : `The ports ${ports} are taken: paste the address that the browser ends on here:`,
      );
      if (open) io.openUrl?.(open);
    },
    pasted: io.lines?.bind(io),
    onUseless: note,
  });
  return kept!;
}

async function keep(
  context: Context,
  login: ImportedLogin,
): Promise<AddedLogin> {
  const { operands: [wanted] } = context;
  let added: AddedLogin | undefined;
  await changeStore(context, (state) => {
    const links = new Map(
      Object.entries(state.accounts).map(([name, { source }]) =>
        [name, source?.path] as const
      ),
    );
    // the tokens are here now: a taken alias must not lose them
    const isTaken = wanted !== undefined && links.has(wanted);
    const alias = isTaken ? undefined : wanted;
    added = addLogin(state, login, { alias, fresh: true });
    const unlinked = links.get(added.alias);
    return texts(
      confirmation(added, login, wanted),
      unlinked &&
        `${added.alias} has a login of its own now and is not linked to ${unlinked} any more`,
      creditNote(state, added),
    );
  });
  return added!;
}

function confirmation(
  { alias, added }: AddedLogin,
  login: ImportedLogin,
  wanted: string | undefined,
): string {
  const name = nameOf(alias, login);
  if (!added) {
    return `${name} is signed in again${renameHint(alias, wanted)}`;
  }
  const change = suggestCommand("rename", alias, "NEW");
  return wanted === undefined || wanted === alias
    ? `${name} is signed in and added`
    : `${name} is signed in and added; ${wanted} is another account already, change the alias with: ${change}`;
}

/** The account is kept by now, so nothing that goes wrong here is a failure. */
async function showUsage(
  context: Context,
  { alias, added }: AddedLogin,
): Promise<void> {
  const { io } = context;
  for (const { error } of await refreshQuietly(context, [alias])) {
    const again = suggestCommand("refresh", alias);
    context.note(`Its usage was not told: ${error}; ask again with: ${again}`);
  }
  if (added) await settleCredits(context, [alias]);
  const { columns, color } = io;
  const report = await statusReader(context)();
  io.out(renderStatus(report, { columns, color, now: io.now() }));
}
