/**
 * One of those who share a linked file, as a process of its own: a rotator, or
 * a stand-in for the Codex CLI that reads, renews and writes without any lock.
 * For each line it is told it works once, and says how that went.
 */
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { createRotator } from "../../mod.ts";

const [role = "", store = "", backend = "", issuer = "", file = ""] = process
  .argv.slice(2);
const rotator = createRotator({ store, backend, issuer, credits: "none" });

async function askByRotator(): Promise<string> {
  const { accounts: [report] } = await rotator.refresh();
  return report?.ok ? "ok" : report?.error ?? "no account";
}

/** Sends what is in the file, and renews it once when that is refused. */
async function askByCodex(): Promise<string> {
  const before = JSON.parse(await readFile(file, "utf8"));
  if (await isServed(before.tokens)) return "ok";
  const now = JSON.parse(await readFile(file, "utf8"));
  const isChanged = now.tokens.access_token !== before.tokens.access_token;
  if (!isChanged) await renewInFile(now);
  return await isServed(now.tokens) ? "ok" : "refused";
}

interface CodexFile {
  tokens: Record<string, string>;
  last_refresh: string;
}

async function renewInFile(content: CodexFile): Promise<void> {
  const response = await fetch(`${issuer}/oauth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      client_id: "app_EMoamEEZ73f0CkXaXp7hrann",
      grant_type: "refresh_token",
      refresh_token: content.tokens.refresh_token,
    }),
  });
  Object.assign(content.tokens, await response.json());
  content.last_refresh = new Date().toISOString();
  await writeFile(file, JSON.stringify(content, null, 2));
}

async function isServed(tokens: Record<string, string>): Promise<boolean> {
  const response = await fetch(`${backend}/wham/usage`, {
    headers: {
      "authorization": `Bearer ${tokens.access_token}`,
      "chatgpt-account-id": tokens.account_id ?? "",
      "user-agent": "codex-stand-in/1.0",
    },
  });
  await response.body?.cancel();
  return response.ok;
}

for await (const _ of createInterface({ input: process.stdin })) {
  const told = await (role === "codex" ? askByCodex() : askByRotator());
  process.stdout.write(`${told}\n`);
}
await rotator.close();
