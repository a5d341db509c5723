/**
 * The issuer of the stand-in: token refresh, browser login, device login.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { json, type Plan, scripted } from "./http.ts";
import type { Entry, FakeKind } from "./log.ts";
import type { FakeAccount, FakeCodexOptions } from "./account.ts";
import type { FakeTokens } from "./types.ts";
import { CLIENT_ID, nextScript, SCOPES, type World } from "./access.ts";

const CODE_LIFETIME_MS = 5 * 60_000;
const DEVICE_LIFETIME_MS = 15 * 60_000;

const PENDING = { error: { code: "deviceauth_authorization_pending" } };

/** What each path below the issuer's URL is for. */
export const ISSUER_ENDPOINTS: Record<string, FakeKind> = {
  "POST /oauth/token": "token",
  "GET /oauth/authorize": "authorize",
  "POST /api/accounts/deviceauth/usercode": "device",
  "POST /api/accounts/deviceauth/token": "device",
};

/** What an authorization request has to say. */
const AUTHORIZE: Record<string, (value: string) => boolean> = {
  response_type: (value) => value === "code",
  client_id: (value) => value === CLIENT_ID,
  scope: (value) => SCOPES.every((it) => value.split(" ").includes(it)),
  code_challenge_method: (value) => value === "S256",
  code_challenge: (value) => /^[\w-]{43}$/.test(value),
  state: (value) => value !== "",
  id_token_add_organizations: (value) => value === "true",
  codex_cli_simplified_flow: (value) => value === "true",
};

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

export class Issuer {
  readonly #world: World;
  readonly #url: string;
  readonly #options: FakeCodexOptions;
  readonly #codes = new Map<string, CodeGrant>();
  readonly #devices = new Map<string, DeviceGrant>();

  constructor(world: World, url: string, options: FakeCodexOptions) {
    this.#world = world;
    this.#url = url;
    this.#options = options;
  }

  answer(path: string, entry: Entry): Plan {
    if (entry.kind === "token") return this.#token(entry);
    if (entry.kind === "authorize") return this.#authorize(entry);
    if (entry.kind !== "device") {
      return json(404, { error: { code: "not_found" } });
    }
    return path.endsWith("/usercode")
      ? this.#userCode(entry)
      : this.#pollDevice(entry);
  }

  /** Settles a device login; null: denied. */
  decideDevice(userCode: string, account: string | null): void {
    const device = [...this.#devices.values()]
      .find((it) => it.userCode === userCode);
    if (!device) throw new Error(`No device login shows the code ${userCode}`);
    device.state = account === null ? "denied" : { account };
  }

  #token(entry: Entry): Plan {
    const form = formFields(entry);
    const fields = form ?? jsonFields(entry);
    if (fields.client_id !== CLIENT_ID) return refused("invalid_client");
    if (fields.grant_type === "refresh_token") {
      return this.#refresh(entry, fields.refresh_token ?? "");
    }
    if (fields.grant_type !== "authorization_code") {
      return fault("unsupported_grant_type");
    }
    // The real one takes codes from a form only.
    return form ? this.#exchange(entry, form) : fault("invalid_request");
  }

