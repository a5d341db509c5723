/** What was told, in words, for the trace of a violation. */
import { DAY, START } from "./clock.ts";
import type { Told } from "./witness.ts";

/** One telling in a line. */
export function textOf(
  { kind, began, shown, meters, tellsCredits }: Told,
): string {
  const parts = meters.map(({ id, allowed, limitReached, windows }) => {
    const flags = kind === "headers" ? "" : ` ${allowed}/${limitReached}`;
    const text = windows.map(({ used, resetsAt }) =>
      `${used} % until ${timeText(resetsAt)}`
    );
    return `${id}${flags} ${text.join(", ")}`;
  });
  const { credits } = shown;
  if (credits && tellsCredits) {
    parts.push(`credits ${credits.hasCredits} ${credits.balance}`);
  }
  return `${kind} of ${timeText(began)}: ${parts.join("; ")}`;
}

/** Day and time since the start. */
export function timeText(time: number): string {
  const since = time - START;
  const day = Math.floor(since / DAY);
  return `${day}+${new Date(since - day * DAY).toISOString().slice(11, 23)}`;
}
