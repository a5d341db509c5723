/**
 * A stand-in for the Codex backend and its token issuer on the loopback
 * interface, for tests of programs that talk to them. It behaves as the real
 * ones do: windows fill up and start afresh, credits are drawn once they are
 * full, refresh tokens serve once, and what the real backend refuses is
 * refused. Accounts can be changed at any time, any answer can be scripted, and
 * every request is in the log.
 *
 * It is a test tool: its log holds whole requests, tokens included.
 *
 * @example
 * ```ts
 * import { startFakeCodex } from "./fake_codex.ts";
 *
 * await using fake = await startFakeCodex({
 *   accounts: {
 *     alice: { costPercent: 50 },
 *     bob: { credits: { hasCredits: true, unlimited: false, balance: "3" } },
 *   },
 * });
 * const { access, accountId } = fake.tokens("alice");
 * const answer = await fetch(`${fake.backend}/codex/responses`, {
 *   method: "POST",
 *   headers: {
 *     "authorization": `Bearer ${access}`,
 *     "chatgpt-account-id": accountId,
 *     "user-agent": "my-agent/1.0",
 *   },
 *   body: JSON.stringify({
 *     model: "gpt-5.3-codex",
 *     instructions: "Be brief.",
 *     input: [{ role: "user", content: "Hello" }],
 *     store: false,
 *     stream: true,
 *   }),
 * });
 * if (!(await answer.text()).includes("Hello from")) throw new Error("?");
 *
 * // Its windows are half used now. Fill them up, and the next one is refused.
 * fake.account("alice").windows = [{ seconds: 18_000, usedPercent: 100 }];
 * // Or script an answer.
 * fake.account("bob").queue.push({ status: 503, headers: { "retry-after": "1" } });
 *
 * if (fake.log.length !== 1 || fake.charged.length !== 0) throw new Error("?");
 * ```
 *
 * @module
 */

import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { createAccount } from "./fake_account.ts";
import { answerBackend } from "./fake_backend.ts";
import { Delivery, json, type Prepared, readBody } from "./fake_http.ts";
import { Issuer } from "./fake_issuer.ts";
import { type Entry, type FakeRequest, RequestLog } from "./fake_log.ts";
import type { FakeCodex, FakeCodexOptions } from "./fake_interface.ts";
import { lifetimeOf, type Realm } from "./fake_realm.ts";
import { TokenMint } from "./fake_tokens.ts";
import type {
  FakeAccount,
  FakeAccountOptions,
  FakeKind,
  FakeLogEntry,
  FakeTokens,
} from "./fake_types.ts";

export type { FakeCodex, FakeCodexOptions } from "./fake_interface.ts";
export type {
  FakeAccount,
  FakeAccountOptions,
  FakeAnswer,
  FakeCredits,
  FakeKind,
  FakeLogEntry,
  FakeMeter,
  FakeReply,
  FakeSlot,
  FakeTokenField,
  FakeTokens,
  FakeWindow,
} from "./fake_types.ts";

const ISSUER_PATH = "/issuer";

/**
 * Starts a stand-in on 127.0.0.1.
 *
 * @param options Accounts, clock, port and how strict it is.
 * @returns The stand-in, listening.
 */
export async function startFakeCodex(
  options: FakeCodexOptions = {},
): Promise<FakeCodex> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", () => resolve());
  });
  return new StandIn(server, options);
}

class StandIn implements FakeCodex {
  readonly backend: string;
  readonly issuer: string;
  readonly violations: string[] = [];
  readonly canary: string;
  usagePaths: readonly string[];
  readonly #server: Server;
  readonly #realm: Realm;
  readonly #issuer: Issuer;
  readonly #log = new RequestLog();

