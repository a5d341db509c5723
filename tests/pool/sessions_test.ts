import { assertEquals } from "@std/assert";
import { Sessions } from "../../lib/pool/sessions.ts";
import { test } from "../test.ts";
import { MINUTE, NOW } from "./accounts.ts";

test("sessions.get() forgets a session after 60 idle minutes", () => {
  const sessions = new Sessions();
  sessions.note("s", { alias: "a", usedAt: NOW });
  assertEquals(sessions.get("s", NOW + 60 * MINUTE)?.alias, "a");
  sessions.note("s", { alias: "b", usedAt: NOW + 60 * MINUTE });
  assertEquals(sessions.get("s", NOW + 120 * MINUTE)?.alias, "b");
  assertEquals(sessions.get("s", NOW + 120 * MINUTE + 1), undefined);
  assertEquals(sessions.get("other", NOW), undefined);
});

test("sessions.note() keeps the memory bounded and the latest sessions in it", () => {
  const sessions = new Sessions();
  for (let n = 0; n < 25_000; n++) {
    sessions.note(`s${n}`, { alias: "a", usedAt: NOW });
  }
  assertEquals(sessions.size, 20_000);
  assertEquals(sessions.get("s0", NOW), undefined);
  assertEquals(sessions.get("s24999", NOW)?.alias, "a");
});

test("sessions.note() keeps a mark when another account goes on", () => {
  const sessions = new Sessions();
  sessions.note("s", { alias: "a", usedAt: NOW, mark: "mark1" });
  sessions.note("s", { alias: "b", usedAt: NOW + 1 });
  const { alias, mark } = sessions.get("s", NOW + 2)!;
  assertEquals([alias, mark], ["b", "mark1"]);
  const other = new Sessions();
  other.merge(sessions.takeChanged(), NOW + 2);
  assertEquals(other.get("s", NOW + 2)?.mark, "mark1");
  sessions.note("s", { alias: "b", usedAt: NOW + 3, mark: "mark2" });
  assertEquals(sessions.get("s", NOW + 3)?.mark, "mark2");
});

test("sessions.putBack() has what could not be written taken again, as it is then", () => {
  const sessions = new Sessions();
  sessions.note("s", { alias: "a", usedAt: NOW });
  sessions.note("t", { alias: "a", usedAt: NOW });
  const taken = Object.keys(sessions.takeChanged());
  sessions.note("s", { alias: "b", usedAt: NOW + 1 });
  sessions.putBack(taken);
  const again = sessions.takeChanged();
  assertEquals(again, { s: `b ${NOW + 1}`, t: `a ${NOW}` });
  assertEquals(sessions.takeChanged(), {});
});

test("sessions.countOf() counts the sessions that an account served last, until they are forgotten", () => {
  const sessions = new Sessions();
  const counts = (now: number) =>
    ["a", "b"].map((alias) => sessions.countOf(alias, now));
  assertEquals(counts(NOW), [0, 0]);
  sessions.note("one", { alias: "a", usedAt: NOW });
  sessions.note("two", { alias: "a", usedAt: NOW + MINUTE });
  sessions.note("two", { alias: "a", usedAt: NOW + MINUTE });
  assertEquals(counts(NOW + MINUTE), [2, 0]);
  sessions.note("one", { alias: "b", usedAt: NOW + 2 * MINUTE });
  assertEquals(counts(NOW + 61 * MINUTE), [1, 1]);
  assertEquals(counts(NOW + 62 * MINUTE), [0, 1]);
  assertEquals(counts(NOW + 63 * MINUTE), [0, 0]);
  assertEquals(sessions.size, 0);
});
