/** `@openai/agents` through `rotator.fetch`. */
import { Agent, OpenAIProvider, Runner, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";
import {
  RAN_OUT,
  RAN_OUT_IN_STREAM,
  report,
  scenario,
  toolCall,
} from "./stand_in.mjs";

/** A runner of its own, so that the scenarios share nothing. */
function runnerOf({ baseURL, fetch }) {
  const openAIClient = new OpenAI({ baseURL, apiKey: "unused", fetch });
  return new Runner({
    modelProvider: new OpenAIProvider({ openAIClient, useResponses: true }),
    tracingDisabled: true,
  });
}

const STORELESS = {
  modelSettings: {
    store: false,
    providerData: { include: ["reasoning.encrypted_content"] },
  },
};

function agentOf(called, settings = STORELESS) {
  const weather = tool({
    name: "weather",
    description: "Tells the weather",
    parameters: z.object({ city: z.string() }),
    execute: ({ city }) => {
      called.push(city);
      return `The sky over ${city} is clear`;
    },
  });
  return new Agent({
    name: "Forecaster",
    instructions: "Be brief.",
    model: "gpt-5.5",
    ...settings,
    tools: [weather],
  });
}

async function plain(runner) {
  const texts = [];
  for (let n = 0; n < 3; n++) {
    texts.push((await runner.run(agentOf([]), "Hello")).finalOutput);
  }
  return texts;
}

/** Alice calls the tool and runs out; Bob finishes with what it returned. */
async function useTool(runner, fake, { stream = false, settings } = {}) {
  const called = [];
  const question = "How is the weather in Oslo?";
  const result = await runner.run(agentOf(called, settings), question, {
    stream,
  });
  if (stream) await result.completed;
  const { json } = fake.log.findLast(({ kind }) => kind === "responses");
  return {
    text: result.finalOutput,
    called,
    toolOutput: json.input.find(({ type }) => type === "function_call_output")
      ?.output,
  };
}

const call = () => toolCall("weather", { city: "Oslo" });

await report({
  plain: () => scenario([{}, RAN_OUT], (at) => plain(runnerOf(at))),
  tool: () =>
    scenario(
      [call(), RAN_OUT],
      (at, fake) => useTool(runnerOf(at), fake),
    ),
  defaultTool: () =>
    scenario(
      [call(), RAN_OUT],
      (at, fake) => useTool(runnerOf(at), fake, { settings: {} }),
    ),
  streamedTool: () =>
    scenario(
      [call(), RAN_OUT_IN_STREAM],
      (at, fake) => useTool(runnerOf(at), fake, { stream: true }),
    ),
});
