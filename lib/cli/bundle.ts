/**
 * What the bundle is made of: the command line, and the library, which is
 * loaded only where the bundle is imported.
 *
 * @module
 */
export { runProcess } from "./main.ts";

export const library = (): Promise<typeof import("../../mod.ts")> =>
  import("../../mod.ts");
