/**
 * The backend of the stand-in: who may enter, who is served, on what.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { authenticate, hasOwnAgent, nextScript, type World } from "./access.ts";
import { admit, charge, settle, useWindows } from "./allowance.ts";
import {
  EVENT_STREAM,
  type HeaderFields,
  html,
  json,
  type Plan,
  scripted,
  stream,
  text,
} from "./http.ts";
import { limitHeaders, usageLimitError, usagePayload } from "./limits.ts";
import type { Entry, FakeKind } from "./log.ts";
import {
  bodyRefusal,
  ciphertextRefusal,
  itemsOf,
  modelRefusal,
  modelsFor,
  type Refusal,
} from "./refusals.ts";
import {
  compaction,
  failureEvents,
  type ReplyContext,
  replyEvents,
} from "./reply.ts";
import type { FakeAccount } from "./account.ts";
import type { FakeAnswer } from "./types.ts";

/** What each path below the backend's URL is for, usage apart. */
export const ENDPOINTS: Record<string, FakeKind> = {
  "POST /codex/responses": "responses",
  "POST /codex/responses/compact": "compact",
  "GET /codex/models": "models",
  "POST /codex/alpha/search": "search",
  "POST /codex/images/generations": "images",
  "POST /codex/images/edits": "images",
  "POST /codex/memories/trace_summarize": "memories",
};

const OVERLOADS: Record<string, string> = {
  server_is_overloaded:
    "Selected model is at capacity. Please try a different model.",
  slow_down: "Too many requests to this model, slow down",
};

/** What Cloudflare refuses an unnamed client with. */
const CHALLENGE = `<!DOCTYPE html>
<html lang="en-US"><head><title>Just a moment...</title></head>
<body><noscript>Enable JavaScript and cookies to continue</noscript></body></html>
`;
const DEACTIVATED = { detail: { code: "deactivated_workspace" } };

interface Turn {
  readonly world: World;
  readonly entry: Entry;
  readonly account: FakeAccount;
  readonly script: FakeAnswer | undefined;
}

export function answerBackend(world: World, entry: Entry): Plan {
  if (!hasOwnAgent(entry)) return html(403, CHALLENGE);
  const account = authenticate(world, entry);
  if (typeof account === "string") return unauthorized(account);
  settle(account, world.now());
  if (entry.kind === "usage") {
    const script = nextScript(account.usageQueue, account.usageAlways);
    return scripted(script, () => usage(account, world.now()));
  }
  if (entry.kind === "other") return json(404, { detail: "Not Found" });
  const [path] = entry.path.split("?");
  const script = nextScript(account.queue, account.always, path);
  const turn = { world, entry, account, script };
  return scripted(
    script,
    () => entry.kind === "models" ? modelList(turn) : serve(turn),
    () => responseHeaders(turn),
  );
}

function unauthorized(code: string): Plan {
  const message = "Your authentication token cannot be used, sign in again";
  const type = "invalid_request_error";
  const error = { message, type, code, param: null };
  return json(401, { error, status: 401 });
}

function serve(turn: Turn): Plan {
  const { world, entry, account } = turn;
  const refused = refuse(turn);
  if (refused) return refused;
  const verdict = admit(account, entry.model, world.now());
  if (typeof verdict === "object") return limited(turn, verdict.refused);
  const atEnd = () => book(turn);
  if (account.chargesAtEnd) return { ...content(turn), atEnd };
  book(turn);
  return content(turn);
}

/** Uses up what a served request costs, on what is left now. */
function book({ world, entry, account, script }: Turn): void {
  const now = world.now();
  const { model, n: request } = entry;
  const use = { model, request, cost: script?.cost ?? {} };
  entry.charged = admit(account, model, now) === "charged";
  if (entry.charged) world.book.push(charge(account, use, now));
  else useWindows(account, use, now);
}

function content(turn: Turn): Plan {
  const { entry, account, script } = turn;
  const headers = responseHeaders(turn);
  const context = contextOf(turn);
  if (entry.kind === "responses") {
    const reply = { ...account.reply, ...script?.reply };
    return stream(headers, replyEvents(reply, context));
  }
  const body = entry.kind === "compact"
    ? compaction(context)
    : { output: `Hello from ${account.name}` };
  return decorated(json(200, body), headers);
}

