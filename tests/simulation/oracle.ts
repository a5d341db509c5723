/**
 * Judges each request after the fact, against the truth and against what the
 * contract obliges a rotator to know of it. Where the contract can be read in
 * two ways, only what is wrong by every reading is a violation.
 */
import type { Account } from "./account.ts";
import { now } from "./clock.ts";
import { type Burst, Conduct } from "./conduct.ts";
import { type Choice, Duties } from "./duties.ts";
import type { Fleet, Policy } from "./fleet.ts";
import { textOf, timeText } from "./trace.ts";
import type { Attempt, Limit, Process, Told, Witness } from "./witness.ts";

/** What is wrong with a request. */
export type ViolationKind =
  /** It was charged on an account that must not spend. */
  | "forbidden"
  /** It was charged while another account had included usage, as the rotator had been told. */
  | "needless"
  /** It was charged while another account would have said, if asked, that it has included usage. */
  | "not-asked"
  /** It was charged because an account with included usage was throttled or failing. */
  | "hiccup"
  /** It was refused although an account would have served it on its plan. */
  | "refused"
  /** It was refused although an account would have served it on credits that it may spend. */
  | "refused-credits"
  /** It was charged as one of many that were all sent to an account while another stayed idle. */
  | "herd"
  /** Its failure was returned although another account of the first pool had not been tried. */
  | "gave-up"
  /** An account was asked for its usage twice within a minute. */
  | "asked-too-often";

/** Why a charge is no fault of the rotator. */
export type ExceptionKind =
  /** Its account may spend, and nothing included was left that the rotator had to know of. */
  | "paid"
  /** The plan had room when it was sent, and was full before it ended. */
  | "filled-while-running"
  /** Like that, with others of our own beside it on the same account. */
  | "filled-by-a-burst"
  /** All that was told said open: another program, a cached answer, a backend that disagrees with itself. */
  | "told-open"
  /** Its account could not be asked, and nothing was ever told of its credits: the first answer settles it. */
  | "first-answer";

export interface Violation {
  kind: ViolationKind;
  request: number;
  /** Epoch ms. */
  at: number;
  alias: string;
  text: string;
}

/** What a charge of a request would be. */
type Verdict = { violation: ViolationKind; about?: Account } | ExceptionKind;

/** How many events a trace shows. */
const TRACE = 40;

export class Oracle implements Witness {
  readonly violations: Violation[] = [];
  readonly exceptions = new Map<ExceptionKind, number>();
  /** What led to the first violation. */
  trace: readonly string[] = [];
  /** Told every event. */
  listener: ((line: string) => void) | undefined;
  readonly #accounts: readonly Account[];
  readonly #policy: Policy;
  readonly #duties: Duties;
  readonly #conduct: Conduct;
  readonly #sent = new Map<Attempt, { verdict: Verdict; standings: string }>();
  readonly #tried = new Map<number, Attempt[]>();
  #running: Attempt[] = [];
  /** The last events. */
  readonly #log: string[] = [];

  constructor(fleet: Fleet) {
    const { accounts, processes, skew } = fleet;
    this.#accounts = accounts;
    this.#policy = fleet.policy;
    this.#duties = new Duties(accounts, processes, skew);
    this.#conduct = new Conduct(fleet, this.#duties);
  }

