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
import { isAlias } from "../pool/credits.ts";
import { VERSION } from "../version.ts";
import { creditNote, nameOf, renameHint } from "./added.ts";
import { type Command, type Context, issuerOf } from "./options.ts";
import { EXIT, usageError } from "./exit.ts";
import { demandListening, isGranted } from "./granted.ts";
import { openOnlineRotator, openStore, refreshAccounts } from "./open.ts";
import { renderStatus } from "./render_status.ts";
import { notAnAlias } from "./rename.ts";
import { duration, sanitize, suggestCommand } from "./format.ts";

const CALLBACK_HOSTS = ["127.0.0.1", "[::1]"].flatMap((host) =>
  LOGIN_PORTS.map((port) => `${host}:${port}`)
);

/** `login`: signs in, in the browser or by device code. */
export const command: Command = {
  help: `
Signs in to a ChatGPT account and adds it to the store. Run it once for each
account; the logins do not touch each other, nor those of other tools. Signing
in again to an account that is known renews its login.

The browser opens, or open the address that is shown. When the browser runs on
another machine, as over SSH, it ends on an address that does not load: paste
that address here. With --device no browser on this machine is needed at all.

It signs in with the public client id of OpenAI's Codex CLI, as there is no
other for this; OpenAI's page therefore asks about Codex.

Options:
  --device         show a code to enter on another device

Examples:
  cli.ts login
  cli.ts login work
  cli.ts login work --device
`,
  booleans: ["device"],
  operands: [0, 1],
  needs: { write: true, network: true, policy: true },
  grants: ({ flags }) => flags.on("device") ? {} : { net: CALLBACK_HOSTS },
  run,
};

async function run(context: Context): Promise<number> {
  const { io, flags, operands: [alias] } = context;
  if (alias !== undefined && !isAlias(alias)) {
    throw usageError(notAnAlias(alias));
  }
  // a store that cannot be used is found out before a person has signed in
  const store = openStore(context);
  await store.read();
  await store.update(() => {});
  const issuer = issuerOf(context);
  const options: LoginOptions = {
    issuer,
    version: VERSION,
    fetch: (input, init) => fetch(input, init),
    signal: io.signal,
  };
  io.err(
    `Signing in at ${issuer}, with the public client id of OpenAI's Codex CLI (${CLIENT_ID})\n`,
  );
  const kept = flags.on("device")
    ? await keep(context, await byDevice(context, options))
    : await byBrowser(context, options);
  await showUsage(context, kept);
  return EXIT.ok;
}

async function byDevice(
  { io }: Context,
  options: LoginOptions,
): Promise<ImportedLogin> {
  // a person who goes through it without would only be refused at the end
  io.err(`For this, ${DEVICE_SETTING}\n`);
  return await signInByDevice({
    ...options,
    onCode({ userCode, page, lifetimeMs }) {
      io.err(
        `Open ${page} on any device and enter the code ${
          sanitize(userCode)
        }\n` +
          `It is good for ${
            duration(lifetimeMs)
          }. Enter it only if you started this yourself.\n`,
      );
    },
  });
}

async function byBrowser(
  context: Context,
  options: LoginOptions,
): Promise<string> {
  const { io } = context;
  demandListening(`127.0.0.1:${LOGIN_PORTS[0]}`);
  const isSecondGranted = LOGIN_PORTS.every((port) =>
    isGranted({ name: "net", host: `[::1]:${port}` })
  );
  let kept = "";
  await signInByBrowser({
    ...options,
    async keep(login) {
      kept = await keep(context, login);
    },
    loopbacks: isSecondGranted ? LOOPBACKS : LOOPBACKS.slice(0, 1),
    onAddress({ url, open }) {
      io.err(`Open this address in a browser:\n\n${url}\n\n`);
      io.err(
        open
          ? "When the browser runs on another machine, paste the address it ends on here:\n"
          : `The ports ${
            LOGIN_PORTS.join(" and ")
          } are taken: paste the address that the browser ends on here:\n`,
      );
      if (open) io.openUrl?.(open);
    },
    pasted: io.lines?.bind(io),
    onUseless: (reason) => io.err(`${sanitize(reason)}\n`),
  });
  return kept;
}

/** @returns The alias that the account has. */
async function keep(context: Context, login: ImportedLogin): Promise<string> {
  const { io, operands: [wanted] } = context;
  let added: AddedLogin | undefined;
  let unlinked: string | undefined;
  const state = await openStore(context).update((state) => {
    // the tokens are here now: a taken alias must not lose them
    const isTaken = wanted !== undefined &&
      Object.hasOwn(state.accounts, wanted);
    const links = new Map(
      Object.entries(state.accounts).map(([name, it]) => [name, it.source]),
    );
    added = addLogin(state, login, {
      alias: isTaken ? undefined : wanted,
      fresh: true,
    });
    unlinked = links.get(added.alias)?.path;
  });
  io.out(confirmation(added!, login, wanted));
  if (unlinked !== undefined) {
    io.out(
      `${added!.alias} has a login of its own now and is not linked to ${
        sanitize(unlinked)
      } any more\n`,
    );
  }
  io.out(creditNote(state, added!));
  return added!.alias;
}

function confirmation(
  { alias, added }: AddedLogin,
  login: ImportedLogin,
  wanted: string | undefined,
): string {
  const name = nameOf(alias, login);
  if (!added) {
    return `${name} is signed in again${renameHint(alias, wanted)}\n`;
  }
  const taken = wanted === undefined || wanted === alias
    ? ""
    : `; ${wanted} is another account already, change the alias with: ${
      suggestCommand(`rename ${alias} NEW`)
    }`;
  return `${name} is signed in and added${taken}\n`;
}

/** The account is kept by now, so nothing that goes wrong here is a failure. */
async function showUsage(context: Context, alias: string): Promise<void> {
  const { io } = context;
  const rotator = openOnlineRotator(context);
  try {
    const { accounts: [refreshed] } = await refreshAccounts(
      rotator,
      context,
      [alias],
    );
    if (refreshed?.ok !== true) {
      io.err(
        `Its usage was not told: ${
          sanitize(refreshed?.error ?? "no answer")
        }; ask again with: ${suggestCommand(`refresh ${alias}`)}\n`,
      );
    }
    const report = await rotator.status();
    const { columns, color } = io;
    io.out(renderStatus(report, { columns, color, now: io.now() }));
  } finally {
    await rotator.close();
  }
}
