/**
 * Where a database is, as its URL tells.
 *
 * @module
 */

/** Where a database is, and how it is connected to. */
export interface Target {
  /** The URL, with the password. */
  readonly url: string;
  /** The URL without it, for people. */
  readonly name: string;
  readonly schema: string;
  /** Options of `npm:postgres`. */
  readonly client: object;
  /** What must not be told. */
  readonly secrets: readonly string[];
}

/** Options of `postgresStore`. */
export interface PostgresStoreOptions {
  /** The schema with the store's tables; created when it is missing. @default {"codex_rotator"} */
  schema?: string;
  /** How long to wait for other processes (ms). @default {30_000} */
  waitLimit?: number;
  /** Options of `npm:postgres`, such as `ssl` or `password`; they count before the URL. */
  client?: Readonly<Record<string, unknown>>;
}

const DEFAULT_SCHEMA = "codex_rotator";

/** Scheme, user and password, hosts, database, and options of a URL. */
const PARTS =
  /^(postgres(?:ql)?:\/\/)(?:([^?#]*)@)?((?:[^@/?#:,]+(?::\d+)?,?)*)(\/[^?#@]*)?(?:\?([^#@]*))?$/;

/** Reads the URL of a database; no error repeats it, as it may hold a password. */
export function readTarget(
  url: string | URL,
  { schema, client = {} }: PostgresStoreOptions,
): Target {
  const [, scheme, login = "", hosts = "", path = "", options] =
    PARTS.exec(String(url)) ?? [];
  if (scheme === undefined) {
    throw new TypeError(
      "The URL of the database cannot be read; give postgres://USER:PASSWORD@HOST/DATABASE, with all but letters and digits of the password as %XX",
    );
  }
  const [, user = "", password = ""] = /^([^:]*):?(.*)$/s.exec(login)!
    .map(decoded);
  const query = new URLSearchParams(options);
  const wanted = schema ?? query.get("schema") ?? DEFAULT_SCHEMA;
  query.delete("schema");
  if (!/^[A-Za-z_]\w{0,62}$/.test(wanted)) {
    throw new TypeError(
      "The schema's name cannot be used; give one of at most 63 letters, digits and _",
    );
  }
  const bearer = encodeURIComponent(user);
  const secret = encodeURIComponent(password);
  const key = login === "" ? "" : `${bearer}:${secret}@`;
  return {
    url: `${scheme}${key}${hosts}${path}?${query}`,
    name: `${scheme}${bearer && `${bearer}@`}${hosts}${path}${
      wanted === DEFAULT_SCHEMA ? "" : `?schema=${wanted}`
    }`,
    schema: wanted,
    client,
    secrets: [password, secret, client["password"], client["pass"]]
      .filter((it): it is string => typeof it === "string" && it !== ""),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // a percent sign that stands for itself
    return text;
  }
}
