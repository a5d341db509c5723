import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  backendHeaders,
  type BackendHeadersOptions,
  headerRecord,
  readRequestBody,
  targetOf,
} from "../../lib/codex/request.ts";
import { VERSION } from "../../lib/version.ts";
import { test } from "../test.ts";

const BACKEND = "https://chatgpt.com/backend-api";
const IDENTITY = { access: "tok", accountId: "acc", fedramp: false };

function headersOf(
  caller: Record<string, string>,
  options: Partial<BackendHeadersOptions> = {},
): Record<string, string> {
  return backendHeaders(headerRecord(caller), IDENTITY, {
    accept: "text/event-stream",
    ...options,
  });
}

test("targetOf() leaves URLs under the backend as they are", () => {
  const table = [
    `${BACKEND}/codex/responses`,
    `${BACKEND}/codex/responses?a=1&b=%2e%2e`,
    `${BACKEND}/wham/usage`,
    `${BACKEND}/`,
    BACKEND,
    `${BACKEND}?x=1`,
    `${BACKEND}/codex/models/gpt-5.1`,
  ];
  for (const url of table) assertEquals(targetOf(url, BACKEND), url);
});

test("targetOf() resolves before it compares", () => {
  const table: [string, string][] = [
    [`${BACKEND}/a/../codex/responses`, `${BACKEND}/codex/responses`],
    [`${BACKEND}/a/%2e%2E/codex`, `${BACKEND}/codex`],
    ["https://chatgpt.com/x/../backend-api/codex", `${BACKEND}/codex`],
    ["HTTPS://ChatGPT.com:443/backend-api/codex", `${BACKEND}/codex`],
    ["https:\\\\chatgpt.com\\backend-api\\codex", `${BACKEND}/codex`],
    [`${BACKEND}/codex#part`, `${BACKEND}/codex`],
  ];
  for (const [input, wanted] of table) {
    assertEquals(targetOf(input, BACKEND), wanted);
  }
});

test("targetOf() knows the short forms", () => {
  for (const path of ["/responses", "/responses/compact", "/models"]) {
    const wanted = `${BACKEND}/codex${path}`;
    assertEquals(targetOf(path, BACKEND), wanted);
    assertEquals(targetOf(`/v1${path}?q=a%20b`, BACKEND), `${wanted}?q=a%20b`);
    assertEquals(
      targetOf(`https://api.openai.com/v1${path}?q=1`, BACKEND),
      `${wanted}?q=1`,
    );
  }
  assertEquals(
    targetOf("/v1/responses", "http://127.0.0.1:9"),
    "http://127.0.0.1:9/codex/responses",
  );
});

test("targetOf() does not take what belongs to others", () => {
  const table = [
    "https://chatgpt.com/backend-apix/codex",
    "https://chatgpt.com/backend-api-x",
    "https://chatgpt.com/backend-api/../x",
    "https://chatgpt.com/backend-api/..",
    "https://chatgpt.com/backend-api/%2e%2e/x",
    "https://chatgpt.com/backend-api/.%2e/x",
    "https://chatgpt.com/backend-api/..\\x",
    "https://chatgpt.com/backend-api/\t../../x",
    "https://chatgpt.com/backend-api/a/..%2f..%2fx",
    "https://chatgpt.com/backend-api/%2e%2e%2fx",
    "https://chatgpt.com/backend-api/..%5cx",
    "https://chatgpt.com/backend-api/%252e%252e/x",
    "https://chatgpt.com/backend-api/%25252e%25252e%252fx",
    "https://chatgpt.com/BACKEND-API/codex",
    "https://chatgpt.com.evil.com/backend-api/codex",
    "https://chatgpt.com@evil.com/backend-api/codex",
    "https://me@chatgpt.com/backend-api/codex",
    "https://evil.com/https://chatgpt.com/backend-api/codex",
    "https://chatgpt.com:444/backend-api/codex",
    "http://chatgpt.com/backend-api/codex",
    "https://chatgpt.com/",
    "//chatgpt.com/backend-api/codex",
    "//evil.com/responses",
    "/\\evil.com/responses",
    "/\t/evil.com/responses",
    "/chat/completions",
    "/responses/resp_1",
    "/responsesx",
    "/v2/responses",
    "/v1/v1/responses",
    "/x/../../y",
    "responses",
    "https://api.openai.com/responses",
    "https://api.openai.com/v1/chat/completions",
    "https://api.openai.com/v1/../responses",
    "http://api.openai.com/v1/responses",
    "https://api.openai.com:8443/v1/responses",
    "https://me:pw@api.openai.com/v1/responses",
    "http://relative.invalid/responses",
    "data:text/plain,hi",
    "",
  ];
  for (const input of table) {
    assertStrictEquals(targetOf(input, BACKEND), undefined, input);
  }
});

