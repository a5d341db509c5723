/**
 * The tokens of the stand-in, minted, shown, spent and revoked, and who may
 * enter with them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Entry } from "./log.ts";
import type { FakeAccount } from "./account.ts";
import type { FakeAnswer, FakeBooking, FakeTokens } from "./types.ts";

export const CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";
export const SCOPES = ["openid", "profile", "email", "offline_access"];

interface AccessGrant {
  readonly account: string;
  readonly accountId: string;
  readonly expiresAt: number;
  revoked: boolean;
}

/** A login: the refresh tokens that it hands out are revoked together. */
interface Login {
  readonly account: string;
  revoked: boolean;
}

/** Mints tokens and knows all it minted. */
export class TokenMint {
  /** A marker in every token, so that a test can search outputs for leaks. */
  readonly canary: string = `canary-${crypto.randomUUID().slice(0, 8)}`;
  readonly #access = new Map<string, AccessGrant>();
  readonly #refresh = new Map<string, Login>();
  readonly #spent = new Set<string>();
  readonly #now: () => number;
  readonly #lifetimeMs: number;
  #count = 0;

  constructor(now: () => number, lifetimeMs: number) {
    this.#now = now;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Mints the tokens of a new login; with no lifetime (ms) of the access token the account's own counts. */
  signIn(account: FakeAccount, lifetimeMs?: number): FakeTokens {
    const login = { account: account.name, revoked: false };
    const refresh = this.#mintRefresh(login);
    return { ...this.#mintAccess(account, lifetimeMs), refresh };
  }

  /**
   * Trades a refresh token in. It serves once, unless the account's answers
   * carry none.
   *
   * @returns The tokens, or the code of the refusal.
   */
  trade(token: string, account: FakeAccount): FakeTokens | string {
    const login = this.#refresh.get(token);
    if (login === undefined) return "invalid_grant";
    if (this.#spent.has(token)) {
      login.revoked = true;
      return "refresh_token_reused";
    }
    if (login.revoked) return "refresh_token_invalidated";
    const rotates = account.tokenFields.includes("refresh_token");
    if (rotates) this.#spent.add(token);
    const refresh = rotates ? this.#mintRefresh(login) : token;
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
    const grants = refreshToo
      ? [...this.#access.values(), ...this.#refresh.values()]
      : this.#access.values();
    for (const grant of grants) {
      if (grant.account === account) grant.revoked = true;
    }
  }

  #mintRefresh(login: Login): string {
    const token = `rt_${this.canary}_${++this.#count}`;
    this.#refresh.set(token, login);
    return token;
  }

  #mintAccess(
    account: FakeAccount,
    lifetimeMs = account.accessLifetimeMs ?? this.#lifetimeMs,
  ): Omit<FakeTokens, "refresh"> {
    const now = this.#now();
    const iat = Math.floor(now / 1000);
    const exp = Math.floor((now + lifetimeMs) / 1000);
    const { name, accountId, email } = account;
    const claims = { ...identity(account), iat, exp };
    const aud = ["https://api.openai.com/v1"];
    const access = this.#jwt({ ...claims, aud, scp: SCOPES });
    const id = this.#jwt({ ...claims, aud: [CLIENT_ID], email });
    const told = { accountId, expiresAt: exp * 1000 };
    this.#access.set(access, { account: name, ...told, revoked: false });
    return { access, id, ...told };
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
  /** Notes what a request did that no well-behaved client does. */
  readonly blame: (entry: Entry, what: string) => void;
  readonly book: FakeBooking[];
  /** What a test switches while the stand-in runs. */
  readonly switches: {
    /** Whom a browser login signs in; null: nobody. */
    readonly signInAs: string | null;
    /** Whether a device may sign in; false: 404. */
    readonly deviceLogin: boolean;
  };
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
  /^(deno|bun|node|undici|node-fetch|axios|got|(async)?openai|ai|ai-sdk|python-requests|python-httpx|aiohttp|python-urllib|go-http-client|agents\/javascript)(\/|\s|$)/i;

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
  if (shown !== grant.accountId) {
    const what = `showed a token of ${account.name} with another account's id`;
    if (shown !== undefined) world.blame(entry, what);
    return "account_mismatch";
  }
  if (account.rejectAll) return "token_invalidated";
  noteMisuse(world, entry, account);
  return account;
}

function noteMisuse({ blame }: World, entry: Entry, account: FakeAccount) {
  const { headers } = entry;
  const { name, fedramp } = account;
  const state = headers["x-codex-turn-state"] ?? "";
  const turn = /^turn-(.+)-\w+$/.exec(state)?.[1] ?? name;
  if (turn !== name) {
    blame(entry, `to ${name} carried the turn state of ${turn}`);
  }
  if ((headers["x-openai-fedramp"] === "true") === fedramp) return;
  const how = fedramp ? "without" : "with";
  blame(entry, `to ${name} came ${how} the FedRAMP header`);
}
