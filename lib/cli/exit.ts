/** The exit codes of the command line. */
export const EXIT = {
  ok: 0,
  /** Failed, or failed in part. */
  failed: 1,
  usage: 2,
  /** `status --check`: nobody is included, but someone may serve. */
  uncertain: 3,
  /** No account, or nothing can serve until someone signs in. */
  noAccount: 4,
  /** `status --check`: nothing can serve for another reason. */
  unavailable: 69,
  interrupted: 130,
} as const;

/** An error whose message is all that a person needs to see. */
export class CliError extends Error {
  override readonly name = "CliError";
  /** The exit code it ends in. */
  readonly code: number;

  /**
   * @param message What was found, what is wanted, what to do next.
   * @param code The exit code it ends in.
   */
  constructor(message: string, code: number = EXIT.failed) {
    super(message);
    this.code = code;
  }
}

/** An error in how the command was called. */
export function usageError(message: string): CliError {
  return new CliError(message, EXIT.usage);
}
