/**
 * Answers of the server itself.
 *
 * @module
 */
import { RotatorError } from "../errors.ts";

/** An error as clients of the OpenAI API read it. */
export function failure(
  status: number,
  type: string,
  message: string,
  headers: Record<string, string> = {},
): Response {
  return Response.json({ error: { type, code: type, message } }, {
    status,
    headers,
  });
}

/** What a caller is told when its request could not be sent. */
export function failureOf(error: unknown): Response {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof RotatorError)) {
    return failure(
      502,
      "backend_unreachable",
      `The backend was not reached: ${message}`,
    );
  }
  switch (error.code) {
    case "no_accounts":
      // as when no account may serve: trying again changes nothing
      return failure(403, error.code, message);
    case "store_locked":
      return failure(503, error.code, message);
    case "store_corrupt":
    case "store_version":
    case "store_unwritable":
      return failure(500, error.code, message);
  }
}
