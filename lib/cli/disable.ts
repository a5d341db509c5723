import type { Command } from "./options.ts";
import { setEnabled } from "./enable.ts";

/** `disable`: keeps accounts from serving. */
export const command: Command = {
  help: `
A disabled account keeps its tokens and settings, but serves no request.

Examples:
  cli.ts disable work
`,
  operands: [1, Infinity],
  needs: { write: true },
  run: (context) => setEnabled(context, false),
};