test("targetOf() never leaves the backend", () => {
  const part = fc.constantFrom(
    "/",
    "\\",
    "..",
    ".",
    "%2e",
    "%2f",
    "%5C",
    "%25",
    "backend-api",
    "codex",
    "responses",
    "v1",
    "x",
    "@",
    ":",
    "?",
    "#",
    "\t",
  );
  const start = fc.constantFrom(
    "/",
    BACKEND,
    "https://chatgpt.com",
    "https://api.openai.com/v1",
  );
  const input = fc.tuple(start, fc.array(part)).map(([first, rest]) =>
    first + rest.join("")
  );
  fc.assert(
    fc.property(input, (input) => {
      const target = targetOf(input, BACKEND);
      if (target === undefined) return;
      const url = new URL(target);
      assertEquals(url.origin, "https://chatgpt.com");
      assertEquals(url.username + url.password, "");
      let decoded = url.pathname;
      while (decoded.includes("%25")) decoded = decoded.replaceAll("%25", "%");
      decoded = decoded.replaceAll(/%2e/gi, ".").replaceAll(/%2f|%5c/gi, "/");
      assert(/^\/backend-api(\/|$)/.test(decoded), target);
      assert(!decoded.split(/[\\/]/).includes(".."), target);
    }),
    { numRuns: 2000 },
  );
});

test("backendHeaders() says who asks", () => {
  assertEquals(headersOf({ Authorization: "Bearer unused" }), {
    "accept": "text/event-stream",
    "authorization": "Bearer tok",
    "chatgpt-account-id": "acc",
    "originator": "codex_rotator",
    "user-agent": `codex-rotator/${VERSION}`,
  });
});

test("backendHeaders() drops what must not go to the backend and keeps the rest", () => {
  const kept = {
    "content-type": "application/json",
    "content-encoding": "zstd",
    "session-id": "s",
    "x-stainless-lang": "js",
    "openai-beta": "responses=v1",
  };
  const headers = headersOf({
    ...kept,
    "X-Api-Key": "k",
    "OpenAI-Organization": "o",
    "OpenAI-Project": "p",
    "Cookie": "c",
    "Host": "evil.com",
    "Content-Length": "5",
    "Connection": "close",
    "X-OpenAI-Fedramp": "true",
    "X-OpenAI-Account-Routing-Override": "us",
    "X-OpenAI-Internal-Codex-Residency": "us",
    "x-codex-turn-state": "t",
    "chatgpt-account-id": "someone-else",
  });
  assertEquals(headers, { ...headersOf({}), ...kept });
});

test("backendHeaders() replaces what runtimes and SDKs call themselves", () => {
  const own = `codex-rotator/${VERSION}`;
  const table: [string, string][] = [
    ["Deno/2.9.6", own],
    ["Bun/1.4.5", own],
    ["node", own],
    ["node-fetch/1.0", own],
    ["undici", own],
    ["OpenAI/JS 6.1.0", own],
    ["OpenAI/Python 2.0", own],
    ["AsyncOpenAI/Python 2.0", own],
    ["ai-sdk/openai/2.0 runtime/node", own],
    ["ai/5.0.0", own],
    ["python-requests/2.32", own],
    ["python-httpx/0.28", own],
    ["axios/1.7", own],
    ["got (https://example.com)", own],
    ["Agents/JavaScript 0.20.0", own],
    ["langchainjs-openai/1.0.0", own],
    ["", own],
    ["agents/1.0", "agents/1.0"],
    ["my-agent/1.0", "my-agent/1.0"],
    ["nodemon-bot/1.0", "nodemon-bot/1.0"],
    ["my-agent OpenAI/JS 6", "my-agent OpenAI/JS 6"],
    ["aider/1", "aider/1"],
  ];
  for (const [agent, wanted] of table) {
    assertEquals(headersOf({ "user-agent": agent })["user-agent"], wanted);
  }
});

