/**
 * The state as it is worked with, which `store/state.ts` describes: every
 * default is filled, every fact is dated.
 */
import type {
  AccountRecord,
  CreditFacts,
  MeterFacts,
  PoolState,
  Settings,
  Tokens,
  UsageFacts,
  UsageWindow,
} from "./types.ts";

/** A `T` in which these fields are there. */
type Filled<T, Name extends keyof T> = T & Required<Pick<T, Name>>;

export type NormalWindow = Filled<UsageWindow, "observedAt" | "seenAt">;

/** A meter: dated, its flags with the windows that they are about. */
export interface NormalMeter
  extends Filled<MeterFacts, "allowed" | "limitReached" | "observedAt"> {
  windows: NormalWindow[];
}

export interface NormalUsage extends
  Filled<
    UsageFacts,
    "answeredAt" | "creditOnly" | "modelUsage" | "bankedResets"
  > {
  meters: Record<string, NormalMeter>;
}

export type NormalCredits = Required<CreditFacts>;

/** Tokens: the access token can be sent, or is empty. */
export type NormalTokens = Filled<Tokens, "expiresAt">;

export interface NormalRecord extends
  Filled<
    AccountRecord,
    | "enabled"
    | "weight"
    | "priority"
    | "reserve"
    | "cooldowns"
    | "requests"
    | "lastUsedAt"
  > {
  tokens?: NormalTokens;
  usage?: NormalUsage;
  credits?: NormalCredits;
  auth?: NonNullable<AccountRecord["auth"]>;
}

export interface NormalState extends PoolState {
  settings: Settings & { pinned: string | null };
  accounts: Record<string, NormalRecord>;
}
