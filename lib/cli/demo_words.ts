import type { RotatorEvent } from "../report_types.ts";

/** What an event tells besides who serves; nothing for what the line says already. */
export function eventWords(event: RotatorEvent): string[] {
  switch (event.type) {
    case "selected":
    case "exhausted":
      return [];
    case "switched":
      return [`from ${event.from} to ${event.alias}: ${event.reason}`];
    case "cooldown":
      return [`${event.alias} cools down (${event.cause}): ${event.reason}`];
    case "credits-spent":
      return [
        `${event.alias} spent credits: ${event.balanceBefore ?? "?"} before, ${
          event.balanceAfter ?? "?"
        } after`,
      ];
    case "usage-refreshed":
    case "token-refreshed":
    case "login-required":
      return [`${event.alias}: ${event.reason}`];
    case "warning":
      return [`warning: ${event.reason}`];
  }
}