test("backendHeaders() names a client version where the caller names none", () => {
  const codexVersion = "0.171.0";
  assertEquals(headersOf({}, { codexVersion }).version, "0.171.0");
  assertEquals(
    headersOf({ Version: "0.180.1" }, { codexVersion }).version,
    "0.180.1",
  );
  assertEquals(headersOf({}).version, undefined);
});

test("backendHeaders() keeps the caller's own originator", () => {
  assertEquals(headersOf({ originator: "mine" }).originator, "mine");
});

test("backendHeaders() sets Accept where the caller has no wish of its own", () => {
  const table: [string, string, string][] = [
    ["", "text/event-stream", "text/event-stream"],
    ["*/*", "text/event-stream", "text/event-stream"],
    ["application/json", "text/event-stream", "text/event-stream"],
    [
      "application/json, text/plain, */*",
      "text/event-stream",
      "text/event-stream",
    ],
    ["text/html", "text/event-stream", "text/html"],
    ["*/*", "application/json", "application/json"],
    ["application/json", "*/*", "application/json"],
  ];
  for (const [given, accept, wanted] of table) {
    assertEquals(headersOf({ accept: given }, { accept }).accept, wanted);
  }
});

test("backendHeaders() keeps the turn state only where it belongs", () => {
  const given = { "x-codex-turn-state": "t" };
  assertEquals(headersOf(given)["x-codex-turn-state"], undefined);
  const kept = headersOf(given, { keepTurnState: true });
  assertEquals(kept["x-codex-turn-state"], "t");
});

test("backendHeaders() takes headers in every form and leaves them alone", () => {
  const options = { accept: "a/b" };
  const given = new Headers({ authorization: "Bearer mine", "x-a": "1" });
  const identity = { access: "t", accountId: undefined, fedramp: true };
  const forms = [given, { "x-a": "1" }, [["x-a", "1"]] as [string, string][]];
  for (const caller of forms) {
    const headers = backendHeaders(headerRecord(caller), identity, options);
    assertEquals(headers["x-a"], "1");
    assertEquals(headers["x-openai-fedramp"], "true");
    assertEquals(headers["chatgpt-account-id"], undefined);
  }
  assertEquals(given.get("authorization"), "Bearer mine");
  const none = backendHeaders({}, identity, options);
  assertEquals(none["x-a"], undefined);
});

test("backendHeaders() does not show a token that it cannot send", () => {
  const options = { accept: "a/b" };
  const identity = { access: "s3cret\nx", accountId: "a", fedramp: false };
  const error = assertThrows(
    () => backendHeaders({}, identity, options),
    TypeError,
    "sign in again",
  );
  assert(!String(error).includes("s3cret"));
});

test("readRequestBody() reads JSON objects and nothing else", () => {
  const text = '{"model":"gpt-5","input":[]}';
  const wanted = { model: "gpt-5", json: { model: "gpt-5", input: [] } };
  const bytes = new TextEncoder().encode(text);
  assertEquals(readRequestBody(text), wanted);
  assertEquals(
    readRequestBody(bytes, "application/json; charset=utf-8"),
    wanted,
  );
  assertEquals(readRequestBody(text, "Application/JSON"), wanted);
  assertEquals(readRequestBody('{"model":5}'), { json: { model: 5 } });
  assertEquals(readRequestBody(text, "text/plain"), {});
  for (
    const body of [undefined, "", "[1]", "null", "{", new Uint8Array([255])]
  ) {
    assertEquals(readRequestBody(body, "application/json"), {});
  }
});
