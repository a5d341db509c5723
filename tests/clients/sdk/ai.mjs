/** `ai` with `@ai-sdk/openai` through `rotator.fetch`. */
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import {
  RAN_OUT,
  RAN_OUT_IN_STREAM,
  report,
  scenario,
  toolCall,
} from "./stand_in.mjs";

const PROMPT = "Who are you?";

/** The model, at the backend's own address. */
function modelOf({ baseURL, fetch }) {
  return createOpenAI({ baseURL, apiKey: "unused", fetch })("gpt-5.5");
}

async function generate(model) {
  const texts = [];
  for (let n = 0; n < 3; n++) {
    texts.push((await generateText({ model, prompt: PROMPT })).text);
  }
  return texts;
}

async function stream(model) {
  const texts = [];
  for (let n = 0; n < 2; n++) {
    const { textStream } = streamText({ model, prompt: PROMPT });
    let text = "";
    for await (const part of textStream) text += part;
    texts.push(text);
  }
  return texts;
}

const STORELESS = {
  providerOptions: {
    openai: { store: false, include: ["reasoning.encrypted_content"] },
  },
};

/** A second question, with what the first one came to as the SDK tells it. */
async function converse(model, fake) {
  const messages = [{ role: "user", content: PROMPT }];
  const first = await generateText({ model, messages });
  messages.push(...first.response.messages, { role: "user", content: "Sure?" });
  const { text } = await generateText({ model, messages });
  const { json } = fake.log.findLast(({ kind }) => kind === "responses");
  return {
    text,
    sent: json.input.map(({ role, content }) => [role, content[0].text]),
  };
}

/** Alice calls the tool and runs out; Bob finishes with what it returned. */
async function useTool(model, fake, run, options = STORELESS) {
  const called = [];
  const weather = tool({
    description: "Tells the weather",
    inputSchema: z.object({ city: z.string() }),
    execute: ({ city }) => {
      called.push(city);
      return { city, sky: "clear" };
    },
  });
  const text = await run({
    model,
    prompt: "How is the weather in Oslo?",
    tools: { weather },
    stopWhen: isStepCount(3),
    ...options,
  });
  return { text, called, toolOutput: toolOutputOf(fake) };
}

/** What the last request said that the tool returned. */
function toolOutputOf(fake) {
  const { json } = fake.log.findLast(({ kind }) => kind === "responses");
  return json.input.find(({ type }) => type === "function_call_output")?.output;
}

const tooling = () => [
  toolCall("weather", { city: "Oslo" }, { emptyOutput: true }),
  RAN_OUT,
];

await report({
  generate: () => scenario([{}, RAN_OUT], (at) => generate(modelOf(at))),
  official: () =>
    scenario(
      [{}, RAN_OUT],
      ({ fetch }) =>
        generate(createOpenAI({ apiKey: "unused", fetch })("gpt-5.5")),
    ),
  stream: () => scenario([{}, RAN_OUT_IN_STREAM], (at) => stream(modelOf(at))),
  tool: () =>
    scenario(
      tooling(),
      (at, fake) =>
        useTool(modelOf(at), fake, async (options) =>
          (await generateText(options)).text),
    ),
  defaultTool: () =>
    scenario(
      tooling(),
      (at, fake) =>
        useTool(
          modelOf(at),
          fake,
          async (options) => (await generateText(options)).text,
          {},
        ),
    ),
  conversation: () =>
    scenario([{}, RAN_OUT], (at, fake) => converse(modelOf(at), fake)),
  streamedTool: () =>
    scenario(
      tooling(),
      (at, fake) =>
        useTool(modelOf(at), fake, (options) => streamText(options).text),
    ),
});
