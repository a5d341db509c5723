/**
 * The one place where a request flows: choose, send, learn, and again.
 *
 * @module
 */
import { withAbort } from "./account/abort.ts";
import { attempt, type Served } from "./attempt.ts";
import { candidatesOf, pinnedOf } from "./candidates.ts";
import { type Choice, choose, newTurn, type Turn } from "./choose.ts";
import { targetOf } from "./codex/request.ts";
import { type Ending, endingOf } from "./ending.ts";
import { RotatorError } from "./errors.ts";
import {
  type RefreshOptions,
  refreshReport,
  type StatusOptions,
  statusReport,
} from "./reports.ts";
import { type Call, cleanCall, readCall, urlOf } from "./request.ts";
import { type House, openHouse, type RotatorOptions } from "./runtime.ts";
import { keep, pause } from "./settle.ts";
import type { FetchLike, RefreshReport, StatusReport } from "./types.ts";

export type { RotatorOptions } from "./runtime.ts";
export type { RefreshOptions, StatusOptions } from "./reports.ts";

/** Several accounts behind one `fetch`. */
export interface Rotator extends AsyncDisposable {
  /**
   * As `fetch`. Requests to the Codex backend are served by the account that
   * should serve them; any other passes through untouched.
   */
  readonly fetch: FetchLike;
  /** The base URL to give a client that has one, `<backend>/codex`. */
  readonly baseURL: string;
  /** How all accounts stand; asks nobody. */
  status(options?: StatusOptions): Promise<StatusReport>;
  /** Renews the tokens that need it, then asks for usage, of all or the named accounts. */
  refresh(options?: RefreshOptions): Promise<RefreshReport>;
  /** The alias of the account that served a response. */
  accountOf(response: Response): string | undefined;
  /** Writes what is pending. */
  close(): Promise<void>;
}

/**
 * Makes one `fetch` out of several Codex accounts. Usage included in a plan is
 * used up first; purchased credits only where their owner allows it.
 *
 * @param options Store, strategy, credit policy and the rest; all have defaults.
 * @returns The rotator. Nothing is read or asked before the first request.
 * @throws {TypeError} When an option is not what it should be.
 *
 * @example
 * ```ts
 * import { createRotator, memoryStore } from "../mod.ts";
 *
 * await using rotator = createRotator({ store: memoryStore(), credits: "none" });
 * const { accounts } = await rotator.status();
 * if (accounts.length !== 0) throw new Error("The store should be empty");
 * ```
 */
export function createRotator(options: RotatorOptions = {}): Rotator {
  const house = openHouse(options);
  const servedBy = new WeakMap<Response, string>();
  const close = async () => {
    house.holds.close();
    await house.usage.close();
    await house.tokens.settled();
    await house.live.close();
  };
  return {
    baseURL: `${house.backend}/codex`,
    async fetch(input, init) {
      const url = targetOf(urlOf(input), house.backend);
      if (url === undefined) return await house.fetch(input, init);
      const read = readCall(url, input, init ?? {}, house);
      const call = read instanceof Promise ? await read : read;
      const { response, alias } = await serve(house, call);
      if (alias !== undefined) servedBy.set(response, alias);
      return response;
    },
    status: (about = {}) => statusReport(house, about.model),
    refresh: (about = {}) => refreshReport(house, about),
    accountOf: (response) => servedBy.get(response),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Whether the conversation holds what another account wrote, as was found out before. */
function isFromElsewhere(house: House, call: Call): boolean {
  if (call.session === undefined) return false;
  return house.sessions.get(call.session, house.now())?.cleaned === true;
}

/**
 * Tries account after account until one serves. When nobody can, waits for the
 * earliest reset where the owner wants that.
 */
async function serve(house: House, call: Call): Promise<Served> {
  if (isFromElsewhere(house, call)) cleanCall(call);
  let turn = newTurn();
  let left = house.maxWait;
  const send = (choice: Choice) => attempt(house, call, turn, choice);
  try {
    for (;;) {
      // most requests need not wait for either
      const at = performance.now();
      if (!house.live.isCurrent(at)) {
        await withAbort(house.live.sync(), call.signal);
      }
      const look = house.tokens.lookAgain(at);
      if (look) await withAbort(look, call.signal);
      call.signal?.throwIfAborted();
      if (house.roster.runners.length === 0) throw noAccounts(house);
      const served = await choose(house, call, turn, send);
      if (served === undefined) continue;
      if (served !== "nobody") return served;
      const end = await waitOrFinish(house, call, turn, left);
      if (typeof end !== "number") return end;
      left -= end;
      turn = newTurn();
    }
  } catch (error) {
    // the answer of an earlier attempt is of no use any more
    keep(turn, undefined);
    throw error;
  }
}

/**
 * Nobody can serve now.
 *
 * @param left How long the request may still wait, ms.
 * @returns What the caller gets, or how long was waited, ms.
 */
async function waitOrFinish(
  house: House,
  call: Call,
  turn: Turn,
  left: number,
): Promise<Served | number> {
  const { model, signal } = call;
  const now = house.now();
  const runners = candidatesOf(house);
  const ending = endingOf(runners, model, pinnedOf(house), now);
  const { type, resetsAt } = ending;
  if (type !== "usage_limit_reached" || resetsAt === null) {
    return finish(house, turn, ending);
  }
  // counted in waits of our own, so that a standing clock cannot hold us forever
  const wait = Math.max(1, resetsAt - now);
  if (wait > left) return finish(house, turn, ending);
  keep(turn, undefined);
  await pause(wait, signal);
  return wait;
}

/** The end of a request that nobody could serve. */
function finish(
  house: House,
  turn: Turn,
  ending: Ending,
): Served {
  const { last } = turn;
  const isHiccup = last !== undefined && turn.retriable.has(last.alias);
  // a hiccup says nothing about quota: what came of it stands
  if (isHiccup && "error" in last) throw last.error;
  const isReal = isHiccup || ending.type === "no_eligible_account";
  if (isReal && last && "response" in last) return last;
  keep(turn, undefined);
  if (ending.type === "usage_limit_reached") {
    const { message, resetsAt } = ending;
    house.emit({ type: "exhausted", reason: message, until: resetsAt });
  }
  return { response: ending.respond(), alias: undefined };
}

function noAccounts(house: House): RotatorError {
  return new RotatorError(
    "no_accounts",
    `No account is in ${house.storeName}; add one with "cli.ts login" or "cli.ts import"`,
  );
}
