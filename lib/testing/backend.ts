/**
 * The backend of the stand-in: who may enter, who is served, on what.
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  authenticate,
  hasOwnAgent,
  nextScript,
  noteMisuse,
  type World,
} from "./access.ts";
import {
  admit,
  charge,
  flipResets,
  settle,
  type Use,
  useWindows,
} from "./allowance.ts";
import { html, json, type Plan, scripted, stream, text } from "./http.ts";
import {
  limitHeaders,
  rateLimitsEvent,
  usageLimitError,
  usagePayload,
} from "./limits.ts";
import type { Entry, FakeKind } from "./log.ts";
import {
  bodyRefusal,
  ciphertextRefusal,
  itemsOf,
  mintCiphertext,
  modelRefusal,
  modelsFor,
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

/** The status and the message of a refusal by its code; any other is 429. */
const REFUSALS: Record<string, [status: number, message: string]> = {
  server_is_overloaded: [
    503,
    "Selected model is at capacity. Please try a different model.",
  ],
  slow_down: [503, "Too many requests to this model, slow down"],
  flex_unavailable: [429, "The flex service tier has no room at the moment"],
};

interface Turn {
  readonly world: World;
  readonly entry: Entry;
  readonly account: FakeAccount;
  readonly script: FakeAnswer | undefined;
}

export function answerBackend(world: World, entry: Entry): Plan {
  if (world.switches.addressBlocked) return html(429, page("Error 1015"));
  if (!hasOwnAgent(entry)) return html(403, page("Just a moment..."));
  const account = authenticate(world, entry);
  if (typeof account === "string") return unauthorized(account);
  settle(account, world.now());
  flipResets(account);
  noteMisuse(world, entry, account);
  if (entry.kind === "usage") {
    const script = nextScript(account.usageQueue, account.usageAlways);
    return scripted(script, () => usage(account, world.now()));
  }
  if (entry.kind === "other" || isMissing(entry, account)) {
    return json(404, { detail: "Not Found" });
  }
  const [path] = entry.path.split("?");
  const script = nextScript(account.queue, account.always, path);
  const turn = { world, entry, account, script };
  return scripted(
    script,
    () => entry.kind === "models" ? modelList(turn) : serve(turn),
    () => responseHeaders(turn),
  );
}

function page(title: string): string {
  return `<!DOCTYPE html>
<html lang="en-US"><head><title>${title}</title></head>
<body><noscript>Enable JavaScript and cookies to continue</noscript></body></html>
`;
}

function unauthorized(code: string): Plan {
  const message = "Your authentication token cannot be used, sign in again";
  const type = "invalid_request_error";
  return json(401, {
    error: { message, type, code, param: null },
    status: 401,
  });
}

function isMissing(entry: Entry, account: FakeAccount): boolean {
  return account.missingPaths.some((path) =>
    entry.path.split("?")[0]!.endsWith(`/codex${path}`)
  );
}

function serve(turn: Turn): Plan {
  const { world, entry, account } = turn;
  const refused = refuse(turn);
  if (refused) return refused;
  const verdict = admit(account, entry.model, world.now());
  if (verdict.kind === "limited") return limited(turn, verdict.code);
  if (!account.chargesAtEnd) {
    book(turn);
    return content(turn);
  }
  return { ...content(turn), atEnd: () => book(turn) };
}

/** Uses up what a served request costs, on what is left now. */
function book({ world, entry, account, script }: Turn): void {
  const now = world.now();
  const { model, n: request } = entry;
  const use: Use = { model, request, cost: script?.cost ?? {} };
  entry.charged = admit(account, model, now).kind === "charged";
  if (entry.charged) world.book.push(...charge(account, use, now));
  else useWindows(account, use, now);
}

function content(turn: Turn): Plan {
  const { entry, account, script } = turn;
  const headers = responseHeaders(turn);
  const context = contextOf(turn);
  if (entry.kind === "responses") {
    const reply = { ...account.reply, ...script?.reply };
    // The headers as the hook left them: it may take the content type away.
    return { ...stream({}, replyEvents(reply, context)), headers };
  }
  const output = `Hello from ${account.name}`;
  const body = entry.kind === "compact" ? compaction(context) : { output };
  return decorated(json(200, body), headers);
}

