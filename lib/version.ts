/** The version of this toolkit. */
export const VERSION = "0.2.0";
/** The version of the Codex client whose protocol this speaks: the backend refuses newer models to older ones. */
export const CODEX_VERSION = "0.171.0";
