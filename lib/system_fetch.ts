/** The runtime's own `fetch`. */
import type { FetchLike } from "./types.ts";

/**
 * Bun takes NODE_TLS_REJECT_UNAUTHORIZED from the `.env` of the folder that it
 * is started in: a project's file must not switch off the check of certificates.
 */
const PINNED: RequestInit | undefined = "Bun" in globalThis
  ? { tls: { rejectUnauthorized: true } } as RequestInit
  : undefined;

/** Sends a request; a later change of `globalThis.fetch` counts. */
export const systemFetch: FetchLike = (input, init) =>
  globalThis.fetch(input, PINNED ? { ...init, ...PINNED } : init);