function contextOf({ world, entry, account }: Turn): ReplyContext {
  const now = world.now();
  const compacts = itemsOf(entry.json).at(-1)?.type === "compaction_trigger";
  const encrypts = compacts || entry.kind === "compact" ||
    wantsCiphertext(entry);
  return {
    account: account.name,
    model: entry.model,
    id: String(entry.n),
    now,
    encrypted: encrypts ? mintCiphertext(account, entry.n) : undefined,
    compacts,
    rateLimits: () => rateLimitsEvent(account, now),
  };
}

function wantsCiphertext({ json }: Entry): boolean {
  const { include } = Object(json);
  return Array.isArray(include) &&
    include.includes("reasoning.encrypted_content");
}

/** The account's headers, but the body's own type and length. */
function decorated(plan: Plan, headers: Record<string, string>): Plan {
  return { ...plan, headers: { ...headers, ...plan.headers } };
}

function responseHeaders({ world, entry, account }: Turn) {
  return account.headers({
    "content-type": "text/event-stream; charset=utf-8",
    ...limitHeaders(account, entry.model, world.now()),
    "x-codex-turn-state": `turn-${account.name}-${entry.n}`,
    "x-request-id": `req_${entry.n}`,
  });
}

/** What has nothing to do with the allowance, in the order in which it is looked at. */
function refuse(turn: Turn): Plan | undefined {
  const { entry, account } = turn;
  if (account.deactivated) return deactivated();
  if (account.workspaceRefusal !== null) {
    return json(403, { detail: { code: account.workspaceRefusal } });
  }
  const refusal = bodyRefusal(entry) ?? modelRefusal(entry, account);
  if (refusal) return json(refusal.status, refusal.body);
  const foreign = ciphertextRefusal(entry.json, account);
  if (foreign) return formed(turn, json(foreign.status, foreign.body), foreign);
  if (account.noCodex) return limited(turn, "usage_not_included");
  if (account.overloaded !== null) return limited(turn, account.overloaded);
  const { service_tier } = Object(entry.json);
  return account.flexUnavailable && service_tier === "flex"
    ? limited(turn, "flex_unavailable")
    : undefined;
}

function deactivated(): Plan {
  return json(402, { detail: { code: "deactivated_workspace" } });
}

function limited(turn: Turn, code: string): Plan {
  const { world, entry, account } = turn;
  const [status, message] = REFUSALS[code] ??
    [429, "This request is not allowed"];
  const error = code === "usage_limit_reached"
    ? usageLimitError(account, entry.model, world.now())
    : { type: code, code, message };
  const plan = decorated(json(status, { error }), limitedHeaders(turn));
  return formed(turn, plan, { status, body: { error } });
}

/** Without the windows where enforcement and usage disagree, unless told otherwise. */
function limitedHeaders(turn: Turn): Record<string, string> {
  const headers = responseHeaders(turn);
  const { limited } = turn.account;
  const disagrees = (limited?.until ?? 0) > turn.world.now();
  return disagrees && !limited?.showsWindows
    ? keep(headers, (name) => !/-(primary|secondary|tertiary)-/.test(name))
    : headers;
}

function keep(
  headers: Record<string, string>,
  wanted: (name: string) => boolean,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => wanted(name)),
  );
}

/** A refusal in the form that the account's refusals have. */
function formed(
  turn: Turn,
  plan: Plan,
  { status, body }: { status: number; body: Record<string, unknown> },
): Plan {
  const { refusals } = turn.account;
  const { as = "status", after } = refusals;
  if (as === "status" || turn.entry.kind !== "responses") {
    return after === undefined ? plan : { ...plan, after };
  }
  const error = body.error as Record<string, unknown>;
  const headers = keep(plan.headers, (name) => name.startsWith("x-"));
  const failure = { status, error, headers };
  const events = failureEvents(failure, refusals, contextOf(turn));
  return { ...stream({}, events), headers: responseHeaders(turn) };
}

/** Answers of the usage endpoint that are told again until they are too old. */
const cached = new WeakMap<
  FakeAccount,
  { readonly at: number; readonly payload: Record<string, unknown> }
>();

function usage(account: FakeAccount, now: number): Plan {
  if (account.deactivated) return deactivated();
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
  if (account.deactivated) return deactivated();
  const version = new URL(entry.path, "http://stand-in").searchParams
    .get("client_version");
  if (!version) return json(400, { detail: "client_version is required" });
  const models = modelsFor(account, version);
  const hash = createHash("sha256").update(JSON.stringify(models));
  const etag = `W/"${hash.digest("hex").slice(0, 16)}"`;
  return decorated(json(200, { models }), { etag });
}
