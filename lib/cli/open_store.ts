import { type JsonStore, jsonStore } from "../store/json_store.ts";
import type { Context } from "./command.ts";
import { storeOf } from "./setup.ts";
import { sanitize } from "./format.ts";

/** Opens the store to change it; its warnings go to stderr. */
export function openStore(context: Context): JsonStore {
  return jsonStore(storeOf(context), {
    onWarning: (text) => context.io.err(`Warning: ${sanitize(text)}\n`),
  });
}
