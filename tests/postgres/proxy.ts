import { Buffer } from "node:buffer";
import { connect, createServer, type Socket } from "node:net";

/** A network between a store and its server that can fail. */
export interface Proxy extends AsyncDisposable {
  /** A URL that leads through it. */
  through(url: string): string;
  /** Passes nothing on any more, and tells nobody. */
  cut(): void;
  /** Passes on what is connected from now on. */
  heal(): void;
  /** Ends the connection that sends such a text, before it passes it on or before the answer, and lets nobody in until it heals. */
  endAt(text: string, when: "before" | "answer"): Promise<void>;
  /** Holds back what a connection sends from such a text on, also when that has gone; gives what passes it on at last. */
  holdFrom(text: string): Promise<() => void>;
  /** Puts an error in the place of the next answer to `begin`; all else passes. */
  refuseBegin(severity: "ERROR" | "FATAL", sqlState: string): void;
  /** How many connections there were at most. */
  readonly most: number;
  /** How many bytes the server was sent by the connection of this number, from 0. */
  sentBy(connection: number): number;
}

/** How a server answers `begin`. */
const BEGUN = Buffer.from("C\0\0\0\nBEGIN\0");

/** How it refuses a statement. */
function refusalOf(severity: string, sqlState: string): Buffer {
  const fields = [`S${severity}`, `V${severity}`, `C${sqlState}`, "Mno", ""];
  const text = Buffer.from(fields.map((it) => `${it}\0`).join(""));
  const head = Buffer.from("E\0\0\0\0");
  head.writeInt32BE(text.length + 4, 1);
  return Buffer.concat([head, text]);
}

/** Both sides of a connection. */
interface Pair {
  readonly sides: readonly [Socket, Socket];
  /** Nothing comes through any more. */
  isDead: boolean;
  /** What is held back. */
  held?: Uint8Array[];
}

/** Starts a proxy in front of a port. */
export async function startProxy(port: number): Promise<Proxy> {
  const pairs = new Set<Pair>();
  const sent: number[] = [];
  let [isCut, isClosed, most] = [false, false, 0];
  let trap: { text: string; when: string; onEnd: () => void } | undefined;
  let refusal: Buffer | undefined;
  let hold: { text: string; onHeld: (pass: () => void) => void } | undefined;
  const server = createServer((client) => {
    if (isClosed) return client.destroy();
    const number = sent.push(0) - 1;
    const upstream = connect(port, "127.0.0.1");
    const pair: Pair = { sides: [client, upstream], isDead: isCut };
    pairs.add(pair);
    most = Math.max(most, pairs.size);
    const end = () => {
      // who is cut off hears nothing
      if (pair.isDead || pair.held) return;
      pairs.delete(pair);
      pair.sides.forEach((it) => it.destroy());
    };
    client.on("data", (chunk) => {
      sent[number]! += chunk.length;
      if (trap && chunk.includes(trap.text)) {
        const { when, onEnd } = trap;
        [isClosed, trap] = [true, undefined];
        // what comes back is not passed on
        const close = () => {
          end();
          onEnd();
        };
        if (when === "before") return close();
        upstream.removeAllListeners("data").once("data", close);
      }
      if (hold && chunk.includes(hold.text)) {
        const held: Uint8Array[] = pair.held = [];
        hold.onHeld(() => held.forEach((it) => upstream.write(it)));
        hold = undefined;
      }
      if (pair.held) pair.held.push(chunk);
      else if (!pair.isDead) upstream.write(chunk);
    });
    upstream.on("data", (chunk: Buffer) => {
      if (pair.isDead) return;
      const begun = refusal ? chunk.indexOf(BEGUN) : -1;
      if (begun < 0) return client.write(chunk);
      const rest = chunk.subarray(begun + BEGUN.length);
      client.write(Buffer.concat([chunk.subarray(0, begun), refusal!, rest]));
      refusal = undefined;
    });
    for (const side of pair.sides) side.on("error", end).on("close", end);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as { port: number };
  return {
    through: (url) => url.replace(`:${port}/`, `:${own}/`),
    get most() {
      return most;
    },
    sentBy: (connection) => sent[connection] ?? 0,
    cut() {
      isCut = true;
      for (const pair of pairs) pair.isDead = true;
    },
    heal() {
      isCut = isClosed = false;
    },
    holdFrom: (text) =>
      new Promise((resolve) => {
        hold = { text, onHeld: resolve };
      }),
    refuseBegin: (severity, sqlState) =>
      refusal = refusalOf(severity, sqlState),
    endAt: (text, when) =>
      new Promise((resolve) => {
        trap = { text, when, onEnd: resolve };
      }),
    async [Symbol.asyncDispose]() {
      for (const { sides } of pairs) sides.forEach((it) => it.destroy());
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