  constructor(server: Server, options: FakeCodexOptions) {
    const { port } = server.address() as AddressInfo;
    const origin = `http://127.0.0.1:${port}`;
    const backendPath = options.backendPath ?? "/backend-api";
    this.backend = origin + backendPath;
    this.issuer = origin + ISSUER_PATH;
    this.usagePaths = options.usagePaths ??
      [
        backendPath.includes("/backend-api")
          ? "/wham/usage"
          : "/api/codex/usage",
      ];
    const mint = new TokenMint();
    this.canary = mint.canary;
    this.#realm = {
      now: options.now ?? Date.now,
      mint,
      accounts: new Map(),
      violations: this.violations,
      strict: options.strict ?? true,
      accessLifetimeMs: options.accessLifetimeMs ?? 3_600_000,
    };
    this.#issuer = new Issuer(this.#realm, {
      url: this.issuer,
      revokeFamilyOnReuse: options.revokeFamilyOnReuse ?? true,
      redirectPorts: options.redirectPorts ?? [1455, 1457],
      deviceInterval: options.deviceInterval ?? 5,
    });
    for (const [name, account] of Object.entries(options.accounts ?? {})) {
      this.addAccount(name, account);
    }
    this.#server = server;
    server.on("request", (request, response) => {
      void this.#handle(request, response);
    });
  }

  get log(): readonly FakeLogEntry[] {
    return this.#log.entries;
  }

  get charged(): readonly FakeLogEntry[] {
    return this.#log.entries.filter((entry) => entry.charged);
  }

  get signInAs(): string | null {
    return this.#issuer.signInAs;
  }

  set signInAs(name: string | null) {
    this.#issuer.signInAs = name;
  }

  get deviceLogin(): boolean {
    return this.#issuer.deviceLogin;
  }

  set deviceLogin(allowed: boolean) {
    this.#issuer.deviceLogin = allowed;
  }

  account(name: string): FakeAccount {
    const account = this.#realm.accounts.get(name);
    if (account !== undefined) return account;
    const names = [...this.#realm.accounts.keys()].join(", ") || "none";
    throw new Error(`No account is named ${name}, there is ${names}`);
  }

  addAccount(name: string, options: FakeAccountOptions = {}): FakeAccount {
    const account = createAccount(name, options, this.#realm.now());
    this.#realm.accounts.set(name, account);
    return account;
  }

  tokens(name: string, options: { lifetimeMs?: number } = {}): FakeTokens {
    const account = this.account(name);
    return this.#realm.mint.signIn(
      account,
      this.#realm.now(),
      options.lifetimeMs ?? lifetimeOf(this.#realm, account),
    );
  }

  revoke(name: string, what: "access" | "all"): void {
    this.#realm.mint.revoke(this.account(name).name, what === "all");
  }

  approveDevice(userCode: string, account: string): void {
    this.#issuer.decideDevice(userCode, this.account(account).name);
  }

  denyDevice(userCode: string): void {
    this.#issuer.decideDevice(userCode, null);
  }

  seen(
    matches: (entry: FakeLogEntry) => boolean,
    options: { timeoutMs?: number } = {},
  ): Promise<FakeLogEntry> {
    return this.#log.seen(matches, options.timeoutMs ?? 10_000);
  }

  clearLog(): void {
    this.#log.entries.length = 0;
  }

  async close(): Promise<void> {
    this.#log.close();
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #handle(
    message: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { body, complete } = await readBody(message);
    const request: FakeRequest = {
      method: message.method ?? "GET",
      url: new URL(message.url ?? "/", this.backend),
      headers: flatten(message.headers),
      body,
    };
    const entry = this.#log.add(request, this.#kindOf(request), this.#now());
    const changed = () => this.#log.changed(entry);
    if (!complete) {
      entry.aborted = entry.done = true;
      return changed();
    }
    const delivery = new Delivery(response, entry, changed);
    const prepared = this.#answer(request, entry);
    changed();
    await delivery.send(prepared);
  }

  #now(): number {
    return this.#realm.now();
  }

  #answer(request: FakeRequest, entry: Entry): Prepared {
    const path = below(this.issuer, request.url);
    try {
      return path === undefined
        ? answerBackend(this.#realm, entry)
        : this.#issuer.answer(path, entry);
    } catch (error) {
      // A hook of the test threw: it is told, and the stand-in lives on.
      const message = `A hook of the stand-in failed: ${error}`;
      return { plan: json(500, { error: { message } }), script: {} };
    }
  }

  #kindOf(request: FakeRequest): FakeKind {
    const issuerPath = below(this.issuer, request.url);
    if (issuerPath !== undefined) return issuerKind(issuerPath);
    const path = below(this.backend, request.url);
    if (path === undefined) return "other";
    switch (`${request.method} ${path}`) {
      case "POST /codex/responses":
        return "responses";
      case "POST /codex/responses/compact":
        return "compact";
      case "GET /codex/models":
        return "models";
    }
    const usage = request.method === "GET" && this.usagePaths.includes(path);
    return usage ? "usage" : "other";
  }
}

function issuerKind(path: string): FakeKind {
  if (path === "/oauth/token") return "token";
  if (path === "/oauth/authorize") return "authorize";
  return path.startsWith("/api/accounts/deviceauth/") ? "device" : "other";
}

/** The rest of a path below a base URL; undefined: it lies elsewhere. */
function below(base: string, url: URL): string | undefined {
  const path = new URL(base).pathname.replace(/\/$/, "");
  return url.pathname.startsWith(`${path}/`)
    ? url.pathname.slice(path.length)
    : undefined;
}

function flatten(
  headers: IncomingMessage["headers"],
): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) {
      flat[name] = Array.isArray(value) ? value.join(", ") : value;
    }
  }
  return flat;
}
