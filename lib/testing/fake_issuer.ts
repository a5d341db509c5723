/**
 * The issuer of the stand-in: token refresh, browser login, device login.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { html, json, type Plan, prepare, type Prepared } from "./fake_http.ts";
import type { Entry } from "./fake_log.ts";
import { lifetimeOf, nextScript, type Realm } from "./fake_realm.ts";
import { CLIENT_ID } from "./fake_tokens.ts";
import type { FakeAccount, FakeTokenField, FakeTokens } from "./fake_types.ts";

const CODE_LIFETIME_MS = 5 * 60_000;
const DEVICE_LIFETIME_MS = 15 * 60_000;
const SCOPES = ["openid", "profile", "email", "offline_access"];
const FIELDS: readonly FakeTokenField[] = [
  "id_token",
  "access_token",
  "refresh_token",
];

/** How an issuer behaves. */
export interface IssuerSettings {
  /** Its URL. */
  readonly url: string;
  readonly revokeFamilyOnReuse: boolean;
  readonly redirectPorts: readonly number[];
  /** Seconds between two polls, as told to the client. */
  readonly deviceInterval: number;
}

interface CodeGrant {
  readonly account: string;
  readonly redirect: string;
  readonly challenge: string;
  readonly expiresAt: number;
}

interface DeviceGrant {
  readonly userCode: string;
  readonly expiresAt: number;
  state: "pending" | "denied" | { readonly account: string };
}

/** Signs accounts in and keeps them signed in. */
export class Issuer {
  /** Who is signed in without being asked; null: the page asks. */
  signInAs: string | null = null;
  /** Whether a device may sign in at all. */
  deviceLogin = true;
  readonly #realm: Realm;
  readonly #settings: IssuerSettings;
  readonly #codes = new Map<string, CodeGrant>();
  readonly #devices = new Map<string, DeviceGrant>();

  constructor(realm: Realm, settings: IssuerSettings) {
    this.#realm = realm;
    this.#settings = settings;
  }

