/**
 * The far end of the loopback measurements, as fast as can be: prints its URL
 * and answers every POST with the same bytes, made beforehand. The header
 * `x-answer` says with which ones.
 *
 * @module
 */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { print } from "./measure.ts";
import { answerHeaders, STREAM, wire } from "./traffic.ts";

/** How long a long stream is, bytes; it ends with the first whole part after that. */
const LONG = 100_000_000;

/** A stream in parts, each written at once. */
interface Answer {
  first: string;
  part: Uint8Array;
  times: number;
}

const PREAMBLE = wire([{ type: "response.created" }]);
const CONTENT = wire([{ type: "response.output_item.added" }]);

function delta(length: number): string {
  const event = {
    type: "response.output_text.delta",
    item_id: "msg_1",
    delta: "x".repeat(length),
  };
  return wire([event]);
}

function long(part: string): Answer {
  const bytes = new TextEncoder().encode(part);
  return {
    first: PREAMBLE + CONTENT,
    part: bytes,
    times: Math.ceil(LONG / bytes.length),
  };
}

const ANSWERS: Readonly<Record<string, Answer>> = {
  short: { first: STREAM, part: new Uint8Array(0), times: 0 },
  /** Events of 64 KiB. */
  large: long(delta(64 * 1024)),
  /** Events of about 200 bytes, 80 in a part. */
  small: long(delta(86).repeat(80)),
};
const HEADERS = answerHeaders();

async function send(response: ServerResponse, answer: Answer): Promise<void> {
  response.writeHead(200, HEADERS.flat());
  response.write(answer.first);
  for (let n = 0; n < answer.times && !response.destroyed; n++) {
    if (!response.write(answer.part)) await once(response, "drain");
  }
  response.end();
}

const server = createServer((request, response) => {
  request.resume().on("end", () => {
    const name = String(request.headers["x-answer"] ?? "short");
    send(response, ANSWERS[name]!).catch(() => response.destroy());
  });
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  print(`http://127.0.0.1:${port}/backend-api`);
});
// whoever started it closes this when done
process.stdin.resume().on("end", () => process.exit());
