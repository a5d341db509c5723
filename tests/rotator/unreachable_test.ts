/** What a caller hears of a network that fails, and of a store that nobody filled. */
import process from "node:process";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  createRotator,
  memoryStore,
  RotatorError,
  type RotatorOptions,
} from "../../mod.ts";
import { networkErrorText } from "../../lib/errors.ts";
import { requestBody, startKnown } from "../fleet.ts";
import { freePort } from "../ports.ts";
import { test } from "../test.ts";

const SECRET = "rt_canary_secret";
const POST = { method: "POST", body: JSON.stringify(requestBody()) };

/** A rotator with one account that is known to have usage left. */
function rotatorFor(options: RotatorOptions) {
  const observedAt = Date.now();
  const alice = {
    tokens: {
      access: SECRET,
      refresh: SECRET,
      expiresAt: observedAt + 3_600_000,
    },
    usage: { observedAt, meters: { codex: { windows: [] } } },
  };
  const random = () => 0;
  return createRotator({
    store: memoryStore({ accounts: { alice } }),
    random,
    ...options,
  });
}

test("rotator.fetch() says why the network failed, and where", async () => {
  const backend = `http://127.0.0.1:${await freePort()}/backend-api`;
  await using rotator = rotatorFor({ backend, issuer: backend });
  const error = await assertRejects(
    () => rotator.fetch("/responses?token=mine", POST),
    TypeError,
  );
  const at = new URL(backend).host;
  assertEquals(error.message, `fetch failed: connection refused at ${at}`);
  assert(error.cause instanceof TypeError, "the runtime's own");
  const { accounts: [row] } = await rotator.refresh();
  assertEquals(row?.error, `fetch failed: connection refused at ${at}`);
});

test("rotator.fetch() passes the errors of a fetch that its owner wrote on as they are", async () => {
  class OwnError extends Error {}
  const own = new OwnError("no money for the modem");
  await using rotator = rotatorFor({ fetch: () => Promise.reject(own) });
  assertEquals(
    await assertRejects(() => rotator.fetch("/responses", POST)),
    own,
  );
});

/** An error as a runtime makes it. */
function failed(message: string, cause?: unknown, code?: string): TypeError {
  return Object.assign(new TypeError(message, { cause }), code && { code });
}

function coded(code: string, more: Record<string, unknown> = {}): Error {
  return Object.assign(new Error(`connect ${code}`), { code, ...more });
}

test("networkErrorText() finds the cause in what each runtime says", () => {
  const url = `https://chatgpt.com/backend-api?key=${SECRET}`;
  const refused = { address: "10.0.0.1", port: 3128 };
  const both = new AggregateError([
    coded("ECONNREFUSED", { address: "::1", port: 443 }),
    coded("ECONNREFUSED", { address: "127.0.0.1", port: 443 }),
  ]);
  const deno = "error sending request for url (https://chatgpt.com/x): ";
  const rows: [error: unknown, text: string][] = [
    [
      failed("fetch failed", coded("ECONNREFUSED", refused)),
      "fetch failed: connection refused at 10.0.0.1:3128",
    ],
    [
      failed("fetch failed", both),
      "fetch failed: connection refused at [::1]:443",
    ],
    [
      failed("fetch failed", coded("ENOTFOUND")),
      "fetch failed: host not found at chatgpt.com",
    ],
    [
      failed("fetch failed", coded("UND_ERR_HEADERS_TIMEOUT")),
      "fetch failed: no answer in time at chatgpt.com",
    ],
    [
      failed("fetch failed", coded("SELF_SIGNED_CERT_IN_CHAIN")),
      "fetch failed: certificate not trusted at chatgpt.com",
    ],
    [
      failed("terminated", coded("UND_ERR_SOCKET")),
      "fetch failed: connection closed by the other side at chatgpt.com",
    ],
    [
      failed(
        `${deno}client error (Connect): tcp connect error: Connection refused (os error 111)`,
      ),
      "fetch failed: connection refused at chatgpt.com",
    ],
    [
      failed(`${deno}client error (Connect): dns error: no record found`),
      "fetch failed: host not found at chatgpt.com",
    ],
    [
      failed(
        "Unable to connect. Is the computer able to access the url?",
        undefined,
        "ConnectionRefused",
      ),
      "fetch failed: connection refused at chatgpt.com",
    ],
    [
      failed(`${deno}client error (Connect): unsuccessful tunnel`),
      "fetch failed: the proxy did not connect at chatgpt.com",
    ],
    [
      failed(`request for url (https://chatgpt.com/x?key=${SECRET}): strange`),
      "request for url (https://chatgpt.com/x): strange",
    ],
    [failed("fetch failed", new Error("bad port")), "bad port"],
    [failed("what nobody knows"), "what nobody knows"],
    ["no error at all", "no error at all"],
  ];
  for (const [error, text] of rows) {
    assertEquals(networkErrorText(error, url), text);
  }
});