  #refresh(entry: Entry, token: string): Plan {
    const holder = this.#world.mint.holder(token) ?? "";
    const account = this.#world.accounts.get(holder);
    if (account === undefined) return refused("invalid_grant");
    entry.account = account.name;
    return scriptedToken(account, () => {
      const tokens = this.#world.mint.trade(token, account);
      if (typeof tokens !== "string") {
        return tokenAnswer(tokens, account.tokenFields);
      }
      if (tokens === "refresh_token_reused") {
        const what = `showed a spent refresh token of ${account.name}`;
        this.#world.blame(entry, what);
      }
      return refused(tokens);
    });
  }

  #exchange(entry: Entry, form: Record<string, string>): Plan {
    const code = form.code ?? "";
    const grant = this.#codes.get(code);
    // A code serves once, whatever the answer.
    this.#codes.delete(code);
    const account = this.#world.accounts.get(grant?.account ?? "");
    const now = this.#world.now();
    if (
      grant === undefined || account === undefined || grant.expiresAt <= now ||
      grant.redirect !== form.redirect_uri ||
      grant.challenge !== challengeOf(form.code_verifier ?? "")
    ) return refused("invalid_grant");
    entry.account = account.name;
    const { mint } = this.#world;
    return scriptedToken(account, () => tokenAnswer(mint.signIn(account)));
  }

  #authorize(entry: Entry): Plan {
    const query = new URL(entry.path, this.#url).searchParams;
    const told = (name: string) => query.get(name) ?? "";
    const unfit = Object.entries(AUTHORIZE)
      .find(([name, fits]) => !fits(told(name)))?.[0] ??
      (this.#isCallback(told("redirect_uri")) ? undefined : "redirect_uri");
    if (unfit !== undefined) {
      return fault("invalid_request", `Unfit parameter: ${unfit}`);
    }
    const name = this.#world.switches.signInAs ?? "";
    if (!this.#world.accounts.has(name)) return fault("access_denied");
    entry.account = name;
    const redirect = told("redirect_uri");
    const url = new URL(redirect);
    const code = this.#mintCode(name, redirect, told("code_challenge"));
    url.search = `${new URLSearchParams({ code, state: told("state") })}`;
    return { status: 302, headers: { location: url.href }, parts: [] };
  }

  #isCallback(url: string): boolean {
    const port = /^http:\/\/localhost:(\d+)\/auth\/callback$/.exec(url)?.[1];
    const { redirectPorts = [1455, 1457] } = this.#options;
    return redirectPorts.includes(Number(port));
  }

  #mintCode(account: string, redirect: string, challenge: string): string {
    const code = `ac_${this.#world.mint.canary}_${random()}`;
    const expiresAt = this.#world.now() + CODE_LIFETIME_MS;
    this.#codes.set(code, { account, redirect, challenge, expiresAt });
    return code;
  }

  #userCode(entry: Entry): Plan {
    if (!this.#world.switches.deviceLogin) {
      return json(404, { error: { code: "not_enabled" } });
    }
    if (jsonFields(entry).client_id !== CLIENT_ID) {
      return refused("invalid_client");
    }
    const id = `device_${random()}`;
    const hex = randomBytes(5).toString("hex").toUpperCase();
    const userCode = `${hex.slice(0, 4)}-${hex.slice(4, 9)}`;
    const expiresAt = this.#world.now() + DEVICE_LIFETIME_MS;
    this.#devices.set(id, { userCode, expiresAt, state: "pending" });
    const interval = String(this.#options.deviceInterval ?? 5);
    return json(200, { device_auth_id: id, user_code: userCode, interval });
  }

  #pollDevice(entry: Entry): Plan {
    const fields = jsonFields(entry);
    const id = fields.device_auth_id ?? "";
    const device = this.#devices.get(id);
    if (device === undefined || device.userCode !== fields.user_code) {
      return json(404, { error: { code: "deviceauth_not_found" } });
    }
    if (device.expiresAt <= this.#world.now()) return fault("expired_token");
    if (device.state === "denied") return fault("access_denied");
    if (device.state === "pending") return json(403, PENDING);
    this.#devices.delete(id);
    entry.account = device.state.account;
    const verifier = random();
    const challenge = challengeOf(verifier);
    const redirect = `${this.#url}/deviceauth/callback`;
    return json(200, {
      authorization_code: this.#mintCode(entry.account, redirect, challenge),
      code_challenge: challenge,
      code_verifier: verifier,
    });
  }
}

/** The answer to a token request, as the account's script says. */
function scriptedToken(
  { tokenQueue, tokenAlways }: FakeAccount,
  ordinary: () => Plan,
): Plan {
  return scripted(nextScript(tokenQueue, tokenAlways), ordinary);
}

function fault(error: string, description = "Request refused"): Plan {
  return json(400, { error, error_description: description });
}

/** A refusal as the real one puts it: `invalid_grant` bare, others as an object with a code. */
function refused(code: string): Plan {
  if (code === "invalid_grant") return fault(code);
  const type = "invalid_request_error";
  const message = "Your sign-in cannot be used any more, sign in again";
  const error = { message, type, param: null, code };
  return json(401, { error });
}

function tokenAnswer(
  { id, access, refresh }: FakeTokens,
  fields?: readonly string[],
): Plan {
  const all = { id_token: id, access_token: access, refresh_token: refresh };
  const told = Object.entries(all)
    .filter(([name]) => fields?.includes(name) ?? true);
  return json(200, Object.fromEntries(told));
}

function formFields(entry: Entry): Record<string, string> | undefined {
  const type = entry.headers["content-type"] ?? "";
  return type.startsWith("application/x-www-form-urlencoded")
    ? Object.fromEntries(new URLSearchParams(entry.text))
    : undefined;
}

function jsonFields(entry: Entry): Record<string, string> {
  const fields = Object.entries(entry.json ?? {})
    .filter(([, value]) => typeof value === "string");
  return Object.fromEntries(fields);
}

function challengeOf(verifier: string): string {
  return createHash("sha256").update(verifier).digest("base64url");
}

function random(): string {
  return randomBytes(24).toString("base64url");
}
