import { fetchText } from "../account/context.ts";
import { VERSION } from "../version.ts";
import { backendOf, type Context, issuerOf } from "./options.ts";
import { CliError } from "./exit.ts";
import type { Finding } from "./findings.ts";
import { duration, sanitize } from "./format.ts";

/** How long a host may take to answer, ms. */
const LIMIT = 5_000;
/** Facts that are more than that from the future are not believed, ms. */
const MOST_SKEW = 60_000;

/** Whether backend and issuer answer, and agree with this clock. */
export async function networkFindings(context: Context): Promise<Finding[]> {
  const [backend, issuer] = await Promise.all([
    host("backend", () => backendOf(context), context),
    host("issuer", () => issuerOf(context), context),
  ]);
  const skew = backend.skew ?? issuer.skew;
  return [backend.finding, issuer.finding, ...clockFindings(skew)];
}

interface Answer {
  finding: Finding;
  /** How far this clock is ahead, ms; undefined when nobody said. */
  skew?: number;
}

async function host(
  name: string,
  read: () => string,
  { io }: Context,
): Promise<Answer> {
  let url: string;
  try {
    url = read();
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { finding: { level: "problem", text: error.message } };
  }
  const begun = io.now();
  const answer = await fetchText(
    { fetch: (input, init) => fetch(input, init) },
    {
      url: `${url}/`,
      headers: { "user-agent": `codex-rotator/${VERSION}` },
    },
    { ms: LIMIT, signal: io.signal },
  );
  if ("error" in answer) {
    return { finding: unreachable(name, url, answer.error) };
  }
  const { status, headers } = answer.response;
  const date = Date.parse(headers.get("date") ?? "");
  // the header has whole seconds, and was written while we waited
  const ours = (begun + io.now()) / 2;
  return {
    finding: status >= 500
      ? {
        level: "warning",
        text: `The ${name} ${url} answers with status ${status}`,
        advice: "it has trouble of its own; try again later",
      }
      : { level: "ok", text: `The ${name} ${url} answers` },
    ...(Number.isNaN(date) ? {} : { skew: ours - date - 500 }),
  };
}

function unreachable(name: string, url: string, error: string): Finding {
  return {
    level: "problem",
    text: `The ${name} ${url} cannot be reached: ${sanitize(error)}`,
    advice:
      "check the connection, the firewall and the proxy (HTTPS_PROXY), and the address if it is not the usual one",
  };
}

function clockFindings(skew: number | undefined): Finding[] {
  if (skew === undefined) {
    const text =
      "Whether the clock is right is not known, as nobody told the time";
    return [{ level: "note", text }];
  }
  const words = `${duration(Math.abs(skew))} ${skew > 0 ? "ahead" : "behind"}`;
  if (Math.abs(skew) > MOST_SKEW) {
    return [{
      level: "problem",
      text:
        `This machine's clock is ${words}, so resets and token expiry are misjudged`,
      advice: "set the clock, or let the system keep it right (NTP)",
    }];
  }
  return [{
    level: "ok",
    text: Math.abs(skew) < 2_000
      ? "The clock agrees with theirs"
      : `The clock is ${words}, which does no harm`,
  }];
}
