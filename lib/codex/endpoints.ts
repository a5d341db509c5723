/** Where the backend and the issuer listen. */

export const DEFAULT_BACKEND = "https://chatgpt.com/backend-api";
export const DEFAULT_ISSUER = "https://auth.openai.com";
/** The public client that logins belong to. */
export const CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann";
/** What a login asks for. */
export const LOGIN_SCOPE = "openid profile email offline_access";
/** The ports that the issuer accepts a browser login's redirect on. */
export const LOGIN_PORTS: readonly number[] = [1455, 1457];

export function loginRedirect(port: number): string {
  return `http://localhost:${port}/auth/callback`;
}

/** Where usage is asked for: the next URL is for when the one before says 404. */
export function usageUrls(backend: string): string[] {
  const first = backend.includes("/backend-api")
    ? `${backend}/wham/usage`
    : `${backend}/api/codex/usage`;
  return [first, `${backend}/codex/usage`];
}

/** Where tokens are refreshed and codes exchanged. */
export function tokenUrl(issuer: string): string {
  return `${issuer}/oauth/token`;
}

export function authorizeUrl(issuer: string): string {
  return `${issuer}/oauth/authorize`;
}

export function deviceUrls(
  issuer: string,
): Record<"userCode" | "token" | "page" | "redirect", string> {
  return {
    userCode: `${issuer}/api/accounts/deviceauth/usercode`,
    // asks whether the person has entered the code
    token: `${issuer}/api/accounts/deviceauth/token`,
    // where the person enters it
    page: `${issuer}/codex/device`,
    // what the code exchange names as its redirect
    redirect: `${issuer}/deviceauth/callback`,
  };
}

/**
 * A base URL in its normal form: origin and path, without a trailing slash.
 *
 * @throws {TypeError} When tokens should not be sent there.
 */
export function checkedBase(value: string | URL, name: string): string {
  const url = URL.parse(value);
  const wrong = wrongWith(url);
  if (wrong !== undefined) throw new TypeError(`The ${name} URL ${wrong}`);
  return url!.origin + url!.pathname.replace(/\/+$/, "");
}

function wrongWith(url: URL | null): string | undefined {
  const form = "write it as https://host/path";
  if (url === null) return `is not an absolute URL; ${form}`;
  const { protocol, hostname } = url;
  if (protocol !== "https:" && protocol !== "http:") {
    return `begins with "${protocol}"; ${form}`;
  }
  if (url.username !== "" || url.password !== "" || /[?#]/.test(url.href)) {
    return `has a user name, a query or a fragment; ${form}`;
  }
  return protocol === "http:" && !isLoopback(hostname)
    ? `would send tokens unencrypted to "${hostname}"; use https, or http on a loopback host`
    : undefined;
}

/** Whether a URL's host is this machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
