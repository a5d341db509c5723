/**
 * Several ChatGPT/Codex logins behind one `fetch`: every request goes to the
 * account that should serve it. Usage included in a plan is used up first;
 * purchased credits are a fallback, only where their owner allows it.
 *
 * @module
 */
export {
  createRotator,
  type RefreshOptions,
  type Rotator,
  type RotatorOptions,
  type StatusOptions,
} from "./lib/rotator.ts";
export { RotatorError, type RotatorErrorCode } from "./lib/errors.ts";
export {
  type JsonStore,
  jsonStore,
  type JsonStoreOptions,
} from "./lib/store/json_store.ts";
export { memoryStore } from "./lib/store/memory_store.ts";
export { defaultStorePath } from "./lib/store/paths.ts";
export type * from "./lib/types.ts";
export type * from "./lib/report_types.ts";
export type * from "./lib/spending_types.ts";
