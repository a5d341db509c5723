/** The login files of other tools: what they hold, and nothing of it in any message. */
import {
  definedIn,
  isRecord,
  parseJson,
  readDecimal,
  readPositive,
  readText,
  recordOf,
} from "../values.ts";
import { type Claims, readLoginClaims, readSendable } from "../codex/tokens.ts";
import type { Tokens } from "../types.ts";

export type LoginFileKind = "codex" | "opencode" | "opencode-multi-auth";

/** A login as the issuer or another tool's file gives it. */
export interface ImportedLogin
  extends Omit<Claims, "expiresAt" | "lifetimeMs"> {
  tokens: Tokens;
}

/** One account of a file, and what the tool had set for it. */
export interface FoundLogin {
  login: ImportedLogin;
  /** Its name in the other tool. */
  alias?: string;
  enabled?: boolean;
  weight?: number;
}

export interface LoginFile {
  kind: LoginFileKind;
  logins: FoundLogin[];
  /** Names in it that hold no login. */
  without: string[];
  /** What opencode-multi-auth's owner had set. */
  settings: { strategy?: string; creditAccountAliases?: unknown };
}

export const TOOL_NAMES: Readonly<Record<LoginFileKind, string>> = {
  "codex": "the Codex CLI",
  "opencode": "OpenCode",
  "opencode-multi-auth": "opencode-multi-auth",
};

export const LOGIN_FILE_KINDS = Object.keys(TOOL_NAMES) as LoginFileKind[];

/**
 * Reads a login file; its path is for messages, its kind told by its look unless given.
 *
 * @throws {Error} When it holds no ChatGPT login.
 */
export function readLoginFile(
  text: string,
  path: string,
  kind?: LoginFileKind,
): LoginFile {
  const json = parseJson(text.replace(/^\ufeff/, ""));
  if (!isRecord(json)) throw new Error(noObject(path, kind));
  const found = kind ?? kindOf(json);
  if (found === "opencode-multi-auth") return multiAuthFile(json, path);
  const read = found === "codex" ? codexLogin : openCodeLogin;
  const logins = [{ login: read(json, path) }];
  return { kind: found, logins, without: [], settings: {} };
}

/** A login from its tokens and their claims; what is known otherwise goes first. */
export function loginOf(
  tokens: Tokens,
  known: Partial<Pick<ImportedLogin, "accountId" | "email" | "plan">> = {},
): ImportedLogin {
  const claims = readLoginClaims(tokens);
  const { userId, fedramp } = claims;
  const expiresAt = claims.expiresAt ?? tokens.expiresAt ?? null;
  return {
    tokens: { ...tokens, expiresAt },
    email: claims.email ?? known.email ?? null,
    plan: claims.plan ?? known.plan ?? null,
    accountId: known.accountId ?? claims.accountId,
    userId,
    fedramp,
  };
}

function kindOf(json: Record<string, unknown>): LoginFileKind {
  if (isRecord(json.accounts)) return "opencode-multi-auth";
  // OpenCode's file may hold its logins with any number of other providers
  const isOpenCode = !("tokens" in json) && !("OPENAI_API_KEY" in json) &&
    Object.values(json).some((it) => isRecord(it) && readText(it.type));
  return isOpenCode ? "opencode" : "codex";
}

function codexLogin(file: Record<string, unknown>, path: string) {
  const tokens = recordOf(file.tokens);
  const { access_token, refresh_token, id_token } = tokens;
  const read = tokensOf(access_token, refresh_token, id_token);
  const other = OTHER_KINDS.find(({ isIn }) => isIn(file, read));
  if (read !== undefined && !other?.isInstead) {
    return loginOf(read, { accountId: readSendable(tokens.account_id) });
  }
  const what = other?.what ?? "no ChatGPT login (no tokens.access_token)";
  throw new Error(`${path} holds ${what}; ${NEXT}`);
}

/** What else the Codex CLI's file may hold; with `isInstead`, tokens beside it are no login. */
const OTHER_KINDS: readonly {
  isIn(file: Record<string, unknown>, tokens: Tokens | undefined): boolean;
  what: string;
  isInstead?: boolean;
}[] = [{
  isIn: ({ auth_mode }) => /external|authtokens/i.test(`${auth_mode}`),
  what:
    "external tokens only, which the program that runs Codex renews and nobody else can",
  isInstead: true,
}, {
  isIn: ({ personal_access_token: token }, tokens) =>
    `${token ?? tokens?.access}`.startsWith("at-"),
  what:
    "a personal access token only (at-…), which cannot be renewed or shared",
  isInstead: true,
}, {
  isIn: ({ agent_identity }) => Boolean(agent_identity),
  what: "an agent identity only, which is not a person's login",
}, {
  isIn: ({ OPENAI_API_KEY: key }) => readText(key) !== null,
  what: "an API key only, which has no ChatGPT usage to share",
}];

