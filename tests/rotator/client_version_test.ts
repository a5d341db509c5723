/** The version of the Codex client: newer models and the list of models want one. */
import { assertEquals, assertThrows } from "@std/assert";
import { createRotator, memoryStore } from "../../mod.ts";
import { type Fleet, rowOf, startKnown } from "../fleet.ts";
import { test } from "../test.ts";

const NEW = "gpt-6-sol";

function ask(fleet: Fleet, version?: string, by = fleet.rotator) {
  const headers = { "content-type": "application/json" };
  return fleet.ask(
    { model: NEW },
    { headers: version === undefined ? headers : { ...headers, version } },
    by,
  );
}

test("rotator.fetch() speaks for a client that is new enough for today's models", async () => {
  await using fleet = await startKnown({ accounts: { alice: {} } });
  assertEquals((await ask(fleet)).status, 200);
  assertEquals((await ask(fleet, "0.180.0")).status, 200);
  assertEquals(
    fleet.fake.log.map(({ headers }) => headers.version),
    ["0.171.0", "0.180.0"],
  );
  await using old = createRotator({
    store: fleet.store,
    backend: fleet.fake.backend,
    issuer: fleet.fake.issuer,
    now: () => fleet.clock.now,
    codexVersion: "0.154.0",
  });
  assertEquals((await ask(fleet, undefined, old)).status, 400);
  assertEquals(fleet.fake.log.at(-1)?.headers.version, "0.154.0");
});

test("rotator.fetch() holds the version of a client against no account", async () => {
  await using fleet = await startKnown({ accounts: { alice: {}, bob: {} } });
  const { status, text } = await ask(fleet, "0.154.0");
  assertEquals([status, /requires a newer version/.test(text)], [400, true]);
  assertEquals(fleet.fake.log.length, 1, "all accounts would say the same");
  for (const name of ["alice", "bob"]) {
    assertEquals((await rowOf(fleet, name, NEW))[0], "included");
  }
  assertEquals((await ask(fleet, "0.155.0")).status, 200);
});

test("createRotator() refuses a client version that is none", () => {
  const make = (codexVersion: string) =>
    createRotator({ store: memoryStore(), codexVersion });
  for (const version of ["", "latest", "171", "0.171.0\nx: y"]) {
    assertThrows(() => make(version), TypeError, "codexVersion");
  }
  make("0.172.0-alpha.1");
});

const MODELS = ["gpt-6-astra", "gpt-5.5"];
const LISTED = { object: "model", created: 0, owned_by: "openai" };

test("rotator.fetch() lists models in OpenAI's shape for a caller who names no client version", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { supportedModels: MODELS } },
  });
  for (
    const input of [
      "/v1/models",
      "https://api.openai.com/v1/models",
      `${fleet.rotator.baseURL}/models?limit=5`,
      `${fleet.rotator.baseURL}/models?client_version=`,
    ]
  ) {
    const response = await fleet.rotator.fetch(input);
    assertEquals(response.headers.get("content-type"), "application/json");
    assertEquals(await response.json(), {
      object: "list",
      data: MODELS.map((id) => ({ id, ...LISTED })),
    });
    assertEquals(fleet.rotator.accountOf(response), "alice");
    const { searchParams } = new URL(fleet.fake.log.at(-1)!.path, "http://x");
    assertEquals(searchParams.getAll("client_version"), ["0.171.0"]);
  }
  const headers = { version: "0.150.0" };
  const older = await fleet.rotator.fetch("/models", { headers });
  assertEquals(
    (await older.json()).data.map(({ id }: { id: string }) => id),
    ["gpt-5.5"],
    "what the caller's own version may use",
  );
});

test("rotator.fetch() lists models as the backend does for a caller who names a client version", async () => {
  await using fleet = await startKnown({
    accounts: { alice: { supportedModels: MODELS } },
  });
  const path = "/models?client_version=0.160.0";
  const response = await fleet.rotator.fetch(path);
  const { models } = await response.json();
  assertEquals(models.map(({ slug }: { slug: string }) => slug), MODELS);
  assertEquals(response.headers.has("etag"), true);
});

test("rotator.fetch() returns what is no list of models as it came", async () => {
  const rows = [
    { status: 404, body: { detail: "Not Found" } },
    { status: 200, body: { other: true } },
  ];
  for (const { status, body } of rows) {
    await using fleet = await startKnown({
      accounts: { alice: { queue: [{ status, body }] } },
    });
    const response = await fleet.rotator.fetch("/models");
    assertEquals([response.status, await response.json()], [status, body]);
  }
});
