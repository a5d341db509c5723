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

/** A window: dated. */
export type NormalWindow = Filled<UsageWindow, "observedAt" | "seenAt">;

/** A meter: dated, its flags with the windows that they are about. */
export interface NormalMeter
  extends Filled<MeterFacts, "allowed" | "limitReached" | "observedAt"> {
  windows: NormalWindow[];
}

/** Usage: every part is dated. */
export interface NormalUsage extends
  Filled<
    UsageFacts,
    "answeredAt" | "creditOnly" | "modelUsage" | "bankedResets"
  > {
  meters: Record<string, NormalMeter>;
}

/** Credits. */
export type NormalCredits = Required<CreditFacts>;

/** Tokens: the access token can be sent, or is empty. */
export type NormalTokens = Filled<Tokens, "expiresAt">;

/** An account. */
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

/** A state. */
export interface NormalState extends PoolState {
  settings: Settings & { pinned: string | null };
  accounts: Record<string, NormalRecord>;
}