  /**
   * @param path The path below the issuer's URL.
   * @param entry The request.
   */
  answer(path: string, entry: Entry): Prepared {
    switch (`${entry.method} ${path}`) {
      case "POST /oauth/token":
        return this.#token(entry);
      case "GET /oauth/authorize":
        return unscripted(this.#authorize(entry));
      case "POST /api/accounts/deviceauth/usercode":
        return unscripted(this.#userCode(entry));
      case "POST /api/accounts/deviceauth/token":
        return unscripted(this.#pollDevice(entry));
      default:
        return unscripted(json(404, { error: { code: "not_found" } }));
    }
  }

  /** Settles a device login. */
  decideDevice(userCode: string, account: string | null): void {
    for (const device of this.#devices.values()) {
      if (device.userCode !== userCode) continue;
      device.state = account === null ? "denied" : { account };
      return;
    }
    throw new Error(`No device login shows the code ${userCode}`);
  }

  #token(entry: Entry): Prepared {
    const form = formFields(entry);
    const fields = form ?? jsonFields(entry);
    if (fields.client_id !== CLIENT_ID) {
      return unscripted(refused("invalid_client", 401));
    }
    switch (fields.grant_type) {
      case "refresh_token":
        return this.#refresh(entry, fields.refresh_token ?? "");
      case "authorization_code":
        // The real one takes codes from a form only.
        if (form === undefined) return unscripted(refused("invalid_request"));
        return this.#exchange(entry, form);
      default:
        return unscripted(refused("unsupported_grant_type"));
    }
  }

  #refresh(entry: Entry, token: string): Prepared {
    const account = this.#realm.accounts.get(
      this.#realm.mint.holder(token) ?? "",
    );
    if (account === undefined) return unscripted(refused("invalid_grant"));
    entry.account = account.name;
    const script = nextScript(account.tokenQueue, account.tokenAlways);
    return prepare(script, () => this.#trade(entry, account, token));
  }

  #trade(entry: Entry, account: FakeAccount, token: string): Plan {
    const verdict = this.#realm.mint.trade(
      token,
      account,
      this.#realm.now(),
      lifetimeOf(this.#realm, account),
      this.#settings.revokeFamilyOnReuse,
    );
    if (verdict.ok) return tokenAnswer(verdict.tokens, verdict.fields);
    if (verdict.code === "refresh_token_reused") {
      this.#realm.violations.push(
        `Request ${entry.n} showed a spent refresh token of ${account.name}`,
      );
    }
    return refused(verdict.code, 401);
  }

  #exchange(entry: Entry, form: Record<string, string>): Prepared {
    const code = form.code ?? "";
    const grant = this.#codes.get(code);
    // A code serves once, whatever comes of it.
    this.#codes.delete(code);
    const account = this.#realm.accounts.get(grant?.account ?? "");
    const now = this.#realm.now();
    if (
      grant === undefined || account === undefined || grant.expiresAt <= now ||
      grant.redirect !== form.redirect_uri ||
      grant.challenge !== challengeOf(form.code_verifier ?? "")
    ) return unscripted(refused("invalid_grant"));
    entry.account = account.name;
    const script = nextScript(account.tokenQueue, account.tokenAlways);
    return prepare(script, () => {
      const lifetime = lifetimeOf(this.#realm, account);
      return tokenAnswer(
        this.#realm.mint.signIn(account, now, lifetime),
        FIELDS,
      );
    });
  }

  #authorize(entry: Entry): Plan {
    const query = new URL(entry.path, this.#settings.url).searchParams;
    const fault = this.#authorizeFault(query);
    if (fault !== undefined) {
      return json(400, {
        error: "invalid_request",
        error_description: `Unfit parameter: ${fault}`,
      });
    }
    if (this.signInAs !== null) {
      if (!this.#realm.accounts.has(this.signInAs)) {
        return refused("access_denied");
      }
      entry.account = this.signInAs;
      return {
        status: 302,
        headers: { location: this.#callback(query, this.signInAs) },
        chunks: [],
      };
    }
    const links = [...this.#realm.accounts.keys()].map((name) =>
      `<p><a href="${this.#callback(query, name).replaceAll("&", "&amp;")}">${
        name.replaceAll("<", "&lt;")
      }</a></p>`
    );
    return html(
      200,
      `<!DOCTYPE html>\n<title>Sign in</title>\n${links.join("\n")}\n`,
    );
  }

  #authorizeFault(query: URLSearchParams): string | undefined {
    const wanted: [string, (value: string) => boolean][] = [
      ["response_type", (value) => value === "code"],
      ["client_id", (value) => value === CLIENT_ID],
      ["redirect_uri", (value) => this.#isCallback(value)],
      ["scope", (value) => {
        const scopes = value.split(" ");
        return SCOPES.every((scope) => scopes.includes(scope));
      }],
      ["code_challenge_method", (value) => value === "S256"],
      ["code_challenge", (value) => /^[\w-]{43}$/.test(value)],
      ["state", (value) => value !== ""],
      ["id_token_add_organizations", (value) => value === "true"],
      ["codex_cli_simplified_flow", (value) => value === "true"],
    ];
    return wanted.find(([name, fits]) => !fits(query.get(name) ?? ""))?.[0];
  }

  #isCallback(value: string): boolean {
    const port = /^http:\/\/localhost:(\d+)\/auth\/callback$/.exec(value)?.[1];
    return this.#settings.redirectPorts.includes(Number(port));
  }

  #callback(query: URLSearchParams, account: string): string {
    const redirect = query.get("redirect_uri") ?? "";
    const url = new URL(redirect);
    const challenge = query.get("code_challenge") ?? "";
    url.searchParams.set("code", this.#mintCode(account, redirect, challenge));
    url.searchParams.set("state", query.get("state") ?? "");
    return url.href;
  }

  #mintCode(account: string, redirect: string, challenge: string): string {
    const code = `ac_${this.#realm.mint.canary}_${token()}`;
    const expiresAt = this.#realm.now() + CODE_LIFETIME_MS;
    this.#codes.set(code, { account, redirect, challenge, expiresAt });
    return code;
  }

  #userCode(entry: Entry): Plan {
    if (!this.deviceLogin) return json(404, { error: { code: "not_enabled" } });
    if (jsonFields(entry).client_id !== CLIENT_ID) {
      return refused("invalid_client", 401);
    }
    const id = `device_${token()}`;
    const hex = randomBytes(5).toString("hex").toUpperCase();
    const userCode = `${hex.slice(0, 4)}-${hex.slice(4, 9)}`;
    const expiresAt = this.#realm.now() + DEVICE_LIFETIME_MS;
    this.#devices.set(id, { userCode, expiresAt, state: "pending" });
    return json(200, {
      device_auth_id: id,
      user_code: userCode,
      interval: String(this.#settings.deviceInterval),
    });
  }

  #pollDevice(entry: Entry): Plan {
    const fields = jsonFields(entry);
    const id = fields.device_auth_id ?? "";
    const device = this.#devices.get(id);
    if (device === undefined || device.userCode !== fields.user_code) {
      return json(404, { error: { code: "deviceauth_not_found" } });
    }
    if (device.expiresAt <= this.#realm.now()) return refused("expired_token");
    if (device.state === "denied") return refused("access_denied");
    if (device.state === "pending") {
      return json(403, { error: { code: "deviceauth_authorization_pending" } });
    }
    this.#devices.delete(id);
    entry.account = device.state.account;
    const verifier = token();
    const challenge = challengeOf(verifier);
    const redirect = `${this.#settings.url}/deviceauth/callback`;
    return json(200, {
      authorization_code: this.#mintCode(entry.account, redirect, challenge),
      code_challenge: challenge,
      code_verifier: verifier,
    });
  }
}

function unscripted(plan: Plan): Prepared {
  return { plan, script: {} };
}

// The real one has two shapes: an object with a code, and the bare OAuth string.
function refused(code: string, status = 400): Plan {
  if (status === 400) {
    return json(400, { error: code, error_description: "Request refused" });
  }
  const type = "invalid_request_error";
  const message = "Your sign-in cannot be used any more, sign in again";
  return json(status, { error: { message, type, param: null, code } });
}

function tokenAnswer(
  tokens: FakeTokens,
  fields: readonly FakeTokenField[],
): Plan {
  const all: Record<FakeTokenField, string> = {
    id_token: tokens.id,
    access_token: tokens.access,
    refresh_token: tokens.refresh,
  };
  return json(
    200,
    Object.fromEntries(fields.map((field) => [field, all[field]])),
  );
}

function formFields(entry: Entry): Record<string, string> | undefined {
  const type = entry.headers["content-type"] ?? "";
  return type.startsWith("application/x-www-form-urlencoded")
    ? Object.fromEntries(new URLSearchParams(entry.text))
    : undefined;
}

function jsonFields(entry: Entry): Record<string, string> {
  const fields = Object.entries(entry.json ?? {});
  return Object.fromEntries(
    fields.filter(([, value]) => typeof value === "string"),
  );
}

function challengeOf(verifier: string): string {
  return createHash("sha256").update(verifier).digest("base64url");
}

function token(): string {
  return randomBytes(24).toString("base64url");
}
