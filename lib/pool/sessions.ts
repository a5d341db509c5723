/** A session that was idle for longer is forgotten, ms. */
const IDLE_MS = 60 * 60_000;
/** More sessions than this are not remembered; the longest idle go first. */
const MAX_SESSIONS = 20_000;

/** What is remembered of a session. */
export interface Session {
  /** The account that served it last. */
  alias: string;
  /** Epoch ms. */
  usedAt: number;
  /** A hash of the last ciphertext in it of another account: all up to there must be left out. */
  mark?: string;
}

/** Which account served which session last. */
export class Sessions {
  /** Called when there is something new to be written. */
  onChange: () => void = () => {};
  #byKey = new Map<string, Session>();
  /** How many of them each account has. */
  #counts = new Map<string, number>();
  #changed = new Set<string>();

  /** The session of that key, unless it was idle too long at `now` (epoch ms). */
  get(key: string, now: number): Session | undefined {
    this.#forget(now);
    const session = this.#byKey.get(key);
    // one that another process wrote may be out of order
    return session && now - session.usedAt <= IDLE_MS ? session : undefined;
  }

  /** How many sessions an account served last, at `now` (epoch ms). */
  countOf(alias: string, now: number): number {
    this.#forget(now);
    return this.#counts.get(alias) ?? 0;
  }

  /** Notes who has just served a session; without a new mark the last one stays. */
  note(key: string, session: Session): void {
    const mark = session.mark ?? this.#byKey.get(key)?.mark;
    this.#set(key, mark === undefined ? session : { ...session, mark });
    this.#changed.add(key);
    this.onChange();
  }

  /** How many are remembered. */
  get size(): number {
    return this.#byKey.size;
  }

  /** What has changed since it was taken last, as text by key. */
  takeChanged(): Record<string, string> {
    const changed: Record<string, string> = {};
    for (const key of this.#changed) {
      const session = this.#byKey.get(key);
      if (session) changed[key] = writeSession(session);
    }
    this.#changed.clear();
    return changed;
  }

  /** Has these be taken again, as they could not be written. */
  putBack(keys: readonly string[]): void {
    for (const key of keys) this.#changed.add(key);
  }

  /** Takes over what other processes wrote, where it is later than what is known here. */
  merge(written: Record<string, string>, now: number): void {
    for (const [key, text] of Object.entries(written)) {
      const session = readSession(text);
      const known = this.#byKey.get(key);
      const isNews = session && now - session.usedAt <= IDLE_MS &&
        session.usedAt > (known?.usedAt ?? -Infinity);
      if (isNews) this.#set(key, session);
    }
  }

  #set(key: string, session: Session): void {
    // re-inserting keeps the map in order of use
    this.#delete(key);
    this.#byKey.set(key, session);
    this.#count(session.alias, 1);
    this.#forget(session.usedAt);
  }

  /** Forgets, from the longest idle one on, who was idle too long at `now`, and who is too many. */
  #forget(now: number): void {
    for (const [key, { usedAt }] of this.#byKey) {
      const isIdle = now - usedAt > IDLE_MS;
      if (!isIdle && this.#byKey.size <= MAX_SESSIONS) return;
      this.#delete(key);
    }
  }

  #delete(key: string): void {
    const session = this.#byKey.get(key);
    if (session && this.#byKey.delete(key)) this.#count(session.alias, -1);
  }

  #count(alias: string, change: number): void {
    this.#counts.set(alias, (this.#counts.get(alias) ?? 0) + change);
  }
}

function writeSession({ alias, usedAt, mark }: Session): string {
  return [alias, usedAt, mark].filter((it) => it !== undefined).join(" ");
}

function readSession(text: string): Session | undefined {
  const [, alias, usedAt, mark] =
    /^(\S+) (\d+)(?: (\w+))?$/.exec(String(text)) ??
      [];
  if (alias === undefined) return undefined;
  const session = { alias, usedAt: Number(usedAt) };
  return mark === undefined ? session : { ...session, mark };
}

/** Sessions as they are stored, without those that were idle too long and the oldest of too many. */
export function currentSessions(
  written: Record<string, string>,
  now: number,
): Record<string, string> {
  const current = Object.entries(written)
    .map(([key, text]) => ({ key, text, at: readSession(text)?.usedAt ?? 0 }))
    .filter(({ at }) => now - at <= IDLE_MS)
    .sort((a, b) => b.at - a.at).slice(0, MAX_SESSIONS);
  return Object.fromEntries(current.map(({ key, text }) => [key, text]));
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
