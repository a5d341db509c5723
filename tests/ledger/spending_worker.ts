/**
 * A rotator as a process of its own, which may spend. For each line, an object
 * with `count`, `model` and `session`, it sends so many requests at once and
 * tells their statuses; its clock is ahead by the first argument after the
 * addresses (ms).
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { createRotator } from "../../mod.ts";
import { openStore } from "../store/open.ts";

const [where = "", backend = "", issuer = "", ahead = "0"] = process.argv
  .slice(2);
const rotator = createRotator({
  store: await openStore(where),
  backend,
  issuer,
  now: () => Date.now() + Number(ahead),
});

function tell(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function ask(model: string, session: string): Promise<string> {
  const response = await rotator.fetch(`${rotator.baseURL}/responses`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model,
      prompt_cache_key: session,
      instructions: "Be brief.",
      input: [{ role: "user", content: "canary-prompt" }],
      store: false,
      stream: true,
    }),
  });
  const text = await response.text();
  if (response.status === 200) return "200";
  const { accounts = [] } = JSON.parse(text).error;
  return `${response.status} ${
    accounts.map((it: { reason: string }) => it.reason)
  }`;
}

tell("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const { count, model = "gpt-5.5", session = "one" } = JSON.parse(line);
  tell(
    await Promise.all(
      Array.from({ length: count }, () => ask(model, session)),
    ),
  );
}
await rotator.close();
tell("closed");
