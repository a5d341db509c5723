/** The `openai` package through `rotator.fetch`. */
import OpenAI from "openai";
import {
  RAN_OUT,
  RAN_OUT_IN_STREAM,
  report,
  scenario,
  toolCall,
} from "./stand_in.mjs";

const ASK = { model: "gpt-5.5", input: "Who are you?" };

/** Plain answers; Alice runs out between the first and the second. */
async function plain(client) {
  const texts = [];
  for (let n = 0; n < 3; n++) {
    const response = await client.responses.create(ASK);
    texts.push(response.output_text);
  }
  return texts;
}

/** Streamed answers; Alice's second one fails before it says anything. */
async function streaming(client) {
  const texts = [];
  const types = [];
  for (let n = 0; n < 2; n++) {
    let text = "";
    for await (
      const event of await client.responses.create({ ...ASK, stream: true })
    ) {
      types.push(event.type);
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    texts.push(text);
  }
  const count = (type) => types.filter((other) => other === type).length;
  return {
    texts,
    created: count("response.created"),
    completed: count("response.completed"),
    failed: count("response.failed"),
  };
}

/** Nobody is left: the SDK gets an answer that it understands, once. */
async function nobody(client) {
  try {
    await client.responses.create(ASK);
    return "served";
  } catch (error) {
    const { status, type, message, error: { accounts } } = error;
    return {
      name: error.constructor.name,
      status,
      type,
      message,
      accounts: accounts.map(({ alias, reason }) => `${alias} ${reason}`),
    };
  }
}

/** What callers may ask for and the backend refuses. */
async function parameters(client) {
  const response = await client.responses.create({
    model: "gpt-5.5",
    input: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Who are you?" },
    ],
    max_output_tokens: 100,
    temperature: 0.5,
    top_p: 0.9,
    metadata: { a: "b" },
    user: "me",
    safety_identifier: "me",
    prompt_cache_retention: "24h",
    truncation: "auto",
    service_tier: "auto",
    store: true,
  });
  return response.output_text;
}

async function refusal(ask) {
  try {
    await ask();
    return "served";
  } catch ({ constructor, status, message, cause }) {
    const told = { name: constructor.name, status, message };
    return cause ? { ...told, cause: cause.message } : told;
  }
}

async function models(client) {
  const ids = [];
  for await (const { id, object } of client.models.list()) {
    ids.push(`${object} ${id}`);
  }
  return ids;
}

/** Two steps in the simplest way: what came goes back. */
async function useTool(client, fake) {
  const tools = [{
    type: "function",
    name: "weather",
    parameters: { type: "object", properties: { city: { type: "string" } } },
    strict: false,
  }];
  const input = [{ role: "user", content: "How is the weather in Oslo?" }];
  const ask = () => client.responses.create({ model: "gpt-5.5", input, tools });
  const { output } = await ask();
  const { call_id, arguments: given } = output.find(({ type }) =>
    type === "function_call"
  );
  input.push(...output, {
    type: "function_call_output",
    call_id,
    output: `The sky over ${JSON.parse(given).city} is clear`,
  });
  const { output_text: text } = await ask();
  const { json } = fake.log.findLast(({ kind }) => kind === "responses");
  return { text, toolOutput: json.input.at(-1).output };
}

const withBase = ({ baseURL, fetch }) =>
  new OpenAI({ baseURL, apiKey: "unused", fetch });
const withoutBase = ({ fetch }) => new OpenAI({ apiKey: "unused", fetch });

await report({
  plain: () => scenario([{}, RAN_OUT], (at) => plain(withBase(at))),
  official: () => scenario([{}, RAN_OUT], (at) => plain(withoutBase(at))),
  streaming: () =>
    scenario([{}, RAN_OUT_IN_STREAM], (at) => streaming(withBase(at))),
  parameters: () => scenario([{}], (at) => parameters(withoutBase(at)), 0),
  previous: () =>
    scenario(
      [{}],
      (at) =>
        refusal(() =>
          withBase(at).responses.create({ ...ASK, previous_response_id: "r" })
        ),
      0,
    ),
  models: () =>
    scenario([], (at, fake) => {
      fake.account("alice").supportedModels = ["gpt-6-sol", "gpt-5.5"];
      return models(withBase(at));
    }, 0),
  unreachable: () =>
    scenario([], async (at, fake) => {
      await fake.close();
      const client = withBase(at);
      client.maxRetries = 0;
      const { host } = new URL(fake.backend);
      const error = await refusal(() => client.responses.create(ASK));
      return JSON.parse(JSON.stringify(error).replaceAll(host, "HOST"));
    }, 0),
  tool: () =>
    scenario(
      [toolCall("weather", { city: "Oslo" }), RAN_OUT],
      (at, fake) => useTool(withBase(at), fake),
    ),
  nobody: () =>
    scenario([RAN_OUT], (at, fake) => {
      fake.account("bob").queue.push(RAN_OUT);
      return nobody(withBase(at));
    }),
});
