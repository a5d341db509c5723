/** What was tried for one request, and how it went. */
import type { Attempt } from "./account/context.ts";
import type { Outcome } from "./codex/error_table.ts";
import type { ReplayableRequest } from "./request.ts";

export interface Answer {
  response: Response;
  outcome: Outcome;
  /** Content had come before it failed, so that it may have been charged. */
  hasContent?: boolean;
  /** The response is a stream whose end is told to the attempt. */
  isStream?: boolean;
}

export interface NetworkError {
  error: unknown;
  /** Content had come, so that it may have been charged. */
  hasContent?: boolean;
}

/** How an attempt failed: an unread response, or an error of the network. */
export type Failure = { response: Response } | NetworkError;

export interface Sent {
  readonly request: ReplayableRequest;
  readonly attempt: Attempt;
  readonly tries: Tries;
}

export class Tries {
  readonly tried = new Set<string>();
  /** Those of them that failed transiently and may be tried again. */
  readonly retriable = new Set<string>();
  /** Accounts whose token was renewed because the backend refused it. */
  readonly renewed = new Set<string>();
  /** Attempts whose model was refused: whose fault that is, another account tells. */
  readonly refusedModel: { attempt: Attempt; until: number; detail: string }[] =
    [];
  /** Those that only a cap keeps out, as long as the cost of others is not known. */
  readonly capped = new Set<string>();
  retries = 0;
  sent = 0;
  /** What another account wrote was left out of the conversation. */
  isCleaned = false;
  /** The account that was given up last, and why. */
  lastGivenUp: { alias: string; reason: string } | undefined;
  /** How the last attempt failed, and whose it was. */
  failure: { alias: string; how: Failure } | undefined;

  /** Gives an account up; one that failed transiently may be tried again. */
  leave(alias: string, reason: string, isTransient = false): void {
    this.tried.add(alias);
    this.lastGivenUp = { alias, reason };
    if (isTransient) this.retriable.add(alias);
    else this.retriable.delete(alias);
  }

  cap(alias: string): void {
    this.leave(alias, "Its cap on credits is reached");
    this.capped.add(alias);
  }

  /** Stores a failure for the end, and cancels the body of the one before. */
  fail(alias: string, how: Failure): void {
    this.discard();
    this.failure = { alias, how };
  }

  discard(): void {
    const how = this.failure?.how;
    if (how && "response" in how) how.response.body?.cancel().catch(() => {});
  }
}
