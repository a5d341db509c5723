/** The usage of the whole fleet, for Codex clients that ask for their own. */
import type { AccountStatus, StatusReport } from "../report_types.ts";

/** The length that is told where no window is known (seconds). */
const FIVE_HOURS = 18_000;

type Window = AccountStatus["windows"][number] & { windowSeconds: number };

/** Returns the usage of the fleet in the form that the backend has for one account. */
export function fleetUsage({ now, pinned, accounts }: StatusReport) {
  const able = accounts.filter((it) =>
    it.enabled && it.reason !== "login" && it.alias === (pinned ?? it.alias)
  );
  const serves = able.some((it) => it.standing !== "blocked");
  const windows = able.flatMap(mainWindows);
  const lengths = new Set(windows.map((it) => it.windowSeconds));
  const [shortest = FIVE_HOURS, ...longer] = [...lengths].sort((a, b) => a - b);
  const longest = longer.at(-1);
  const told = (seconds: number) => {
    const alike = windows.filter((it) => it.windowSeconds === seconds);
    const resets = serves
      ? alike.map((it) => it.resetsAt)
      : able.map(({ until }) => until);
    return {
      // at 100 % a client stops by itself
      used_percent: serves ? Math.min(99, meanOf(alike)) : 100,
      limit_window_seconds: seconds,
      ...earliest(resets, Date.parse(now), seconds),
    };
  };
  return {
    plan_type: able[0]?.plan ?? "plus",
    rate_limit: {
      allowed: serves,
      limit_reached: !serves,
      primary_window: told(shortest),
      secondary_window: longest === undefined ? null : told(longest),
    },
    additional_rate_limits: null,
    credits: null,
  };
}

function mainWindows({ windows }: AccountStatus): Window[] {
  return windows.filter((it): it is Window =>
    it.meter === "codex" && it.windowSeconds !== null
  );
}

function meanOf(windows: readonly Window[]): number {
  const sum = windows.reduce(
    (all, it) => all + Math.min(100, it.usedPercent),
    0,
  );
  return Math.floor(sum / (windows.length || 1));
}

/** The first reset of all, in the backend's two forms; where none is known, after `seconds`. */
function earliest(
  resets: readonly (string | null)[],
  now: number,
  seconds: number,
) {
  const times = resets.filter((it) => it !== null).map((it) => Date.parse(it));
  const reset = times.length === 0 ? now + seconds * 1000 : Math.min(...times);
  return {
    reset_after_seconds: Math.max(0, Math.ceil((reset - now) / 1000)),
    reset_at: Math.ceil(reset / 1000),
  };
}
