/**
 * Counters and standings as Prometheus reads them.
 *
 * @module
 */
import type { AccountStatus, StatusReport } from "../report_types.ts";
import type { Counts, Observer } from "./observer.ts";

/** The content type of the text format. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

type Labels = Record<string, string>;
type Sample = readonly [Labels, number];

/** All metrics in the text format. */
export function metricsText(observer: Observer, status: StatusReport): string {
  const { requests, charged, switches, cooldowns } = observer.counts;
  return [
    family(
      "requests_total",
      "counter",
      "Requests, by who served them, on what, and how they ended",
      samples(requests, ["account", "standing", "result"]),
    ),
    family(
      "requests_running",
      "gauge",
      "Requests being served",
      [[{}, observer.running]],
    ),
    family(
      "charged_requests_total",
      "counter",
      "Requests that drew purchased credits, or may have (certain=false)",
      samples(charged, ["account", "certain"]),
    ),
    family(
      "switches_total",
      "counter",
      "How often a request or a session went on with another account",
      samples(switches, ["from", "account"]),
    ),
    family(
      "cooldowns_total",
      "counter",
      "How often the backend said not now",
      samples(cooldowns, ["account", "cause"]),
    ),
    family(
      "window_used_percent",
      "gauge",
      "Used share of a usage window",
      status.accounts.flatMap(windowSamples),
    ),
    family(
      "account_standing",
      "gauge",
      "1 for the standing that an account has now",
      status.accounts.map(({ alias, standing, reason }): Sample => [
        { account: alias, standing, reason: reason ?? "" },
        1,
      ]),
    ),
    family(
      "account_blocked_until_seconds",
      "gauge",
      "When a blocked account is back, seconds since the epoch",
      status.accounts.flatMap(untilSample),
    ),
  ].join("");
}

function windowSamples({ alias, windows }: AccountStatus): Sample[] {
  return windows.map(({ meter, windowSeconds, usedPercent }) => [
    {
      account: alias,
      meter,
      window_seconds: windowSeconds === null ? "" : String(windowSeconds),
    },
    usedPercent,
  ]);
}

function untilSample(
  { alias, standing, reason, until }: AccountStatus,
): Sample[] {
  if (standing !== "blocked" || until === null) return [];
  const labels = { account: alias, reason: reason ?? "" };
  return [[labels, Date.parse(until) / 1000]];
}

function samples(counts: Counts, names: readonly string[]): Sample[] {
  return [...counts].map(([key, value]) => {
    const values: string[] = JSON.parse(key);
    return [Object.fromEntries(names.map((it, i) => [it, values[i]!])), value];
  });
}

function family(
  name: string,
  type: "counter" | "gauge",
  help: string,
  all: readonly Sample[],
): string {
  const full = `codex_rotator_${name}`;
  const lines = all.map(([labels, value]) =>
    `${full}${labelText(labels)} ${value}\n`
  );
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join("")}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
