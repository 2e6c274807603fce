/** Where the edge listens: chosen before it does, as its replicas need its address before it listens. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/**
 * Below what Linux (32768) and others (49152) give to connections that go out: one of those could take the port before the edge has it, or while
 * an edge that died is started again.
 */
const FREE_FROM = 20_000;
const FREE_TO = 32_768;
const TRIES = 100;

/** `wanted`, or any free one for 0. Null: it is taken. */
export async function choosePort(wanted: number, host = "127.0.0.1"): Promise<number | null> {
  if (wanted !== 0) return listened(wanted, host);
  for (let left = TRIES; left > 0; left--) {
    const port = await listened(randomInt(FREE_FROM, FREE_TO), host);
    if (port !== null) return port;
  }
  // Whatever the system still has.
  return listened(0, host);
}

export function takenPort(port: number): string {
  return `Port ${port} is taken. Choose another with --port, or --port 0 for any free one.`;
}

async function listened(wanted: number, host: string): Promise<number | null> {
  const server = createServer();
  const port = await new Promise<number | null>((resolve) => {
    server.once("error", () => resolve(null));
    server.listen(wanted, host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : wanted);
    });
  });
  await new Promise((resolve) => server.close(resolve));
  return port;
}
