/** Times, windows, credits and standings in words. */
import type { AccountStatus } from "../report_types.ts";

/** What starts this program, for example `npx codex-rotator`. */
type Invocation = { program(): string; readonly isWindows: boolean };

let invocation: Invocation = {
  program: () => "codex-rotator",
  isWindows: false,
};
let namedStore: string | undefined;

export function suggestAs(it: Invocation, store?: string): void {
  invocation = it;
  namedStore = store;
}

export function programName(): string {
  return invocation.program();
}

/** Returns a command that can be pasted and run: started as this process was, on the store that it was given. */
export function suggestCommand(command: string, ...words: string[]): string {
  const more = namedStore === undefined
    ? words
    : [...words, "--store", namedStore];
  return [programName(), command, ...more.map((it) => quote(it))].join(" ");
}

export function noAccount(): string {
  return `No account is in the store; ${addAccount()}`;
}

export function addAccount(): string {
  const login = suggestCommand("login");
  const take = suggestCommand("import FILE");
  return `sign in with: ${login}; or take over another tool's login with: ${take}`;
}

export function quote(word: string, isWindows = invocation.isWindows): string {
  const text = harmless(word);
  if (/^[\w@%+=:,./-]+$/.test(isWindows ? text.replaceAll("\\", "/") : text)) {
    return text;
  }
  return isWindows ? `"${text}"` : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** Returns those of the texts that there are. */
export function texts(...all: (string | false | null | undefined)[]): string[] {
  return all.filter((it): it is string => Boolean(it));
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// Escape sequences whole (CSI, OSC and the two-character ones), then whatever
// else would move the cursor, break the line or turn the reading direction.
const ESCAPES =
  // deno-lint-ignore no-control-regex
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])/g;
const CONTROLS =
  /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu;

/** JSON in which no character can act upon a terminal; it parses to the same but for quoted commands. */
export function jsonText(value: unknown, indent = 2): string {
  const text = JSON.stringify(
    value,
    (_name, it) => typeof it === "string" ? withCommands(it) : it,
    indent,
  );
  return text.replaceAll(
    /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * Returns text from elsewhere: harmless for a terminal, and the commands that
 * it quotes as a person can paste them.
 */
export function sanitize(text: string): string {
  return withCommands(harmless(text));
}

function withCommands(text: string): string {
  return text.replace(
    /"codex-rotator ([^"]+)"/g,
    (_quoted, it: string) =>
      namedStore === undefined
        ? `"${programName()} ${it}"`
        : `"${suggestCommand(it.replace(/ --store .*/, ""))}"`,
  );
}

function harmless(text: string): string {
  return text.replace(ESCAPES, "").replace(/[\r\n\t]+/g, " ")
    .replace(CONTROLS, "");
}

/** Returns a span of time in its two largest units: "2h14m". Begun minutes count whole. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.ceil(seconds / 60);
  const [unit, big, small] = minutes < 1440
    ? [60, "h", "m"] as const
    : [1440, "d", "h"] as const;
  const whole = Math.floor(minutes / unit);
  const rest = Math.floor(minutes % unit / (unit === 60 ? 1 : 60));
  return (whole > 0 ? `${whole}${big}` : "") +
    (rest > 0 ? `${rest}${small}` : "");
}

/**
 * Returns a time on the clock of this machine: "14:05" today, "Wed 14:05"
 * within a week, else "29 Mar".
 */
export function clockTime(at: string, now: number): string {
  const date = new Date(at);
  const time = localTime(date.getTime()).slice(-8, -3);
  const day = date.toDateString();
  if (day === new Date(now).toDateString()) return time;
  const [weekday, month] = day.split(" ");
  return Math.abs(date.getTime() - now) < 6 * DAY
    ? `${weekday} ${time}`
    : `${date.getDate()} ${month}`;
}

/** Returns a time (epoch ms) on the clock of this machine: "2026-03-29 14:05:09". */
export function localTime(at: number): string {
  const ahead = new Date(at).getTimezoneOffset() * MINUTE;
  return new Date(at - ahead).toISOString().slice(0, 19).replace("T", " ");
}

