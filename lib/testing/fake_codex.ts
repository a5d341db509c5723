/**
 * A stand-in for the Codex backend and its token issuer on the loopback
 * interface, for tests of programs that talk to them. It behaves as the real
 * ones do: windows fill up and start afresh, credits are drawn once they are
 * full, refresh tokens serve once, and what the real backend refuses is
 * refused. Accounts can be changed at any time, any answer can be scripted,
 * every request is in the log and every charge in the book.
 *
 * It is a test tool: its log holds whole requests, tokens included.
 *
 * @example
 * ```ts
 * import { startFakeCodex } from "@codex-rotator/core/testing";
 *
 * const credits = { hasCredits: true, unlimited: false, balance: "3" };
 * await using fake = await startFakeCodex({ accounts: { alice: { credits } } });
 * const { access, accountId } = fake.tokens("alice");
 * const headers = {
 *   "authorization": `Bearer ${access}`,
 *   "chatgpt-account-id": accountId,
 *   "user-agent": "my-agent/1.0",
 * };
 * const answer = await fetch(`${fake.backend}/wham/usage`, { headers });
 * if ((await answer.json()).credits.balance !== "3") throw new Error("?");
 *
 * // Now the next request is charged.
 * fake.account("alice").windows = [{ seconds: 18_000, usedPercent: 100 }];
 * ```
 *
 * @module
 */
import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { TokenMint, type World } from "./access.ts";
import {
  FakeAccount,
  type FakeAccountOptions,
  type FakeCodexOptions,
} from "./account.ts";
import { settle, topUp } from "./allowance.ts";
import { answerBackend, ENDPOINTS } from "./backend.ts";
import { Delivery, json, type Plan, readBody } from "./http.ts";
import { Issuer, ISSUER_ENDPOINTS } from "./issuer.ts";
import {
  type Entry,
  type FakeKind,
  type FakeLogEntry,
  RequestLog,
} from "./log.ts";
import type { FakeBooking, FakeTokens } from "./types.ts";

export type { Entry, FakeKind, FakeLogEntry } from "./log.ts";
export type * from "./types.ts";
export type { FakeAccount, FakeAccountOptions, FakeCodex, FakeCodexOptions };

/** Starts a stand-in on 127.0.0.1. */
export async function startFakeCodex(
  options: FakeCodexOptions = {},
): Promise<FakeCodex> {
  const server = createServer().listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  return new FakeCodex(server, options);
}

/** A running stand-in. */
class FakeCodex implements AsyncDisposable {
  /** The backend's URL. */
  readonly backend: string;
  /** The issuer's URL. */
  readonly issuer: string;
  /** Where usage is answered; live. */
  usagePaths: readonly string[];
  /** All requests, in the order in which they arrived. */
  readonly log: readonly FakeLogEntry[];
  /** Every charge and top-up of credits, in order. */
  readonly book: readonly FakeBooking[];
  /**
   * What a well-behaved client never does: a spent refresh token shown again, a
   * turn state or an account id sent with another account's token, a FedRAMP
   * header missing or too many. Names accounts, holds no tokens.
   */
  readonly violations: readonly string[];
  /** A marker in every token, to search outputs for leaks. */
  readonly canary: string;
  /** Who signs in at the issuer's page; null: nobody does. */
  signInAs: string | null = null;
  /** The issuer answers sign-ins by device code. */
  deviceLogin = true;
  readonly #violations: string[] = [];
  readonly #server: Server;
  readonly #world: World;
  readonly #issuer: Issuer;
  readonly #log = new RequestLog();

