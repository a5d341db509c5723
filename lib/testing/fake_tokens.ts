/**
 * The tokens of the stand-in: minted, shown, spent and revoked.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { FakeAccount, FakeTokenField, FakeTokens } from "./fake_types.ts";

/** The client id of the Codex login. */
export const CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";

/** A login: what it hands out is revoked together. */
interface Family {
  revoked: boolean;
}

interface AccessGrant {
  readonly account: string;
  readonly accountId: string;
  readonly expiresAt: number;
  revoked: boolean;
}

interface RefreshGrant {
  readonly account: string;
  readonly family: Family;
  spent: boolean;
}

/** What became of a refresh token that was shown. */
export type RefreshVerdict =
  | {
    readonly ok: true;
    readonly tokens: FakeTokens;
    readonly fields: readonly FakeTokenField[];
  }
  | { readonly ok: false; readonly code: string };

/** Mints tokens and knows all it minted. */
export class TokenMint {
  /** A marker in every token, so that a test can search outputs for leaks. */
  readonly canary: string = `canary-${crypto.randomUUID().slice(0, 8)}`;
  readonly #access = new Map<string, AccessGrant>();
  readonly #refresh = new Map<string, RefreshGrant>();
  #count = 0;

  /**
   * @param account Whose tokens.
   * @param now Epoch ms.
   * @param lifetimeMs Lifetime of the access token, ms.
   * @returns The tokens of a new login.
   */
  signIn(account: FakeAccount, now: number, lifetimeMs: number): FakeTokens {
    const refresh = this.#mintRefresh(account.name, { revoked: false });
    return { ...this.#mintAccess(account, now, lifetimeMs), refresh };
  }

  /**
   * Trades a refresh token in. It serves once, unless the account's answers
   * carry none.
   *
   * @param token What was shown.
   * @param account Whose it is.
   * @param now Epoch ms.
   * @param lifetimeMs Lifetime of the access token, ms.
   * @param revokeOnReuse A spent one revokes all that came from its login.
   */
  trade(
    token: string,
    account: FakeAccount,
    now: number,
    lifetimeMs: number,
    revokeOnReuse: boolean,
  ): RefreshVerdict {
    const grant = this.#refresh.get(token);
    if (grant === undefined) return { ok: false, code: "invalid_grant" };
    if (grant.spent) {
      if (revokeOnReuse) grant.family.revoked = true;
      return { ok: false, code: "refresh_token_reused" };
    }
    if (grant.family.revoked) {
      return { ok: false, code: "refresh_token_invalidated" };
    }
    const fields = account.tokenFields;
    grant.spent = fields.includes("refresh_token");
    const refresh = grant.spent
      ? this.#mintRefresh(account.name, grant.family)
      : token;
    const tokens = { ...this.#mintAccess(account, now, lifetimeMs), refresh };
    return { ok: true, tokens, fields };
  }

  /** Whose refresh token this is. */
  holder(refresh: string): string | undefined {
    return this.#refresh.get(refresh)?.account;
  }

  /** What is known of an access token. */
  lookUp(access: string): Readonly<AccessGrant> | undefined {
    return this.#access.get(access);
  }

  /** Revokes the access tokens of an account, and its refresh tokens as well if asked to. */
  revoke(account: string, refreshToo: boolean): void {
    for (const grant of this.#access.values()) {
      if (grant.account === account) grant.revoked = true;
    }
    if (!refreshToo) return;
    for (const grant of this.#refresh.values()) {
      if (grant.account === account) grant.family.revoked = true;
    }
  }

  #mintRefresh(account: string, family: Family): string {
    const token = `rt_${this.canary}_${++this.#count}`;
    this.#refresh.set(token, { account, family, spent: false });
    return token;
  }

  #mintAccess(
    account: FakeAccount,
    now: number,
    lifetimeMs: number,
  ): Omit<FakeTokens, "refresh"> {
    const issued = Math.floor(now / 1000);
    const expires = Math.floor((now + lifetimeMs) / 1000);
    const claims = { ...identity(account), iat: issued, exp: expires };
    const access = this.#jwt({
      ...claims,
      aud: ["https://api.openai.com/v1"],
      scp: ["openid", "profile", "email", "offline_access"],
    });
    const { accountId } = account;
    const expiresAt = expires * 1000;
    const grant = { account: account.name, accountId, expiresAt };
    this.#access.set(access, { ...grant, revoked: false });
    const id = this.#jwt({ ...claims, aud: [CLIENT_ID], email: account.email });
    return { access, id, accountId, expiresAt };
  }

  #jwt(claims: Record<string, unknown>): string {
    const header = { alg: "RS256", typ: "JWT", kid: "stand-in" };
    const jti = String(++this.#count);
    const payload = { iss: "https://auth.openai.com", ...claims, jti };
    return `${base64url(header)}.${base64url(payload)}.${this.canary}-${jti}`;
  }
}

function identity(account: FakeAccount): Record<string, unknown> {
  return {
    sub: `auth0|${account.userId}`,
    "https://api.openai.com/profile": {
      email: account.email,
      email_verified: true,
    },
    "https://api.openai.com/auth": {
      chatgpt_plan_type: account.plan,
      chatgpt_user_id: account.userId,
      user_id: account.userId,
      chatgpt_account_id: account.accountId,
      chatgpt_account_is_fedramp: account.fedramp,
    },
  };
}

function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
