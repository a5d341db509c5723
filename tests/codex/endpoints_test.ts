import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  authorizeUrl,
  checkedBase,
  DEFAULT_BACKEND,
  DEFAULT_ISSUER,
  deviceUrls,
  loginRedirect,
  tokenUrl,
  usageUrls,
} from "../../lib/codex/endpoints.ts";
import { test } from "../test.ts";

test("usageUrls() knows where each deployment answers", () => {
  assertEquals(usageUrls(DEFAULT_BACKEND), [
    "https://chatgpt.com/backend-api/wham/usage",
    "https://chatgpt.com/backend-api/codex/usage",
  ]);
  assertEquals(usageUrls("http://127.0.0.1:8080"), [
    "http://127.0.0.1:8080/api/codex/usage",
    "http://127.0.0.1:8080/codex/usage",
  ]);
});

test("the issuer's URLs are where a login goes", () => {
  assertEquals(
    tokenUrl(DEFAULT_ISSUER),
    "https://auth.openai.com/oauth/token",
  );
  assertEquals(
    authorizeUrl(DEFAULT_ISSUER),
    "https://auth.openai.com/oauth/authorize",
  );
  assertEquals(loginRedirect(1455), "http://localhost:1455/auth/callback");
  assertEquals(deviceUrls("http://[::1]:9"), {
    userCode: "http://[::1]:9/api/accounts/deviceauth/usercode",
    token: "http://[::1]:9/api/accounts/deviceauth/token",
    page: "http://[::1]:9/codex/device",
    redirect: "http://[::1]:9/deviceauth/callback",
  });
});

test("checkedBase() brings a base URL into its normal form", () => {
  const table: [string | URL, string][] = [
    ["https://chatgpt.com/backend-api", "https://chatgpt.com/backend-api"],
    [
      "HTTPS://ChatGPT.com:443/backend-api//",
      "https://chatgpt.com/backend-api",
    ],
    ["https://example.com/a/../b/", "https://example.com/b"],
    ["https://example.com", "https://example.com"],
    [new URL("https://example.com/"), "https://example.com"],
    ["http://127.0.0.1:8080/", "http://127.0.0.1:8080"],
    ["http://127.9.8.7/x", "http://127.9.8.7/x"],
    ["http://localhost:1", "http://localhost:1"],
    ["http://[::1]:1/", "http://[::1]:1"],
  ];
  for (const [value, wanted] of table) {
    assertEquals(checkedBase(value, "backend"), wanted);
  }
});

test("checkedBase() refuses where tokens should not go", () => {
  const table = [
    "",
    "/backend-api",
    "chatgpt.com",
    "ftp://chatgpt.com",
    "file:///etc",
    "javascript:1",
    "http://chatgpt.com/backend-api",
    "http://128.0.0.1",
    "http://127.0.0.1.example.com",
    "http://localhost.example.com",
    "https://example.com/?a=1",
    "https://example.com/?",
    "https://example.com/#a",
    "https://example.com/#",
    "https://me:s3cret@example.com/",
    "https://s3cret@example.com/",
  ];
  for (const value of table) {
    const error = assertThrows(
      () => checkedBase(value, "issuer"),
      TypeError,
      "The issuer URL",
    );
    assert(!String(error).includes("s3cret"));
  }
});
