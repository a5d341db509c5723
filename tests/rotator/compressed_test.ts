/** Bodies that the caller has compressed are read, and sent as they are. */
import * as zlib from "node:zlib";
import { assertEquals } from "@std/assert";
import { type Fleet, requestBody, startKnown } from "../fleet.ts";
import { test } from "../test.ts";

const USER = { role: "user", content: "Hello" };
const SPARK = "gpt-5.3-codex-spark";
const ENCODERS: Record<string, (text: string) => Uint8Array> = {
  gzip: zlib.gzipSync,
  deflate: zlib.deflateSync,
  br: zlib.brotliCompressSync,
  zstd: zlib.zstdCompressSync,
};

/** Sends a body as its encoding has it. */
async function post(
  { rotator }: Fleet,
  body: unknown,
  [encoding, encode]: [string, (text: string) => Uint8Array],
): Promise<{ status: number; alias: string | undefined; bytes: Uint8Array }> {
  const bytes = new Uint8Array(encode(JSON.stringify(body)));
  const response = await rotator.fetch("/responses", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "content-encoding": encoding,
    },
    body: bytes,
  });
  const { status } = response;
  await response.body?.cancel();
  return { status, alias: rotator.accountOf(response), bytes };
}

function attempts({ fake }: Fleet) {
  return fake.log.filter(({ kind }) => kind === "responses");
}

for (const encoder of Object.entries(ENCODERS)) {
  const [encoding] = encoder;

  test(`rotator.fetch() reads model and session of a ${encoding} body, and sends its bytes`, async () => {
    await using fleet = await startKnown({
      accounts: { alice: {}, bob: {}, carol: { plan: "pro" } },
      preferPlans: [],
    });
    const body = requestBody({ model: SPARK, prompt_cache_key: "one" });
    const { alias, bytes } = await post(fleet, body, encoder);
    assertEquals(alias, "carol", "only Pro has the model");
    const [entry] = attempts(fleet);
    assertEquals(entry?.body, bytes);
    assertEquals(entry?.headers["content-encoding"], encoding);
    const talk = requestBody({ prompt_cache_key: "two" });
    const first = await post(fleet, talk, encoder);
    for (let n = 0; n < 3; n++) {
      assertEquals((await post(fleet, talk, encoder)).alias, first.alias);
    }
  });

  test(`rotator.fetch() adapts and heals a ${encoding} body, which then is plain JSON`, async () => {
    await using fleet = await startKnown({ accounts: { alice: {} } });
    await post(fleet, { model: "gpt-5.5", input: "Hello", top_p: 1 }, encoder);
    const foreign = { type: "reasoning", encrypted_content: "enc:bob:1" };
    const talk = requestBody({ input: [USER, foreign] });
    const { status, bytes } = await post(fleet, talk, encoder);
    assertEquals(status, 200);
    const [adapted, whole, healed, ...more] = attempts(fleet);
    assertEquals([adapted?.status, more], [200, []]);
    assertEquals(whole?.body, bytes);
    assertEquals(healed?.json, requestBody({ input: [USER] }));
    for (const { headers } of [adapted!, healed!]) {
      assertEquals(
        [headers["content-encoding"], headers["content-type"]],
        [undefined, "application/json"],
      );
    }
  });
}

test("rotator.fetch() sends a body that is not what it claims to be as it came", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  const plain = (text: string) => new TextEncoder().encode(text);
  for (const encoding of [...Object.keys(ENCODERS), "gzip, br", "unheard-of"]) {
    const { bytes } = await post(fleet, { input: "x" }, [encoding, plain]);
    const entry = attempts(fleet).at(-1);
    assertEquals([encoding, entry?.body], [encoding, bytes]);
    assertEquals(entry?.headers["content-encoding"], encoding);
  }
});

test("rotator.fetch() makes no more than 128 MiB of a compressed body", async () => {
  await using fleet = await startKnown({
    accounts: { alice: {}, bob: { plan: "pro" } },
    preferPlans: [],
  });
  const spark = JSON.stringify(requestBody({ model: SPARK }));
  const bomb = zlib.gzipSync(spark + " ".repeat(129 * 1024 * 1024));
  const { alias } = await post(fleet, {}, ["gzip", () => bomb]);
  assertEquals(alias, "alice", "its model is not known");
});
