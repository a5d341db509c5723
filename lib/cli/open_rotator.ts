import { createRotator, type Rotator } from "../rotator.ts";
import type { RefreshReport } from "../types.ts";
import type { Context } from "./command.ts";
import { openStore } from "./open_store.ts";
import { backendOf, issuerOf } from "./setup.ts";
import { clean } from "./words.ts";

/** A rotator for a command that asks the backend; its warnings go to stderr. */
export function openOnlineRotator(context: Context): Rotator {
  const { io } = context;
  return createRotator({
    store: openStore(context),
    now: io.now,
    backend: backendOf(context),
    issuer: issuerOf(context),
    onEvent(event) {
      if (event.type !== "warning") return;
      io.err(`Warning: ${clean(event.reason)}\n`);
    },
  });
}

/**
 * Refreshes all accounts, or those named.
 *
 * @param rotator Where.
 * @param context Whose interruption ends it, and who sees its progress.
 * @param aliases Empty: all.
 */
export async function refreshAccounts(
  rotator: Rotator,
  { io }: Context,
  aliases: readonly string[],
): Promise<RefreshReport> {
  const report = await rotator.refresh({
    ...(aliases.length > 0 ? { aliases } : {}),
    signal: io.signal,
    onProgress(done, total) {
      if (!io.errIsTerminal) return;
      // The last step clears the line again, so that the result stands alone.
      const text = done < total ? `Refreshed ${done} of ${total}` : "";
      io.err(`\r\u001b[K${text}`);
    },
  });
  const { throwIfRefused } = await import("./permissions.ts");
  throwIfRefused(report.accounts.map((it) => it.error));
  return report;
}
