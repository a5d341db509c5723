/** What can go wrong before a request is sent, to be told apart by code. */
export type RotatorErrorCode =
  | "no_accounts"
  | "store_corrupt"
  | "store_version"
  | "store_locked"
  | "store_unwritable";

/**
 * An error of the rotator itself, never of the backend.
 *
 * @example
 * ```ts
 * import { RotatorError } from "../mod.ts";
 *
 * const error = new RotatorError("no_accounts", "No account is in the store");
 * if (error.code !== "no_accounts") throw error;
 * ```
 */
export class RotatorError extends Error {
  /** Always the same. */
  override readonly name = "RotatorError";
  /** What went wrong, stable across versions. */
  readonly code: RotatorErrorCode;

  /**
   * Makes the error.
   *
   * @param code What went wrong.
   * @param message What was found, what is wanted, and what to do next.
   * @param options The cause, where there is one.
   */
  constructor(code: RotatorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