/** Returns how long ago a time was, in its largest unit: "3m ago". */
export function timeAgo(at: string | number, now: number): string {
  const ms = now - new Date(at).getTime();
  const unit = [DAY, HOUR, MINUTE, 1000].find((it) => ms >= it);
  return unit === undefined
    ? "just now"
    : `${duration(Math.floor(ms / unit) * unit)} ago`;
}

/** Returns the name of a window of this length: 5h, weekly, monthly. */
export function windowLabel(seconds: number | null): string {
  if (seconds === null) return "usage";
  const days = Math.round(seconds / 86_400);
  if (days === 7) return "weekly";
  // months have different lengths
  if (days >= 28 && days <= 31) return "monthly";
  return days > 0 ? `${days}d` : duration(seconds * 1000);
}

/** Returns the name of a meter as its owner knows it; the main one has none. */
export function meterWords(
  { meter, name }: AccountStatus["windows"][number],
): string {
  if (name) return sanitize(name);
  if (meter === "codex_bengalfox") return "GPT-5.3-Codex-Spark";
  return meter === "codex" ? "" : sanitize(meter);
}

export function nameOf(
  alias: string,
  { email, plan }: Pick<AccountStatus, "email" | "plan">,
): string {
  const who = [email, plan].filter((it) => it !== null).join(", ");
  return who === "" ? alias : `${alias} (${who})`;
}

const REASONS = new Map(Object.entries({
  login: "needs a sign-in",
  workspace: "workspace deactivated",
  plan: "plan lacks the model",
  model: "model not available",
  cooldown: "cooling down",
  capped: "at its credit cap",
  unknown: "usage unknown",
}));

export function standingWords(account: AccountStatus, now: number): string {
  const { standing, until, detail } = account;
  const reason = account.reason ?? "blocked";
  if (standing === "included" || standing === "unknown") return standing;
  if (standing === "unconfirmed" && reason === "unknown") {
    return "unconfirmed, usage unknown";
  }
  const words = standing === "credits"
    ? "on credits"
    : standing === "unconfirmed"
    ? standing
    // whether it is at its cap is not known then
    : reason === "capped" && detail !== null
    ? "cap not countable"
    : REASONS.get(reason) ?? sanitize(reason);
  return until === null || Date.parse(until) <= now
    ? words
    : `${words} until ${clockTime(until, now)}`;
}

/** Facts that are older say their age (ms). */
const FRESH = 15 * MINUTE;

/** Returns how old the usage facts of an account are; "" while they are fresh. */
export function ageWords(
  { usageObservedAt }: AccountStatus,
  now: number,
): string {
  if (usageObservedAt === null) return "never";
  return now - Date.parse(usageObservedAt) <= FRESH
    ? ""
    : timeAgo(usageObservedAt, now);
}

export function requestWords(
  { requests, lastUsedAt }: AccountStatus,
  now: number,
): string {
  return lastUsedAt === null
    ? `${requests}`
    : `${requests}, ${timeAgo(lastUsedAt, now)}`;
}

export function creditWords(account: AccountStatus, now: number): string {
  const { credits, creditsAllowed } = account;
  if (credits === null) return "unknown";
  const amount = creditAmount(credits);
  if (amount === "none") return amount;
  if (!creditsAllowed) return `${amount}, forbidden`;
  // old ones are not usable before they are asked for, which their age tells
  const isUsable = credits.usable || ageWords(account, now) !== "";
  return isUsable ? amount : `${amount}, not usable now`;
}

export function creditAmount(
  { unlimited, hasCredits, balance }: NonNullable<AccountStatus["credits"]>,
): string {
  if (unlimited === true) return "unlimited";
  if (hasCredits !== true) return hasCredits === null ? "unreadable" : "none";
  if (balance === null) return "some";
  const amount = Number(balance);
  return Number.isFinite(amount)
    ? `${Math.round(amount * 100) / 100}`
    : sanitize(balance).slice(0, 12);
}
