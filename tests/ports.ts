/** Ports that nobody listens on. */
import { createServer } from "node:net";

/** Systems give ports above to whoever asks for any, and to whoever connects: those can be gone at once. */
const [LOWEST, COUNT] = [10_000, 22_000];

/** Finds a port that nobody listens on, on both loopbacks. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * COUNT);
    const found = await Promise.all(
      ["127.0.0.1", "::1"].map((host) => isFree(port, host)),
    );
    if (found.every(Boolean)) return port;
  }
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    // where there is no such loopback, nobody can take it
    server.on(
      "error",
      ({ code }: Error & { code?: string }) => resolve(code !== "EADDRINUSE"),
    );
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
