import { isStrategy, STRATEGIES } from "../pool/strategy.ts";
import type { PoolState, StatusReport } from "../types.ts";
import type { Context } from "./command.ts";
import type { Finding } from "./findings.ts";
import { statusReader } from "./stored_status.ts";
import { advised, clean, policyProblems, policyWords } from "./words.ts";

/** Whether what the owner set makes sense. */
export async function settingFindings(
  context: Context,
  state: PoolState,
): Promise<Finding[]> {
  const report = await statusReader(context)();
  return [
    ...strategyFindings(state, report),
    ...creditFindings(report),
    ...pinFindings(report),
  ];
}

function strategyFindings(
  { settings }: PoolState,
  { strategy }: StatusReport,
): Finding[] {
  const stored = settings.strategy;
  if (stored === undefined || isStrategy(stored)) {
    return [{ level: "ok", text: `The strategy is ${strategy}` }];
  }
  return [{
    level: "warning",
    text: `The store names the strategy ${
      clean(String(stored))
    }, which is not known; ${strategy} is used`,
    advice: `${advised("strategy NAME")}, one of ${STRATEGIES.join(", ")}`,
  }];
}

function creditFindings({ credits }: StatusReport): Finding[] {
  const change = `${
    advised("credits NAMES")
  }, with all, none, or the aliases that may`;
  const [text, hint] = policyWords(credits).split("; ");
  return [
    {
      level: hint === undefined ? "ok" : "note",
      text: text!,
      ...(hint === undefined ? {} : { advice: hint }),
    },
    ...policyProblems(credits).map((text): Finding => ({
      level: "warning",
      text: text.replace(/^Warning: /, ""),
      advice: change,
    })),
  ];
}

function pinFindings({ pinned, accounts }: StatusReport): Finding[] {
  if (pinned === null) return [];
  const exists = accounts.some((it) => it.alias === pinned);
  const advice = advised("use --auto");
  return [
    exists
      ? {
        level: "note",
        text: `Only ${clean(pinned)} serves, as it is pinned`,
        advice,
      }
      : {
        level: "problem",
        text: `Nobody serves, as ${clean(pinned)} is pinned and does not exist`,
        advice,
      },
  ];
}
