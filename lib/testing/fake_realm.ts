/**
 * What backend and issuer of the stand-in share.
 *
 * @module
 */

import type { TokenMint } from "./fake_tokens.ts";
import type { FakeAccount, FakeAnswer } from "./fake_types.ts";

/** The world that backend and issuer live in. */
export interface Realm {
  /** Epoch ms. */
  readonly now: () => number;
  readonly mint: TokenMint;
  readonly accounts: Map<string, FakeAccount>;
  /** What no well-behaved client does. */
  readonly violations: string[];
  /** Refuse what the real backend refuses. */
  readonly strict: boolean;
  /** Lifetime of access tokens of accounts that name none, ms. */
  readonly accessLifetimeMs: number;
}

/** The scripted answer that is next, if there is one. */
export function nextScript(
  queue: FakeAnswer[],
  always: FakeAnswer | undefined,
): FakeAnswer | undefined {
  return queue.shift() ?? always;
}

/** Lifetime of this account's new access tokens, ms. */
export function lifetimeOf(realm: Realm, account: FakeAccount): number {
  return account.accessLifetimeMs ?? realm.accessLifetimeMs;
}