  /**
   * Answers what comes in.
   *
   * @internal
   * @param server Listens already.
   * @param options How the backend is to behave.
   */
  constructor(server: Server, options: FakeCodexOptions) {
    const { port } = server.address() as AddressInfo;
    const { backendPath = "/backend-api" } = options;
    this.backend = `http://127.0.0.1:${port}${backendPath}`;
    this.issuer = `http://127.0.0.1:${port}/issuer`;
    const isChatGpt = backendPath.includes("/backend-api");
    this.usagePaths = options.usagePaths ??
      [isChatGpt ? "/wham/usage" : "/api/codex/usage"];
    const { now = Date.now } = options;
    this.#world = {
      now,
      mint: new TokenMint(now, options.accessLifetimeMs ?? 3_600_000),
      accounts: new Map(),
      blame: ({ n }, what) => this.#violations.push(`Request ${n} ${what}`),
      book: [],
      switches: this,
    };
    this.log = this.#log.entries;
    this.book = this.#world.book;
    this.violations = this.#violations;
    this.canary = this.#world.mint.canary;
    this.#issuer = new Issuer(this.#world, this.issuer, options);
    for (const [name, it] of Object.entries(options.accounts ?? {})) {
      this.addAccount(name, it);
    }
    this.#server = server;
    server.on("request", (request, response) => {
      void this.#handle(request, response);
    });
  }

  /** The requests that drew purchased credits. */
  get charged(): readonly FakeLogEntry[] {
    return this.#log.entries.filter((entry) => entry.charged);
  }

  /** The live account of this name. */
  account(name: string): FakeAccount {
    const account = this.#world.accounts.get(name);
    if (account !== undefined) return account;
    const names = [...this.#world.accounts.keys()].join(", ") || "none";
    throw new Error(`No account is named ${name}, there is ${names}`);
  }

  /** Adds an account, or replaces the one of this name; its tokens stay good. */
  addAccount(name: string, options: FakeAccountOptions = {}): FakeAccount {
    const account = new FakeAccount(name, options);
    settle(account, this.#world.now());
    this.#world.accounts.set(name, account);
    return account;
  }

  /** Adds purchased credits to an account that has a balance. */
  topUp(name: string, amount: number): void {
    const { credits } = this.account(name);
    if (credits === null) throw new Error(`${name} has no credits`);
    topUp(credits, amount);
    this.#world.book.push({
      kind: "top-up",
      account: name,
      model: null,
      amount,
      at: this.#world.now(),
      request: null,
    });
  }

  /** The tokens of a new login; with a negative `lifetimeMs` the access token has expired. */
  tokens(name: string, options: { lifetimeMs?: number } = {}): FakeTokens {
    return this.#world.mint.signIn(this.account(name), options.lifetimeMs);
  }

  /** Revokes the access tokens, or all tokens, of the logins so far. */
  revoke(name: string, what: "access" | "all"): void {
    this.#world.mint.revoke(this.account(name).name, what === "all");
  }

  /** Approves the device login that shows this code. */
  approveDevice(userCode: string, account: string): void {
    this.#issuer.decideDevice(userCode, this.account(account).name);
  }

  /** Denies the device login that shows this code. */
  denyDevice(userCode: string): void {
    this.#issuer.decideDevice(userCode, null);
  }

  /** Waits for a request that is, or becomes, such a one; rejects after `timeoutMs` (default 10 s). */
  seen(
    matches: (entry: FakeLogEntry) => boolean,
    timeoutMs = 10_000,
  ): Promise<FakeLogEntry> {
    return this.#log.seen(matches, timeoutMs);
  }

  /** Forgets the requests so far; `n` counts on. */
  clearLog(): void {
    this.#log.entries.length = 0;
  }

  /** Cuts all connections and frees the port. */
  async close(): Promise<void> {
    this.#log.close();
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #handle(
    message: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { body, complete } = await readBody(message);
    const { method = "GET" } = message;
    const headers = Object.entries(message.headers)
      .map(([name, value]) => [name, String(value)]);
    const { pathname, search } = new URL(message.url ?? "/", this.backend);
    const entry = this.#log.add({
      at: this.#world.now(),
      kind: this.#kindOf(method, pathname),
      method,
      path: pathname + search,
      headers: Object.fromEntries(headers),
      body,
    });
    const changed = () => this.#log.changed(entry);
    entry.aborted = entry.done = !complete;
    if (!complete) return changed();
    const plan = this.#answer(entry, pathname);
    changed();
    await new Delivery(response, entry, plan, changed).send();
  }

  #answer(entry: Entry, pathname: string): Plan {
    const path = below(this.issuer, pathname);
    try {
      return path === undefined
        ? answerBackend(this.#world, entry)
        : this.#issuer.answer(path, entry);
    } catch (error) {
      // A hook of the test threw: it is told, and the stand-in lives on.
      const message = `A hook of the stand-in failed: ${error}`;
      return json(500, { error: { message } });
    }
  }

  #kindOf(method: string, pathname: string): FakeKind {
    const issuerPath = below(this.issuer, pathname);
    if (issuerPath !== undefined) {
      return ISSUER_ENDPOINTS[`${method} ${issuerPath}`] ?? "other";
    }
    const path = below(this.backend, pathname) ?? "";
    const isUsage = method === "GET" && this.usagePaths.includes(path);
    return isUsage ? "usage" : ENDPOINTS[`${method} ${path}`] ?? "other";
  }
}

/** The rest of a path below a base URL; undefined: it lies elsewhere. */
function below(base: string, pathname: string): string | undefined {
  const path = new URL(base).pathname.replace(/\/$/, "");
  return pathname.startsWith(`${path}/`)
    ? pathname.slice(path.length)
    : undefined;
}
