import type { FakeAccountOptions, FakeCodex } from "../testing/fake_codex.ts";
import type { PoolState } from "../types.ts";

/** Who may spend credits. */
export const ALLOWED = ["cleo"];

/** Whose usage is known before the first request. */
export const KNOWN = ["ada", "ben", "cleo", "dan", "eva"];

/** The accounts as the stand-in knows them: one in every standing. */
export function cast(now: number): Record<string, FakeAccountOptions> {
  const windows = (fiveHours: number, week: number) => [
    { seconds: 18_000, usedPercent: fiveHours, resetAt: now + 8_040_000 },
    { seconds: 604_800, usedPercent: week, resetAt: now + 273_600_000 },
  ];
  const credits = (balance: string) => ({
    hasCredits: true,
    unlimited: false,
    balance,
  });
  return {
    ada: { plan: "plus", windows: windows(20, 10), costPercent: 10 },
    ben: { plan: "team", windows: windows(60, 30), costPercent: 10 },
    // used up, and may spend its credits
    cleo: { plan: "plus", windows: windows(100, 40), credits: credits("5") },
    // the same, but may not
    dan: { plan: "plus", windows: windows(100, 40), credits: credits("50") },
    eva: { plan: "free", windows: windows(100, 70) },
    // never observed
    finn: { plan: "plus", windows: windows(50, 20), costPercent: 10 },
    // its access token has expired
    gina: { plan: "plus", windows: windows(40, 20), costPercent: 10 },
    // needs a sign-in
    hugo: { plan: "plus" },
  };
}

/** Fills a store with the logins of the cast. */
export function seed(state: PoolState, fake: FakeCodex, now: number): void {
  for (const alias of Object.keys(cast(now))) {
    const { access, refresh, id, expiresAt } = fake.tokens(alias);
    const { email, plan, userId, accountId } = fake.account(alias);
    state.accounts[alias] = {
      accountId,
      userId,
      email,
      plan,
      tokens: {
        access,
        refresh,
        id,
        expiresAt: alias === "gina" ? now - 60_000 : expiresAt,
      },
      ...(alias === "hugo"
        ? { auth: { invalidAt: now, reason: "The sign-in was revoked" } }
        : {}),
    };
  }
}
