/**
 * The state as it is worked with, which `store/state.ts` describes: every
 * default is filled, every fact is dated.
 *
 * @module
 */
import type {
  AccountRecord,
  Cooldown,
  CreditFacts,
  MeterFacts,
  ModelUsage,
  PoolState,
  Settings,
  Tokens,
  UsageFacts,
  UsageWindow,
} from "./types.ts";

/** A window as it is worked with, see `store/normal_form.ts`. */
export interface NormalWindow extends UsageWindow {
  observedAt: number;
  seenAt: number;
}

/** A meter as it is worked with: dated, its flags with the windows that they are about. */
export interface NormalMeter extends MeterFacts {
  allowed: boolean | null;
  limitReached: boolean | null;
  windows: NormalWindow[];
  observedAt: number;
}

/** Usage as it is worked with: every default is filled, every part is dated. */
export interface NormalUsage extends UsageFacts {
  answeredAt: number | null;
  meters: Record<string, NormalMeter>;
  creditOnly: boolean | null;
  modelUsage: Record<string, ModelUsage>;
  bankedResets: number | null;
}

/** Credits as they are worked with. */
export type NormalCredits = Required<CreditFacts>;

/** Tokens as they are worked with: the access token can be sent, or is empty. */
export interface NormalTokens extends Tokens {
  expiresAt: number | null;
}

/** An account as it is worked with. */
export interface NormalRecord extends AccountRecord {
  enabled: boolean;
  weight: number;
  priority: number;
  reserve: number;
  tokens?: NormalTokens;
  usage?: NormalUsage;
  credits?: NormalCredits;
  cooldowns: Record<string, Cooldown>;
  auth?: { invalidAt: number; reason: string };
  requests: number;
  lastUsedAt: number | null;
}

/** A state as it is worked with. */
export interface NormalState extends PoolState {
  settings: Settings & { pinned: string | null };
  accounts: Record<string, NormalRecord>;
}
