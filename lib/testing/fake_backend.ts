/**
 * The backend of the stand-in: who may enter, who is served, on what.
 *
 * @module
 */

import { admit, settle } from "./fake_account.ts";
import {
  html,
  json,
  type Plan,
  prepare,
  type Prepared,
  stream,
  text,
} from "./fake_http.ts";
import {
  limitHeaders,
  rateLimitsEvent,
  usageLimitBody,
  usagePayload,
} from "./fake_limits.ts";
import type { Entry } from "./fake_log.ts";
import { nextScript, type Realm } from "./fake_realm.ts";
import { foreignCiphertext, mintCiphertext, refusal } from "./fake_request.ts";
import { compaction, replyEvents } from "./fake_stream.ts";
import type { FakeAccount, FakeReply } from "./fake_types.ts";

// What runtimes and SDKs send by themselves: the real backend's front door refuses it.
const DEFAULT_AGENT =
  /^(deno|bun|node|undici|node-fetch|axios|got|(async)?openai|ai|ai-sdk|python-requests|python-httpx|aiohttp|python-urllib|go-http-client)(\/|\s|$)/i;

const MODELS = [
  "gpt-5.3-codex",
  "gpt-5.3-codex-spark",
  "gpt-5.2-codex",
  "gpt-5.1-codex-mini",
];

/** Answers one request to the backend. */
export function answerBackend(realm: Realm, entry: Entry): Prepared {
  const agent = entry.headers["user-agent"] ?? "";
  if (agent === "" || DEFAULT_AGENT.test(agent)) {
    return { plan: html(403, CLOUDFLARE_PAGE), script: {} };
  }
  const account = authenticate(realm, entry);
  if (typeof account === "string") {
    return { plan: unauthorized(account), script: {} };
  }
  settle(account, realm.now());
  noteMisuse(realm, entry, account);
  switch (entry.kind) {
    case "responses":
    case "compact":
      return answerResponses(realm, entry, account);
    case "models": {
      const script = nextScript(account.queue, account.always);
      return prepare(script, () => modelList(account));
    }
    case "usage": {
      const script = nextScript(account.usageQueue, account.usageAlways);
      return prepare(script, () => usage(account, realm.now()));
    }
    default:
      return { plan: json(404, { detail: "Not Found" }), script: {} };
  }
}

/** @returns The account, or the code of the refusal. */
function authenticate(realm: Realm, entry: Entry): FakeAccount | string {
  const bearer = /^Bearer (.+)$/.exec(entry.headers.authorization ?? "")?.[1];
  const grant = bearer === undefined ? undefined : realm.mint.lookUp(bearer);
  const account = realm.accounts.get(grant?.account ?? "");
  if (grant === undefined || account === undefined) return "invalid_token";
  entry.account = account.name;
  if (grant.revoked) return "token_invalidated";
  if (grant.expiresAt <= realm.now()) return "token_expired";
  const shown = entry.headers["chatgpt-account-id"];
  if (shown !== undefined && shown !== grant.accountId) {
    realm.violations.push(
      `Request ${entry.n} showed a token of ${account.name} with another account's id`,
    );
  }
  if (shown !== grant.accountId) return "account_mismatch";
  return account.rejectAll ? "token_invalidated" : account;
}

function unauthorized(code: string): Plan {
  return json(401, {
    error: {
      message: "Your authentication token cannot be used, sign in again",
      type: "invalid_request_error",
      code,
      param: null,
    },
    status: 401,
  });
}

