/**
 * Two accounts of a stand-in backend for the SDK scenarios. Alice is on the
 * preferred plan, so everything goes to her for as long as she can serve.
 */
import process from "node:process";
import { startFakeCodex } from "../../../lib/testing/fake_codex.ts";
import { createRotator, memoryStore } from "../../../mod.ts";

/** The answer of an account that has just run out. */
export const RAN_OUT = {
  status: 429,
  body: {
    error: {
      type: "usage_limit_reached",
      message: "The usage limit has been reached",
      resets_in_seconds: 3600,
    },
  },
};

/** The same, said in a stream that had begun already. */
export const RAN_OUT_IN_STREAM = {
  events: [
    { type: "response.created", response: { id: "resp_out" } },
    { type: "response.in_progress", response: { id: "resp_out" } },
    {
      type: "response.failed",
      response: {
        id: "resp_out",
        status: "failed",
        error: {
          code: "usage_limit_reached",
          message: "The usage limit has been reached",
        },
      },
    },
  ],
};

/**
 * An answer of Alice's that thinks, in words only she can read, and then calls
 * a tool. Its last event may leave the output out, as the backend's often does.
 */
export function toolCall(name, args, { emptyOutput = false } = {}) {
  const reasoning = {
    type: "reasoning",
    id: "rs_1",
    summary: [],
    encrypted_content: "enc:alice:1",
  };
  const call = {
    type: "function_call",
    id: "fc_1",
    call_id: "call_1",
    name,
    arguments: JSON.stringify(args),
    status: "completed",
  };
  const response = {
    id: "resp_tool",
    object: "response",
    created_at: 1_800_000_000,
    status: "in_progress",
    model: "gpt-5.5",
    output: [],
    error: null,
  };
  const events = [
    { type: "response.created", response },
    { type: "response.output_item.added", output_index: 0, item: reasoning },
    { type: "response.output_item.done", output_index: 0, item: reasoning },
    {
      type: "response.output_item.added",
      output_index: 1,
      item: { ...call, arguments: "", status: "in_progress" },
    },
    {
      type: "response.function_call_arguments.delta",
      item_id: call.id,
      output_index: 1,
      delta: call.arguments,
    },
    {
      type: "response.function_call_arguments.done",
      item_id: call.id,
      output_index: 1,
      arguments: call.arguments,
    },
    { type: "response.output_item.done", output_index: 1, item: call },
    {
      type: "response.completed",
      response: {
        ...response,
        status: "completed",
        output: emptyOutput ? [] : [reasoning, call],
        usage: {
          input_tokens: 12,
          input_tokens_details: { cached_tokens: 0 },
          output_tokens: 4,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: 16,
        },
      },
    },
  ];
  return {
    events: events.map((event, n) => ({ ...event, sequence_number: n })),
  };
}

/**
 * Runs one scenario.
 *
 * @param queue Alice's next answers; `{}` is an ordinary one.
 * @param use Gets the rotator and the stand-in; what it returns is reported.
 * @param switches How often another account has to take over.
 */
export async function scenario(queue, use, switches = 1) {
  await using fake = await startFakeCodex({
    accounts: { alice: { plan: "pro", queue }, bob: {} },
  });
  const events = [];
  await using rotator = createRotator({
    ...placeOf(fake),
    onEvent: (event) => events.push(event.type),
  });
  const result = await use(rotator, fake);
  return {
    result,
    attempts: fake.log.filter(({ kind }) => kind === "responses")
      .map(({ account, status }) => `${account} ${status}`),
    switches: events.filter((type) => type === "switched").length - switches,
    other: fake.log.filter(({ kind }) => kind === "other").length,
    violations: fake.violations,
  };
}

/** Store, backend and issuer of a rotator with the stand-in's accounts. */
export function placeOf(fake) {
  const accounts = {};
  for (const name of ["alice", "bob"]) {
    const { accountId, ...tokens } = fake.tokens(name);
    const { plan } = fake.account(name);
    accounts[name] = { accountId, plan, tokens };
  }
  const { backend, issuer } = fake;
  return { store: memoryStore({ accounts }), backend, issuer };
}

/** Prints what all scenarios came to, as one line of JSON. */
export async function report(scenarios) {
  const results = {};
  for (const [name, run] of Object.entries(scenarios)) {
    results[name] = await run();
  }
  process.stdout.write(`${JSON.stringify(results)}\n`);
}
