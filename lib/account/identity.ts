/**
 * Whose requests an account's are.
 *
 * @module
 */
import { type Claims, readClaims } from "../codex/tokens.ts";
import type { Identity } from "../codex/request.ts";
import { isHeaderText } from "../header_text.ts";
import type { AccountRecord, Tokens } from "../types.ts";

/** What both tokens of a login say. */
interface Said {
  readonly access: string;
  readonly id: string | undefined;
  readonly claims: Pick<Claims, "accountId" | "fedramp">;
}

/** Taking tokens apart for each request would cost as much as all else. */
const said = new WeakMap<Tokens, Said>();

function claimsOf(tokens: Tokens | undefined): Said["claims"] {
  if (!tokens) return { accountId: null, fedramp: false };
  const { access, id } = tokens;
  const known = said.get(tokens);
  if (known?.access === access && known.id === id) return known.claims;
  const [own, more] = [readClaims(id), readClaims(access)];
  const claims = {
    accountId: own.accountId ?? more.accountId,
    fedramp: own.fedramp || more.fedramp,
  };
  said.set(tokens, { access, id, claims });
  return claims;
}

/** The workspace of an account: a record that was written by hand may leave that to its tokens. */
export function accountIdOf(
  { accountId, tokens }: AccountRecord,
): string | undefined {
  if (accountId) return accountId;
  const claimed = claimsOf(tokens).accountId;
  return claimed !== null && isHeaderText(claimed) ? claimed : undefined;
}

/**
 * What an account's requests say of whose they are.
 *
 * @param access The access token to send.
 */
export function identityOf(account: AccountRecord, access: string): Identity {
  return {
    access,
    accountId: accountIdOf(account),
    fedramp: account.fedramp === true || claimsOf(account.tokens).fedramp,
  };
}
