/** The `openai` package through `rotator.fetch`. */
import OpenAI from "openai";
import { RAN_OUT, RAN_OUT_IN_STREAM, report, scenario } from "./stand_in.mjs";

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

const withBase = ({ baseURL, fetch }) =>
  new OpenAI({ baseURL, apiKey: "unused", fetch });
const withoutBase = ({ fetch }) => new OpenAI({ apiKey: "unused", fetch });

await report({
  plain: () => scenario([{}, RAN_OUT], (at) => plain(withBase(at))),
  official: () => scenario([{}, RAN_OUT], (at) => plain(withoutBase(at))),
  streaming: () =>
    scenario([{}, RAN_OUT_IN_STREAM], (at) => streaming(withBase(at))),
  nobody: () =>
    scenario([RAN_OUT], (at, fake) => {
      fake.account("bob").queue.push(RAN_OUT);
      return nobody(withBase(at));
    }),
});