function noteMisuse(realm: Realm, entry: Entry, account: FakeAccount): void {
  const note = (what: string) =>
    realm.violations.push(`Request ${entry.n} to ${account.name} ${what}`);
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

function answerResponses(
  realm: Realm,
  entry: Entry,
  account: FakeAccount,
): Prepared {
  const headers = () => responseHeaders(realm, entry, account);
  const script = nextScript(account.queue, account.always);
  return prepare(
    script,
    () => serve(realm, entry, account, { ...account.reply, ...script?.reply }),
    headers,
  );
}

function responseHeaders(
  realm: Realm,
  entry: Entry,
  account: FakeAccount,
): Record<string, string> {
  return account.headers({
    "content-type": "text/event-stream; charset=utf-8",
    ...limitHeaders(account, entry.model, realm.now()),
    "x-codex-turn-state": `turn-${account.name}-${entry.n}`,
    "x-request-id": `req_${entry.n}`,
  });
}

function serve(
  realm: Realm,
  entry: Entry,
  account: FakeAccount,
  reply: FakeReply,
): Plan {
  const now = realm.now();
  const refused = refuse(realm, entry, account);
  if (refused !== undefined) return refused;
  const verdict = admit(account, entry.model, now);
  if (verdict.kind === "limited") {
    return limited(verdict.code, realm, entry, account);
  }
  entry.charged = verdict.kind === "charged";
  const headers = responseHeaders(realm, entry, account);
  const id = String(entry.n);
  if (entry.kind === "compact") {
    const body = compaction(id, mintCiphertext(account, entry.n), now);
    return decorated(json(200, body), headers);
  }
  const context = {
    account: account.name,
    model: entry.model,
    id,
    now,
    encrypted: wantsCiphertext(entry.json)
      ? mintCiphertext(account, entry.n)
      : undefined,
    rateLimits: () => rateLimitsEvent(account, entry.model),
  };
  const plan = stream({}, replyEvents(reply, context));
  // As the hook left them: it may take the content type away.
  return { ...plan, headers };
}

function refuse(
  realm: Realm,
  entry: Entry,
  account: FakeAccount,
): Plan | undefined {
  if (account.deactivated) return deactivated();
  const detail = realm.strict ? refusal(entry) : undefined;
  if (detail !== undefined) return json(400, { detail });
  const { model } = entry;
  if (model !== null && account.supportedModels?.includes(model) === false) {
    return json(400, {
      detail:
        `The '${model}' model is not supported when using Codex with a ChatGPT account.`,
    });
  }
  if (foreignCiphertext(entry.json, account)) {
    return json(400, {
      error: {
        message: "The encrypted content could not be verified.",
        type: "invalid_request_error",
        code: "invalid_encrypted_content",
        param: null,
      },
    });
  }
  if (!account.noCodex) return undefined;
  return limited("usage_not_included", realm, entry, account);
}

function limited(
  code: string,
  realm: Realm,
  entry: Entry,
  account: FakeAccount,
): Plan {
  const body = code === "usage_limit_reached"
    ? usageLimitBody(account, entry.model, realm.now())
    : { error: { type: code, code, message: "This request is not allowed" } };
  return decorated(json(429, body), responseHeaders(realm, entry, account));
}

/** The account's headers, but the body's own type and length. */
function decorated(plan: Plan, headers: Record<string, string>): Plan {
  return { ...plan, headers: { ...headers, ...plan.headers } };
}

function deactivated(): Plan {
  return json(402, { detail: { code: "deactivated_workspace" } });
}

function wantsCiphertext(body: unknown): boolean {
  const include = (body as { include?: unknown } | null | undefined)?.include;
  return Array.isArray(include) &&
    include.includes("reasoning.encrypted_content");
}

function usage(account: FakeAccount, now: number): Plan {
  if (account.deactivated) return deactivated();
  const payload = account.usageOverride(usagePayload(account, now));
  return typeof payload === "string"
    ? text(200, payload, "application/json")
    : json(200, payload);
}

function modelList(account: FakeAccount): Plan {
  if (account.deactivated) return deactivated();
  const models = account.supportedModels ?? MODELS;
  return json(200, {
    models: models.map((slug) => ({ slug, display_name: slug })),
  });
}

const CLOUDFLARE_PAGE = `<!DOCTYPE html>
<html lang="en-US"><head><title>Just a moment...</title></head>
<body><noscript>Enable JavaScript and cookies to continue</noscript></body></html>
`;
