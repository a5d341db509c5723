/** An SDK used before any login: what it says itself, and what stands on stderr. */
import process from "node:process";
import OpenAI from "openai";
import { createRotator, memoryStore } from "../../../mod.ts";

const rotator = createRotator({ store: memoryStore() });
const { baseURL, fetch } = rotator;
const client = new OpenAI({ baseURL, apiKey: "unused", fetch, maxRetries: 1 });
try {
  await client.responses.create({ model: "gpt-5.5", input: "Who are you?" });
} catch ({ message, cause }) {
  process.stdout.write(`${JSON.stringify([message, cause.code])}\n`);
}