/** The warnings that this process prints while something runs. */
async function warningsOf(run: () => Promise<unknown>): Promise<string[]> {
  const texts: string[] = [];
  const listen = ({ message }: Error) => void texts.push(message);
  process.on("warning", listen);
  await run();
  // they are told on the next turn
  await new Promise((resolve) => setTimeout(resolve, 0));
  process.off("warning", listen);
  return texts;
}

test("rotator.fetch() warns once on stderr before any login, for SDKs that hide its error", async () => {
  await using rotator = createRotator({ store: memoryStore() });
  const texts = await warningsOf(async () => {
    for (let n = 0; n < 3; n++) {
      const ask = () => rotator.fetch("/responses", POST);
      const error = await assertRejects(ask, RotatorError);
      assertEquals(error.code, "no_accounts");
    }
  });
  assertEquals(texts.length, 1);
  assert(/add one with .*login/.test(texts[0]!), texts[0]);
});

test("rotator.fetch() warns of nothing where an account serves", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  assertEquals(await warningsOf(() => fleet.ask()), []);
});

test("createRotator() refuses an option of another name, and suggests the nearest", () => {
  const make = (options: Record<string, unknown>) => () =>
    createRotator({ store: memoryStore(), ...options } as RotatorOptions);
  const rows: [Record<string, unknown>, string][] = [
    // it would not keep anybody from spending
    [{ credit: "none" }, 'There is no option "credit" (did you mean credits?)'],
    [{ Credits: "none" }, "did you mean credits?"],
    [{ maxwait: 1 }, "did you mean maxWait?"],
    [{ onevent() {} }, "did you mean onEvent?"],
    [{ zzz: 1 }, 'There is no option "zzz"'],
    [{ credit: undefined }, "did you mean credits?"],
  ];
  for (const [options, text] of rows) {
    assertThrows(make(options), TypeError, text);
  }
  make({ credits: "none", maxWait: 1, onEvent: undefined })();
});

test("createRotator() refuses an option that is not what it must be, and takes what it may be", () => {
  const nothing = () => {};
  const store = memoryStore();
  const rows: Record<string, [wrong: unknown[], right: unknown[]]> = {
    store: [[5, {}, { read: nothing }], [
      "/x/a.json",
      new URL("file:///x"),
      store,
    ]],
    strategy: [["fastest", 1], ["drain"]],
    creditCaps: [
      // names that no account bears would cap nobody
      [5, { "*": { day: -1 } }, { all: { day: 1 } }, { "a b": { day: 1 } }],
      [{}, { "*": { day: 1 }, "a-b": { month: 0 } }],
    ],
    ledger: [[5, {}, ""], [false, nothing, "/x"]],
    preferPlans: [["pro", [1]], [[], ["pro"]]],
    affinity: [["no", 0], [false]],
    backend: [[5], ["https://chatgpt.com/backend-api"]],
    issuer: [[{}], [new URL("https://auth.openai.com")]],
    codexVersion: [[171, "new"], ["0.171.0"]],
    maxWait: [["5", -1, NaN, null], [0, Infinity]],
    maxReplayBytes: [["5", -1], [0]],
    fetch: [["x"], [fetch]],
    now: [[5], [Date.now]],
    random: [[0.5], [Math.random]],
    onEvent: [[1], [nothing]],
  };
  for (const [name, [wrong, right]] of Object.entries(rows)) {
    const make = (value: unknown) => () =>
      createRotator({ store, [name]: value } as RotatorOptions);
    for (const value of wrong) {
      const { message } = assertThrows(make(value), TypeError, `${name} is `);
      assert(message.includes("it must be"), message);
    }
    for (const value of [...right, undefined]) make(value)();
  }
});
