import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import {
  clampReset,
  parseRetryAfter,
  parseTryAgain,
  resetTime,
} from "../../lib/codex/times.ts";
import { test } from "../test.ts";

const NOW = 1_790_000_000_000;
const DAY = 86_400_000;

test("clampReset() believes a reset within 35 days", () => {
  assertEquals(clampReset(NOW + 1, NOW), NOW + 1);
  assertEquals(clampReset(NOW, NOW), NOW + 60_000);
  assertEquals(clampReset(NOW - DAY, NOW), NOW + 60_000);
  assertEquals(clampReset(NOW + 36 * DAY, NOW), NOW + 35 * DAY);
  assertEquals(clampReset(Infinity, NOW), NOW + 35 * DAY);
  assertEquals(clampReset(NaN, NOW), NOW + 60_000);
});

test("resetTime() prefers a point in time to a delay", () => {
  assertStrictEquals(resetTime(NOW / 1000 + 5, 99, NOW), NOW + 5000);
  assertStrictEquals(resetTime(null, "99", NOW), NOW + 99_000);
  assertStrictEquals(resetTime(undefined, {}, NOW), null);
});

test("parseRetryAfter() reads seconds, dates and milliseconds", () => {
  const table: [Record<string, string>, number | undefined][] = [
    [{ "retry-after": "7" }, NOW + 7000],
    [{ "retry-after": "1.5" }, NOW + 1500],
    [{ "retry-after": "0" }, NOW + 1000],
    [{ "retry-after": "-5" }, NOW + 60_000],
    [{ "retry-after": new Date(NOW + 9000).toUTCString() }, NOW + 9000],
    [{ "retry-after": new Date(NOW - 9000).toUTCString() }, NOW + 60_000],
    [{ "retry-after": "99999999999" }, NOW + 35 * DAY],
    [{ "retry-after": "5", "retry-after-ms": "250" }, NOW + 250],
    [{ "retry-after-ms": "x", "retry-after": "5" }, NOW + 5000],
    [{ "retry-after": "in 5 minutes" }, undefined],
    [{ "retry-after": "nonsense GMT" }, undefined],
    [{ "retry-after": "" }, undefined],
    [{}, undefined],
  ];
  for (const [pairs, wanted] of table) {
    assertStrictEquals(parseRetryAfter(new Headers(pairs), NOW), wanted);
  }
});

test("parseTryAgain() reads delays as people write them", () => {
  const table: [string, number | undefined][] = [
    ["Please try again in 1.3s.", 1300],
    ["try again in 250ms", 250],
    ["Try again in 20 seconds", 20_000],
    ["try again in 2 minutes, or later", 120_000],
    ["try again in 6m0s", 360_000],
    ["try again in 1h 30m", 5_400_000],
    ["try again in 3 days 2 hours", 266_400_000],
    ["try again in 1 minute and 5 seconds", 65_000],
    ["try again in 40 milliseconds", 40],
    ["try again in 0s", 1000],
    ["try again in 90 days", 35 * DAY],
    ["try again in 5 moons", undefined],
    ["try again in 1..5s", undefined],
    ["try again later", undefined],
    ["", undefined],
  ];
  for (const [text, delay] of table) {
    const wanted = delay === undefined ? undefined : NOW + delay;
    assertStrictEquals(parseTryAgain(text, NOW), wanted);
  }
});

test("parseRetryAfter() stays within 35 days whatever it reads", () => {
  const value = fc.oneof(
    fc.double().map(String),
    fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
    fc.string({ unit: fc.constantFrom("1", ".", "e", "-", "G", "M", "T") }),
  );
  fc.assert(fc.property(value, (text) => {
    const until = parseRetryAfter(new Headers({ "retry-after": text }), NOW);
    assert(until === undefined || (until > NOW && until <= NOW + 35 * DAY));
  }));
});
