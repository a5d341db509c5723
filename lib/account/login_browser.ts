import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import {
  authorizeUrl,
  CLIENT_ID,
  LOGIN_PORTS,
  LOGIN_SCOPE,
  loginRedirect,
} from "../codex/endpoints.ts";
import { shortText } from "../codex/error_report.ts";
import { messageOf } from "../errors.ts";
import { withAbort } from "../abort.ts";
import { exchangeCode, type LoginOptions } from "./login.ts";
import {
  type CallbackAnswer,
  type CallbackServer,
  listenForCallback,
  LOOPBACKS,
} from "./login_callback.ts";
import type { ImportedLogin } from "./login_files.ts";

export interface BrowserAddress {
  /** The issuer's address, to be shown. */
  readonly url: string;
  /**
   * The address to open a browser at, which leads there: any user of the
   * machine can read a program's arguments, and nobody is to read `state`.
   * Absent: the browser's return is not waited for, it has to be pasted.
   */
  readonly open?: string;
}

export interface BrowserLoginOptions extends LoginOptions {
  /** Shows the address, and opens it where that can be done. */
  readonly onAddress: (address: BrowserAddress) => void;
  /** Keeps the login; only then the browser is told that it worked. */
  readonly keep: (login: ImportedLogin) => Promise<void>;
  /** Lines that the person pastes; absent: nobody can. */
  readonly pasted?:
    | ((signal: AbortSignal) => AsyncIterable<string>)
    | undefined;
  /** Told why a pasted line is of no use. */
  readonly onUseless?: (reason: string) => void;
  /**
   * Where the browser may return to.
   * @default {[1455, 1457]}
   */
  readonly ports?: readonly number[];
  /**
   * The addresses to listen on, of which a browser may take either for `localhost`.
   * @default {["127.0.0.1", "::1"]}
   */
  readonly loopbacks?: readonly string[];
}

/**
 * Signs in with a browser: PKCE, and a return to this machine, or an address
 * pasted by a person whose browser runs on another one.
 *
 * @throws {Error} When the person or the issuer refuses, or no port is free
 * and nobody can paste.
 */
export async function signInByBrowser(options: BrowserLoginOptions) {
  const { signal, ports = LOGIN_PORTS, loopbacks = LOOPBACKS } = options;
  signal.throwIfAborted();
  const login = new BrowserLogin(options);
  const answer = (query: URLSearchParams) => login.answer(query);
  const server = await listenForCallback(ports, loopbacks, answer);
  try {
    await login.run(server, ports);
  } finally {
    await server?.close();
  }
}

/** What came back from the browser is no answer to this sign-in. */
class Useless extends Error {}

const SIGNED_IN: CallbackAnswer = {
  status: 200,
  title: "Signed in",
  text:
    "The account is in codex-rotator's store. You can close this page and go back to the terminal.",
};

class BrowserLogin {
  readonly #options: BrowserLoginOptions;
  readonly #state = randomBytes(32).toString("base64url");
  readonly #verifier = randomBytes(64).toString("base64url");
  readonly #done = Promise.withResolvers<void>();
  #redirect = "";
  #begun = false;

  constructor(options: BrowserLoginOptions) {
    this.#options = options;
    // whoever waits for it hears of it; it must not end the process before
    this.#done.promise.catch(() => {});
  }

  async run(server: CallbackServer | undefined, ports: readonly number[]) {
    const { signal, pasted, onAddress } = this.#options;
    const unreachable = new Error(
      `The ports ${
        ports.join(" and ")
      } are taken, and the browser can return to no other; end what listens there, or sign in with --device`,
    );
    if (server === undefined && pasted === undefined) throw unreachable;
    this.#redirect = loginRedirect(server?.port ?? ports[0]!);
    const over = new AbortController();
    try {
      const url = this.#address();
      onAddress(server ? { url, open: server.leadTo(url) } : { url });
      this.#readPasted(over.signal).then(() => {
        if (server === undefined) this.#done.reject(unreachable);
      }).catch(this.#done.reject);
      await withAbort(this.#done.promise, signal);
    } catch (error) {
      // a page that waits is answered
      this.#done.reject(error);
      throw error;
    } finally {
      over.abort();
    }
  }

  async answer(query: URLSearchParams): Promise<CallbackAnswer> {
    try {
      await this.#take(query);
      return SIGNED_IN;
    } catch (error) {
      return { status: 400, title: "Not signed in", text: messageOf(error) };
    }
  }

  #address(): string {
    const query = new URLSearchParams({
      response_type: "code",
      client_id: CLIENT_ID,
      redirect_uri: this.#redirect,
      scope: LOGIN_SCOPE,
      code_challenge: digest(this.#verifier).toString("base64url"),
      code_challenge_method: "S256",
      id_token_add_organizations: "true",
      codex_cli_simplified_flow: "true",
      state: this.#state,
      originator: "codex_rotator",
    });
    return `${authorizeUrl(this.#options.issuer)}?${query}`;
  }

  /** Takes what came back: only an answer to this very sign-in counts, a refusal too. */
  async #take(query: URLSearchParams): Promise<void> {
    const [shown, own] = [query.get("state") ?? "", this.#state].map(digest);
    if (!timingSafeEqual(shown!, own!)) {
      throw new Useless(
        "This answer belongs to another sign-in (its state differs); use the address that was shown last",
      );
    }
    const error = query.get("error");
    const code = query.get("code");
    if (error !== null && !this.#begun) {
      const words = [error, query.get("error_description") ?? ""];
      const reason = words.map(shortText).filter(Boolean).join(": ");
      this.#done.reject(new Error(`The issuer refused the sign-in: ${reason}`));
    } else if (error === null && !code) {
      throw new Useless("The answer holds no code; start the sign-in again");
    } else if (code && !this.#begun) {
      // a code serves once: a page that is loaded again waits for the first
      this.#begun = true;
      const redirect = this.#redirect;
      const grant = { code, verifier: this.#verifier, redirect };
      exchangeCode(this.#options, grant).then(this.#options.keep)
        .then(this.#done.resolve, this.#done.reject);
    }
    await this.#done.promise;
  }

  async #readPasted(signal: AbortSignal): Promise<void> {
    const { pasted, onUseless } = this.#options;
    if (pasted === undefined) return;
    for await (const line of pasted(signal)) {
      if (line.trim() === "") continue;
      try {
        return await this.#take(readPaste(line.trim(), this.#state));
      } catch (error) {
        if (!(error instanceof Useless)) throw error;
        onUseless?.(error.message);
      }
    }
  }
}

/** What a pasted address says, or the bare code from it. */
function readPaste(line: string, state: string): URLSearchParams {
  const start = line.indexOf("?");
  if (start >= 0) {
    return new URLSearchParams(line.slice(start + 1).replace(/#.*$/, ""));
  }
  if (/^[\w.~-]{8,}$/.test(line)) {
    return new URLSearchParams({ state, code: line });
  }
  throw new Useless(
    "That is not the address that the browser ended on; it begins with http://localhost and holds a code",
  );
}

function digest(text: string) {
  return createHash("sha256").update(text).digest();
}
