import type { Command, Context, Grants } from "./options.ts";
import { accountFindings } from "./doctor_accounts.ts";
import { environmentFindings, VARIABLES } from "./doctor_environment.ts";
import { networkFindings } from "./doctor_network.ts";
import { settingFindings } from "./doctor_settings.ts";
import { examineStore, type StoreFound } from "./doctor_store.ts";
import { EXIT } from "./exit.ts";
import {
  count,
  type Finding,
  maskEmails,
  renderFindings,
  type Section,
} from "./findings.ts";
import { isPermissionError, permissionAdvice } from "./permissions.ts";
import { jsonText } from "./format.ts";

/** `doctor`: what is wrong, and what to do about it. */
export const command: Command = {
  help: `
Looks at the store (place, file modes, version, backup, lock), the settings and
the environment variables that override them, whether backend and issuer can be
reached and whether this machine's clock is right, and asks each account for its
usage. Every finding that is not fine says what to do. The exit code is 1 when
there is a problem, 4 when there is no account. E-mail addresses are masked, so
that the output can be shown to others.

Options:
  --offline        ask nobody
  --emails         show e-mail addresses as they are
  --json           the findings as JSON

Examples:
  cli.ts doctor
  cli.ts doctor --offline
  cli.ts doctor --json | jq '.sections[].findings[] | select(.advice)'
`,
  booleans: ["offline", "emails", "json"],
  operands: [0, 0],
  needs: { write: true, network: true, policy: true },
  grants: (): Grants => ({ env: VARIABLES }),
  run,
};

async function run(context: Context): Promise<number> {
  const { io, flags } = context;
  const { sections, accounts } = await examine(context);
  const shown = flags.on("emails") ? sections : masked(sections);
  io.out(
    flags.on("json")
      ? `${jsonText({ version: 1, sections: shown })}\n`
      : renderFindings(shown, io),
  );
  if (count(sections, "problem") > 0) return EXIT.failed;
  return accounts === 0 ? EXIT.noAccount : EXIT.ok;
}

async function examine(
  context: Context,
): Promise<{ sections: Section[]; accounts: number }> {
  const exam = new Examination(context);
  const online = !context.flags.on("offline");
  await exam.look("Environment", () => environmentFindings(context));
  let store: StoreFound = { findings: [] };
  await exam.look("Store", async () => {
    store = await examineStore(context);
    return store.findings;
  });
  if (online) await exam.look("Network", () => networkFindings(context));
  const { state, isWritable = false } = store;
  const accounts = Object.keys(state?.accounts ?? {}).length;
  if (state !== undefined && accounts > 0) {
    await exam.look("Settings", () => settingFindings(context, state));
    // a token that is renewed and cannot be kept would be lost
    const ask = online && isWritable;
    await exam.look("Accounts", () => accountFindings(context, state, ask));
  }
  return { sections: exam.finish(), accounts };
}

/** Looks at one thing after another, whatever Deno refuses. */
class Examination {
  readonly #context: Context;
  readonly #sections: Section[] = [];
  #refusal: Error | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  async look(
    title: string,
    find: () => readonly Finding[] | Promise<readonly Finding[]>,
  ): Promise<void> {
    try {
      this.#sections.push({ title, findings: await find() });
    } catch (error) {
      if (this.#context.io.signal.aborted) throw error;
      if (isPermissionError(error)) this.#refusal ??= error;
      const text = isPermissionError(error)
        ? "Not examined, as Deno refused a permission for it"
        : problemText(error);
      this.#sections.push({ title, findings: [{ level: "problem", text }] });
    }
  }

  finish(): Section[] {
    if (this.#refusal === undefined) return this.#sections;
    const [text = "", run = ""] = permissionAdvice(
      this.#refusal,
      command,
      this.#context,
      callOf(this.#context),
    ).split("; run: ");
    const findings: Finding[] = [{ level: "problem", text, run }];
    return [...this.#sections, { title: "Permissions", findings }];
  }
}

function problemText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The arguments of this call, to be repeated. */
function callOf({ flags }: Context): string[] {
  const values = ["store", "backend", "issuer"].flatMap((name) => {
    const value = flags.value(name);
    return value === undefined ? [] : [`--${name}`, value];
  });
  const switches = (command.booleans ?? []).filter((name) => flags.on(name));
  return ["doctor", ...switches.map((name) => `--${name}`), ...values];
}

function masked(sections: readonly Section[]): Section[] {
  return sections.map(({ title, findings }) => ({
    title,
    findings: findings.map((it) => ({
      ...it,
      text: maskEmails(it.text),
      ...(it.advice === undefined ? {} : { advice: maskEmails(it.advice) }),
    })),
  }));
}
