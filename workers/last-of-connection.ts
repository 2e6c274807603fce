/**
 * An answer behind which bare workerd closes the connection. workerd drops `connection: close` from a Worker's answer and keeps the
 * connection of a client that stays for 15 s; a body that breaks off is what ends it sooner.
 */
import { CONNECTION_ENDS } from "../src/wire/connection-ends.ts";

const LINGER_MS = 1_000;
/** A timer this late shows that the loop was busy with others, and maybe has not written yet. */
const LATE_MS = 100;
const MOST_LINGERS = 4;

/** Status, headers and body arrive whole; only the mark of the body's end is missing. */
export function lastOfConnection(answer: Response, background: (work: Promise<unknown>) => void): Response {
  const { readable, writable } = new IdentityTransformStream();
  background(sent(answer, writable));
  return new Response(readable, { status: answer.status, headers: answer.headers });
}

async function sent(answer: Response, writable: WritableStream<Uint8Array>): Promise<void> {
  try {
    await answer.body?.pipeTo(writable, { preventClose: true });
    await lingered();
    await writable.abort(new Error(CONNECTION_ENDS));
  } catch {
    // The client has left already.
  }
}

/** Nothing tells when the bytes have gone to the socket: with 300 answers at once 20 ms were too few, 200 ms enough. */
async function lingered(): Promise<void> {
  for (let turn = 0; turn < MOST_LINGERS; turn++) {
    const dueMs = Date.now() + LINGER_MS;
    await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
    if (Date.now() - dueMs < LATE_MS) return;
  }
}
