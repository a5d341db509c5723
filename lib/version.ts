/** The version of this toolkit. */
export const VERSION = "0.1.0";