  asked(process: Process, account: Account): void {
    const { alias } = account;
    this.#duties.asked(account);
    this.note(`${process.name} asks ${alias} for its usage`);
    if (!this.#conduct.asked(process, account)) return;
    const text = `${process.name} asked ${alias} less than 60 s ago`;
    this.#fail({ kind: "asked-too-often", request: 0, at: now(), alias, text });
  }

  told(process: Process, account: Account, told: Told): void {
    this.#duties.told(process, account, told);
    this.note(`${process.name} is told by ${account.alias}: ${textOf(told)}`);
  }

  limited(process: Process, account: Account, limit: Limit): void {
    this.#duties.limited(process, account, limit);
    const until = limit.until === null ? "?" : timeText(limit.until);
    const code = limit.isAboutCredits ? "a credit code" : "usage_limit_reached";
    const request = `#${limit.attempt.request}`;
    this.note(`${request} on ${account.alias}: 429 ${code} until ${until}`);
  }

  throttled(attempt: Attempt, until: number): void {
    this.#duties.throttled(attempt, until);
    const { request, account: { alias } } = attempt;
    this.note(`#${request} on ${alias}: throttled until ${timeText(until)}`);
  }

  sent(attempt: Attempt): void {
    const { request, account, model, process } = attempt;
    const tried = this.#tried.get(request) ?? [];
    const verdict = this.#judge(attempt, tried);
    this.#sent.set(attempt, { verdict, standings: this.#standings(attempt) });
    this.#tried.set(request, [...tried, attempt]);
    this.#running.push(attempt);
    this.#duties.sent(attempt);
    this.#conduct.sent(attempt);
    const by = `${process.name} sends #${request} ${model}`;
    const truth = attempt.hadIncluded ? "room" : "no room";
    this.note(`${by} on ${account.alias} (${truth})`);
  }

  charged(attempt: Attempt): void {
    const { verdict, standings } = this.#sent.get(attempt)!;
    const { request, account: { alias }, at } = attempt;
    const isViolation = typeof verdict !== "string";
    const kind = isViolation ? verdict.violation : verdict;
    this.note(`#${request} was charged on ${alias}: ${kind}`);
    if (!isViolation) {
      this.exceptions.set(verdict, (this.exceptions.get(verdict) ?? 0) + 1);
      return;
    }
    const about = verdict.about ? ` although ${verdict.about.alias} is` : "";
    const text = `charged on ${alias}${about}; ${standings}`;
    this.#fail({ kind: verdict.violation, request, at, alias, text });
  }

  /** The rotator refused a request by itself. */
  refused(request: number, choice: Choice): void {
    const { process, model } = choice;
    this.note(`${process.name} refuses #${request} ${model}`);
    const tried = this.#tried.get(request) ?? [];
    const left = this.#accounts.filter((account) =>
      !isFailing(account) && tried.every((it) => it.account !== account)
    );
    const fail = (kind: ViolationKind, { alias }: Account) => {
      const text = `${alias} would serve; ${this.#standings(choice)}`;
      this.#fail({ kind, request, at: now(), alias, text });
    };
    const able = left.find((account) =>
      account.isIncluded(model, now()) &&
      !this.#duties.isThrottled(account, choice) &&
      this.#duties.mustKnow(account, choice) !== "no"
    );
    if (able) return fail("refused", able);
    if (this.#duties.isHeld(choice)) return;
    const payer = left.find((account) =>
      this.#policy.maySpend(account.alias) &&
      account.judge(model, now()).kind === "charged" &&
      this.#duties.mustPay(account, choice)
    );
    if (payer) fail("refused-credits", payer);
  }

  /** The answer of an account was returned, whatever it was. */
  ended(request: number, choice: Choice): void {
    const tried = this.#tried.get(request) ?? [];
    for (const { account, outcome } of tried) {
      if (outcome === "failed") this.#conduct.failed(account);
    }
    const last = tried.at(-1);
    if (last?.outcome !== "failed") return;
    this.note(`#${request} ends in a failure of ${last.account.alias}`);
    const untried = this.#conduct.untried(tried, choice);
    if (!untried) return;
    const { alias } = untried;
    const text = `${alias} was not tried; ${this.#standings(choice)}`;
    this.#fail({ kind: "gave-up", request, at: now(), alias, text });
  }

  /** A burst of requests without a session begins. */
  begin(choice: Choice, width: number): Burst {
    return this.#conduct.begin(choice, width);
  }

  /** A burst has been answered. */
  end(burst: Burst, requests: readonly number[]): void {
    const tried = requests.flatMap((id) => this.#tried.get(id) ?? []);
    const charged = tried.find((it) => {
      const verdict = this.#sent.get(it)?.verdict;
      return it.charged > 0 && verdict === "filled-by-a-burst";
    });
    const idle = charged && this.#conduct.idle(burst, tried);
    if (!idle) return;
    const { request, account: { alias } } = charged;
    const text = `charged on ${alias} while ${idle.alias} got none of ` +
      `${burst.width}; ${this.#standings(burst.choice)}`;
    this.#fail({ kind: "herd", request, at: now(), alias, text });
  }

  /** Writes a line of the trace. */
  note(text: string): void {
    const line = `${timeText(now())} ${text}`;
    this.listener?.(line);
    this.#log.push(line);
    if (this.#log.length > 2 * TRACE) this.#log.splice(0, TRACE);
  }

  /** What a charge of this request would be; called before it is served. */
  #judge(attempt: Attempt, tried: readonly Attempt[]): Verdict {
    const { account, hadIncluded } = attempt;
    const standings = this.#duties.standings(account, attempt);
    if (standings.some(({ state }) => state === "included")) {
      if (this.#runningOn(account) >= 2) return "filled-by-a-burst";
      return hadIncluded ? "filled-while-running" : "told-open";
    }
    if (!this.#policy.maySpend(account.alias)) {
      const isFirst = this.#duties.wasAsked(account) &&
        standings.some(({ state, hasUntoldCredits }) =>
          state === "unknown" && hasUntoldCredits
        );
      return isFirst ? "first-answer" : { violation: "forbidden" };
    }
    for (const other of this.#accounts) {
      const violation = this.#betterThan(attempt, other, tried);
      if (violation) return { violation, about: other };
    }
    return hadIncluded ? "filled-while-running" : "paid";
  }

  /** Whether another account would have had to serve instead of a paid one, and why. */
  #betterThan(
    attempt: Attempt,
    other: Account,
    tried: readonly Attempt[],
  ): ViolationKind | undefined {
    if (!other.isIncluded(attempt.model, now())) return undefined;
    const own = tried.findLast((it) => it.account === other);
    if (own?.outcome === "limited" || own?.outcome === "running") {
      return undefined;
    }
    const known = this.#duties.mustKnow(other, attempt);
    if (known === "no") return undefined;
    if (known === "askable") return "not-asked";
    return own || isFailing(other) ? "hiccup" : "needless";
  }

  #runningOn(account: Account): number {
    this.#running = this.#running.filter((it) => it.outcome === "running");
    return this.#running.filter((it) => it.account === account).length;
  }

  #standings(choice: Choice): string {
    return this.#accounts.map((account) => {
      const standings = this.#duties.standings(account, choice);
      const states = [...new Set(standings.map(({ state }) => state))];
      const may = this.#policy.maySpend(account.alias) ? "" : "!";
      const { kind } = account.judge(choice.model, now());
      return `${account.alias}${may} ${states.join("/")}, in truth ${kind}`;
    }).join("; ");
  }

  #fail(violation: Violation): void {
    this.violations.push(violation);
    this.note(`VIOLATION ${violation.kind}: ${violation.text}`);
    if (this.violations.length === 1) this.trace = this.#log.slice(-TRACE);
  }
}

/** It fails for other reasons than quota. */
function isFailing({ trouble }: Account): boolean {
  return trouble.overloaded > now() || trouble.throttled > now();
}