function contextOf({ world, entry, account }: Turn): ReplyContext {
  const { json, kind, model, n } = entry;
  const compacts = itemsOf(json).at(-1)?.type === "compaction_trigger";
  const { include } = Object(json);
  const encrypts = compacts || kind === "compact" || (Array.isArray(include) &&
    include.includes("reasoning.encrypted_content"));
  return {
    account: account.name,
    model,
    id: String(n),
    now: world.now(),
    encrypted: encrypts ? `enc:${account.name}:${n}` : undefined,
    compacts,
  };
}

/** The account's headers, but the body's own type and length. */
function decorated(plan: Plan, headers: HeaderFields): Plan {
  return { ...plan, headers: { ...headers, ...plan.headers } };
}

function responseHeaders({ world, entry, account }: Turn) {
  return account.headers({
    ...EVENT_STREAM,
    ...limitHeaders(account, entry.model, world.now()),
    "x-codex-turn-state": `turn-${account.name}-${entry.n}`,
    "x-request-id": `req_${entry.n}`,
  });
}

/** What has nothing to do with the allowance, in the order in which it is looked at. */
function refuse(turn: Turn): Plan | undefined {
  const { entry, account } = turn;
  if (account.deactivated) return json(402, DEACTIVATED);
  if (account.workspaceRefusal !== null) {
    return json(403, { detail: { code: account.workspaceRefusal } });
  }
  const refusal = bodyRefusal(entry) ?? modelRefusal(entry, account);
  if (refusal) return json(refusal.status, refusal.body);
  const foreign = ciphertextRefusal(entry.json, account);
  if (foreign) return formed(turn, foreign, {});
  return account.overloaded === null
    ? undefined
    : limited(turn, account.overloaded);
}

function limited(turn: Turn, code: string): Plan {
  const { world, entry, account } = turn;
  const overload = OVERLOADS[code];
  const message = overload ?? "This request is not allowed";
  const error = code === "usage_limit_reached"
    ? usageLimitError(account, entry.model, world.now())
    : { type: code, code, message };
  const refusal = { status: overload ? 503 : 429, body: { error } };
  return formed(turn, refusal, limitedHeaders(turn));
}

/** Without the windows where enforcement and usage disagree, unless told otherwise. */
function limitedHeaders(turn: Turn): HeaderFields {
  const headers = responseHeaders(turn);
  const { limited } = turn.account;
  const disagrees = (limited?.until ?? 0) > turn.world.now();
  return disagrees && !limited?.showsWindows
    ? keep(headers, (name) => !/-(primary|secondary|tertiary)-/.test(name))
    : headers;
}

function keep(headers: HeaderFields, wanted: (name: string) => boolean) {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => wanted(name)),
  );
}

/** A refusal in the form that the account's refusals have. */
function formed(turn: Turn, refusal: Refusal, headers: HeaderFields): Plan {
  const { status, body } = refusal;
  const { refusals } = turn.account;
  const { as = "status", after } = refusals;
  if (as === "status" || turn.entry.kind !== "responses") {
    return { ...decorated(json(status, body), headers), after };
  }
  const error = body.error as Record<string, unknown>;
  const told = keep(headers, (name) => name.startsWith("x-"));
  const failure = { status, error, headers: told };
  const events = failureEvents(failure, refusals, contextOf(turn));
  return stream(responseHeaders(turn), events);
}

/** Answers of the usage endpoint that are told again until they are too old. */
const cached = new WeakMap<
  FakeAccount,
  { at: number; payload: Record<string, unknown> }
>();

function usage(account: FakeAccount, now: number): Plan {
  if (account.deactivated) return json(402, DEACTIVATED);
  let last = cached.get(account);
  if (!last || now - last.at >= account.usageCacheSeconds * 1000) {
    last = { at: now, payload: usagePayload(account, now) };
    cached.set(account, last);
  }
  const payload = account.usageOverride(last.payload);
  return typeof payload === "string"
    ? text(200, payload, "application/json")
    : json(200, payload);
}

function modelList({ entry, account }: Turn): Plan {
  if (account.deactivated) return json(402, DEACTIVATED);
  const version = new URL(entry.path, "http://stand-in").searchParams
    .get("client_version");
  if (!version) return json(400, { detail: "client_version is required" });
  const models = modelsFor(account, version);
  const hash = createHash("sha256").update(JSON.stringify(models));
  const etag = `W/"${hash.digest("hex").slice(0, 16)}"`;
  return decorated(json(200, { models }), { etag });
}
