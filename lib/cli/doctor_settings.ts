import { isStrategy, STRATEGIES } from "../pool/strategy.ts";
import type { PoolState } from "../types.ts";
import type { StatusReport } from "../report_types.ts";
import type { Context } from "./options.ts";
import type { Finding } from "./findings.ts";
import { statusReader } from "./stored_status.ts";
import {
  policyProblems,
  policyWords,
  sanitize,
  suggestCommand,
} from "./format.ts";

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
      sanitize(String(stored))
    }, which is not known; ${strategy} is used`,
    advice: `${suggestCommand("strategy NAME")}, one of ${
      STRATEGIES.join(", ")
    }`,
  }];
}

function creditFindings({ credits }: StatusReport): Finding[] {
  const change = `${
    suggestCommand("credits NAMES")
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
  const advice = suggestCommand("use --auto");
  return [
    exists
      ? {
        level: "note",
        text: `Only ${sanitize(pinned)} serves, as it is pinned`,
        advice,
      }
      : {
        level: "problem",
        text: `Nobody serves, as ${
          sanitize(pinned)
        } is pinned and does not exist`,
        advice,
      },
  ];
}
