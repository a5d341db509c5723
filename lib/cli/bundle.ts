/**
 * What the bundle is made of: the command line and the entries of the package,
 * each loaded only where it is used.
 */
export { runProcess } from "./main.ts";

export const library = (): Promise<typeof import("../../mod.ts")> =>
  import("../../mod.ts");

export const serve = (): Promise<typeof import("../serve/mod.ts")> =>
  import("../serve/mod.ts");

export const opencode = (): Promise<typeof import("../opencode.ts")> =>
  import("../opencode.ts");

export const postgres = (): Promise<typeof import("../postgres.ts")> =>
  import("../postgres.ts");

export const testing = (): Promise<typeof import("../testing/fake_codex.ts")> =>
  import("../testing/fake_codex.ts");
