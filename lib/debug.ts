/**
 * Explains each selection on stderr, for people who wonder why.
 *
 * @module
 */
import process from "node:process";
import { oneLine } from "./codex/error_report.ts";
import { ClockReading } from "./pool/clock.ts";
import { hasUsableCredits } from "./pool/standing.ts";
import { untilOf } from "./pool/standing.ts";
import { iso, reasonOf } from "./report.ts";
import type { RotatorContext } from "./context.ts";

/**
 * Prints a line per account; names, verdicts and times only, no secrets.
 *
 * @param context The rotator's parts.
 * @param model The model of the request.
 * @param chosen The account that was chosen, if any.
 */
export function explain(
  context: RotatorContext,
  model: string | undefined,
  chosen: string | undefined,
): void {
  const now = context.now();
  const clock = new ClockReading(now);
  for (
    const { alias, account, creditsAllowed, ...runner } of rows(context, model)
  ) {
    const { standing } = runner;
    const usable = hasUsableCredits(account, clock);
    const fields = [
      // a hand-made store may hold any name
      `alias=${oneLine(alias)}`,
      `standing=${standing.kind}`,
      `reason=${reasonOf(standing) ?? "-"}`,
      `until=${iso(untilOf(standing)) ?? "-"}`,
      `may-spend=${creditsAllowed ? "yes" : "no"}`,
      `credits-usable=${usable ? "yes" : "no"}`,
      `chosen=${alias === chosen ? "yes" : "no"}`,
    ];
    process.stderr.write(`codex-rotator: ${fields.join(" ")}\n`);
  }
}

function rows(context: RotatorContext, model: string | undefined) {
  const now = context.now();
  return context.accounts.all.map((runner) => ({
    alias: runner.alias,
    account: runner.record,
    creditsAllowed: runner.creditsAllowed,
    standing: runner.assess(model, now).standing,
  }));
}