/** What to do where the Codex CLI should have a file and has none, for people. */
export const KEYRING_ADVICE =
  'if Codex keeps its login in the system\'s keyring, set cli_auth_credentials_store = "file" in its config.toml and sign in with it again';

function openCodeLogin(file: Record<string, unknown>, path: string) {
  const openai = recordOf(file.openai);
  const read = openai.type === "oauth"
    ? tokensOf(openai.access, openai.refresh, undefined, openai.expires)
    : undefined;
  if (read !== undefined) {
    return loginOf(read, { accountId: readSendable(openai.accountId) });
  }
  const what = openai.type === "api"
    ? "an API key only for OpenAI, which has no ChatGPT usage to share"
    : "no ChatGPT login (no openai.access)";
  throw new Error(`${path} holds ${what}; ${NEXT}`);
}

function multiAuthFile(file: Record<string, unknown>, path: string): LoginFile {
  const settings = recordOf(file.settings);
  const weights = recordOf(settings.accountWeights);
  const logins: FoundLogin[] = [];
  const without: string[] = [];
  for (const [alias, value] of Object.entries(recordOf(file.accounts))) {
    const login = multiAuthLogin(recordOf(value));
    if (login === undefined) {
      without.push(alias);
      continue;
    }
    const weight = readDecimal(weights[alias]) ?? -1;
    const isOff = recordOf(value).enabled === false;
    logins.push({
      login,
      alias,
      ...isOff && { enabled: false },
      ...weight >= 0 && { weight },
    });
  }
  if (logins.length === 0) {
    throw new Error(`${path} holds no ChatGPT login (no accounts); ${NEXT}`);
  }
  const { rotationStrategy, creditAccountAliases } = settings;
  return {
    kind: "opencode-multi-auth",
    logins,
    without,
    settings: definedIn({
      strategy: readText(rotationStrategy),
      creditAccountAliases,
    }),
  };
}

function multiAuthLogin(
  account: Record<string, unknown>,
): ImportedLogin | undefined {
  const { accessToken, refreshToken, idToken, expiresAt } = account;
  const tokens = tokensOf(accessToken, refreshToken, idToken, expiresAt);
  return tokens && loginOf(tokens, {
    accountId: readSendable(account.accountId),
    email: readText(account.email),
    plan: readText(account.planType),
  });
}

function tokensOf(
  access: unknown,
  refresh: unknown,
  id: unknown,
  expiresAt?: unknown,
): Tokens | undefined {
  const token = readSendable(access);
  return token === null ? undefined : {
    access: token,
    ...definedIn({ refresh: readText(refresh), id: readText(id) }),
    expiresAt: readPositive(expiresAt),
  };
}

const NEXT = "sign in to ChatGPT with that tool first, then import again";

// The parser's own message would quote the file, and so perhaps a token.
function noObject(path: string, kind: LoginFileKind | undefined): string {
  const whose = kind === undefined ? "another tool" : TOOL_NAMES[kind];
  return `${path} is not a login file of ${whose}: it holds no JSON object; name the right file, or sign in with that tool again`;
}

/** The text of a login file with other tokens, in the style it is written in. */
export function withTokens(
  text: string,
  kind: Exclude<LoginFileKind, "opencode-multi-auth">,
  tokens: Tokens,
): string {
  const mark = text.startsWith("\ufeff") ? "\ufeff" : "";
  const file = recordOf(parseJson(text.slice(mark.length)));
  const { access, refresh, id, expiresAt } = tokens;
  if (kind === "codex") {
    const told = { access_token: access, refresh_token: refresh, id_token: id };
    Object.assign(recordOf(file.tokens), definedIn(told));
    file.last_refresh = new Date().toISOString();
  } else {
    const told = { access, refresh, expires: expiresAt };
    Object.assign(recordOf(file.openai), definedIn(told));
  }
  const indent = /^[{[]\r?\n([ \t]+)/.exec(text.slice(mark.length))?.[1];
  const body = JSON.stringify(file, null, indent);
  const end = /\s*$/.exec(text)?.[0] ?? "";
  const lines = text.includes("\r\n") ? body.replaceAll("\n", "\r\n") : body;
  return mark + lines + end;
}
