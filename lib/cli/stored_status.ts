import { statusReport } from "../reports.ts";
import { openStored } from "../stored.ts";
import type { StatusReport } from "../types.ts";
import { type Context, storeOf } from "./options.ts";

/** Reads what `status` says, asking no one; each call reads the store anew. */
export function statusReader(
  context: Context,
): (model?: string) => Promise<StatusReport> {
  const { now, env: environment, quickRead } = context.io;
  const stored = openStored(storeOf(context), { now, environment, quickRead });
  return (model) => statusReport(stored, model);
}
