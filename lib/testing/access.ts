/**
 * The tokens of the stand-in, minted, shown, spent and revoked, and who may
 * enter with them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Entry } from "./log.ts";
import type { FakeAccount, FakeCodexOptions } from "./account.ts";
import type { FakeAnswer, FakeBooking, FakeTokens } from "./types.ts";

export const CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";

interface AccessGrant {
  readonly account: string;
  readonly accountId: string;
  readonly expiresAt: number;
  revoked: boolean;
}

interface RefreshGrant {
  readonly account: string;
  /** The login: what it hands out is revoked together. */
  readonly family: { revoked: boolean };
  spent: boolean;
}

/** Mints tokens and knows all it minted. */
export class TokenMint {
  /** A marker in every token, so that a test can search outputs for leaks. */
  readonly canary: string = `canary-${crypto.randomUUID().slice(0, 8)}`;
  readonly #access = new Map<string, AccessGrant>();
  readonly #refresh = new Map<string, RefreshGrant>();
  readonly #now: () => number;
  readonly #options: FakeCodexOptions;
  #count = 0;

  constructor(now: () => number, options: FakeCodexOptions) {
    this.#now = now;
    this.#options = options;
  }

  /**
   * Mints the tokens of a new login.
   *
   * @param lifetimeMs Of the access token; default the account's.
   */
  signIn(account: FakeAccount, lifetimeMs?: number): FakeTokens {
    const refresh = this.#mintRefresh(account.name, { revoked: false });
    return { ...this.#mintAccess(account, lifetimeMs), refresh };
  }

  /**
   * Trades a refresh token in. It serves once, unless the account's answers
   * carry none.
   *
   * @returns The tokens, or the code of the refusal.
   */
  trade(token: string, account: FakeAccount): FakeTokens | string {
    const grant = this.#refresh.get(token);
    if (grant === undefined) return "invalid_grant";
    if (grant.spent) {
      const { revokeFamilyOnReuse = true } = this.#options;
      if (revokeFamilyOnReuse) grant.family.revoked = true;
      return "refresh_token_reused";
    }
    if (grant.family.revoked) return "refresh_token_invalidated";
    grant.spent = account.tokenFields.includes("refresh_token");
    const refresh = grant.spent
      ? this.#mintRefresh(account.name, grant.family)
      : token;
    return { ...this.#mintAccess(account), refresh };
  }

  holder(refresh: string): string | undefined {
    return this.#refresh.get(refresh)?.account;
  }

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

  #mintRefresh(account: string, family: { revoked: boolean }): string {
    const token = `rt_${this.canary}_${++this.#count}`;
    this.#refresh.set(token, { account, family, spent: false });
    return token;
  }

  #mintAccess(
    account: FakeAccount,
    lifetimeMs = account.accessLifetimeMs ?? this.#options.accessLifetimeMs ??
      3_600_000,
  ): Omit<FakeTokens, "refresh"> {
    const now = this.#now();
    const iat = Math.floor(now / 1000);
    const exp = Math.floor((now + lifetimeMs) / 1000);
    const claims = { ...identity(account), iat, exp };
    const access = this.#jwt({
      ...claims,
      aud: ["https://api.openai.com/v1"],
      scp: ["openid", "profile", "email", "offline_access"],
    });
    const { accountId } = account;
    const expiresAt = exp * 1000;
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

/** The world that backend and issuer live in. */
export interface World {
  /** Epoch ms. */
  readonly now: () => number;
  readonly mint: TokenMint;
  readonly accounts: Map<string, FakeAccount>;
  /** What no well-behaved client does. */
  readonly violations: string[];
  readonly book: FakeBooking[];
  readonly switches: Readonly<Switches>;
}

/** What a test switches while the stand-in runs. */
export interface Switches {
  /** Whom a browser login signs in; null: the page asks. */
  signInAs: string | null;
  /** Whether a device may sign in; false: 404. */
  deviceLogin: boolean;
  /** Whether Cloudflare refuses all requests to the backend (429, error 1015). */
  addressBlocked: boolean;
}

/** The scripted answer that is next, if there is one; some are for one path only. */
export function nextScript(
  queue: FakeAnswer[],
  always: FakeAnswer | undefined,
  path = "",
): FakeAnswer | undefined {
  const index = queue.findIndex(({ for: only = "" }) => path.endsWith(only));
  return index < 0 ? always : queue.splice(index, 1)[0];
}

// What runtimes and SDKs send by themselves: the real backend's front door refuses it.
const DEFAULT_AGENT =
  /^(deno|bun|node|undici|node-fetch|axios|got|(async)?openai|ai|ai-sdk|python-requests|python-httpx|aiohttp|python-urllib|go-http-client)(\/|\s|$)/i;

/** Whether the client names itself. */
export function hasOwnAgent({ headers }: Entry): boolean {
  const agent = headers["user-agent"] ?? "";
  return agent !== "" && !DEFAULT_AGENT.test(agent);
}

/** Finds the account, or the code of the refusal. */
export function authenticate(world: World, entry: Entry): FakeAccount | string {
  const bearer = /^Bearer (.+)$/.exec(entry.headers.authorization ?? "")?.[1];
  const grant = bearer === undefined ? undefined : world.mint.lookUp(bearer);
  const account = world.accounts.get(grant?.account ?? "");
  if (grant === undefined || account === undefined) return "invalid_token";
  entry.account = account.name;
  if (grant.revoked) return "token_invalidated";
  if (grant.expiresAt <= world.now()) return "token_expired";
  const shown = entry.headers["chatgpt-account-id"];
  if (shown !== undefined && shown !== grant.accountId) {
    world.violations.push(
      `Request ${entry.n} showed a token of ${account.name} with another account's id`,
    );
  }
  if (shown !== grant.accountId) return "account_mismatch";
  return account.rejectAll ? "token_invalidated" : account;
}

/** Notes what no well-behaved client sends. */
export function noteMisuse(
  world: World,
  entry: Entry,
  account: FakeAccount,
): void {
  const note = (what: string) =>
    world.violations.push(`Request ${entry.n} to ${account.name} ${what}`);
  const turn = /^turn-(.+)-\w+$/.exec(
    entry.headers["x-codex-turn-state"] ?? "",
  )?.[1];
  if (turn !== undefined && turn !== account.name) {
    note(`carried the turn state of ${turn}`);
  }
  const fedramp = entry.headers["x-openai-fedramp"] === "true";
  if (fedramp !== account.fedramp) {
    note(`came ${fedramp ? "with" : "without"} the FedRAMP header`);
  }
}
