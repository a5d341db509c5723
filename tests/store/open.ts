import { jsonStore } from "../../lib/store/json_store.ts";
import type { Store } from "../../lib/types.ts";

/** Opens a store by its path, or the URL of its database; that needs a client, which is loaded then. */
export async function openStore(
  where: string,
  options: { waitLimit?: number } = {},
): Promise<Store> {
  if (!where.startsWith("postgres:")) return jsonStore(where, options);
  const { postgresStore } = await import("../../lib/postgres.ts");
  return postgresStore(where, options);
}
