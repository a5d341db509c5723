/** A session that was idle for longer is forgotten, ms. */
const IDLE_MS = 60 * 60_000;
/** More sessions than this are not remembered; the longest idle go first. */
const MOST_SESSIONS = 20_000;

/** What is remembered of a session. */
export interface Session {
  /** The account that served it last. */
  alias: string;
  /** Epoch ms. */
  usedAt: number;
  /** Its conversation holds ciphertext of another account, which must be left out. */
  cleaned: boolean;
}

/** Which account served which session last, in memory only. */
export class Sessions {
  #byKey = new Map<string, Session>();

  /** The session of that key, unless it was idle too long at `now` (epoch ms). */
  get(key: string, now: number): Session | undefined {
    const session = this.#byKey.get(key);
    if (session === undefined) return undefined;
    if (now - session.usedAt <= IDLE_MS) return session;
    this.#byKey.delete(key);
    return undefined;
  }

  /** Notes that `alias` served the session at `now` (epoch ms). */
  note(key: string, alias: string, now: number): void {
    const cleaned = this.#byKey.get(key)?.cleaned ?? false;
    // re-inserting keeps the map in order of use
    this.#byKey.delete(key);
    this.#byKey.set(key, { alias, usedAt: now, cleaned });
    if (this.#byKey.size <= MOST_SESSIONS) return;
    for (const oldest of this.#byKey.keys()) {
      this.#byKey.delete(oldest);
      break;
    }
  }

  /** Notes that the session's conversation came from another account. */
  markCleaned(key: string, alias: string, now: number): void {
    this.note(key, alias, now);
    this.#byKey.get(key)!.cleaned = true;
  }

  /** How many are remembered. */
  get size(): number {
    return this.#byKey.size;
  }
}

/** More models are not remembered. */
const MAX_MODELS = 256;

/** Which accounts served which model in this process: where another one did, a refusal is about the account. */
export class ServedModels {
  readonly #aliases = new Map<string, Set<string>>();

  /** Notes that an account served a model. */
  note(model: string, alias: string): void {
    const aliases = this.#aliases.get(model);
    if (aliases) aliases.add(alias);
    else if (this.#aliases.size < MAX_MODELS) {
      this.#aliases.set(model, new Set([alias]));
    }
  }

  /** Whether an account other than `alias` served a model. */
  isServedBesides(model: string, alias: string): boolean {
    const aliases = this.#aliases.get(model);
    return aliases !== undefined && aliases.size > (aliases.has(alias) ? 1 : 0);
  }
}
