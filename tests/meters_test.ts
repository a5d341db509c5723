import { assertEquals } from "@std/assert";
import { meterNames, meterOfModel } from "../lib/meters.ts";
import { test } from "./test.ts";
import { account, answer, NOW, usage, window } from "./pool/accounts.ts";

test("meterOfModel() gives Spark and the reserve their own meters, and all others the main one", () => {
  const rows: [model: string | undefined, meter: string][] = [
    ["gpt-5.3-codex-spark", "codex_bengalfox"],
    ["GPT-5.3-Codex-Spark-High", "codex_bengalfox"],
    ["gpt-5.3-codex", "codex"],
    ["gpt-reserve", "base_model_inference"],
    ["GPT-Reserve", "base_model_inference"],
    ["gpt-reserve-2", "codex"],
    ["constructor", "codex"],
    [undefined, "codex"],
  ];
  for (const [model, meter] of rows) {
    assertEquals([model, meterOfModel(model)], [model, meter]);
  }
});

test("meterNames() learns later meters from what any account was seen with", () => {
  const next = { windows: [window(1)], name: "GPT-7-Next" };
  const names = meterNames([
    account(),
    account({ usage: answer(NOW, [window(1)]) }),
    account({ usage: usage([], { meters: { codex: { windows: [] }, next } }) }),
  ]);
  assertEquals(meterOfModel("gpt-7-next", names), "next");
  assertEquals(meterOfModel("gpt-reserve", names), "base_model_inference");
  assertEquals(meterOfModel("gpt-5.3-codex-spark", names), "codex_bengalfox");
  assertEquals(meterOfModel("gpt-7-next"), "codex");
});

test("meterNames() never gives a model the main meter's name away", () => {
  const codex = { windows: [window(1)], name: "gpt-5.5" };
  const named = account({ usage: usage([], { meters: { codex } }) });
  assertEquals(meterNames([named]).has("gpt-5.5"), false);
});
