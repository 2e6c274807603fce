/**
 * An answer behind which bare workerd closes the connection. workerd drops `connection: close` from a Worker's answer and keeps the
 * connection of a client that stays for 15 s; a body that breaks off is what ends it sooner.
 */
import { CONNECTION_ENDS } from "../src/wire/connection-ends.ts";

const LINGER_MS = 1_000;

/** Status, headers and body arrive whole; only the mark of the body's end is missing. */
export function lastOfConnection(answer: Response, background: (work: Promise<unknown>) => void): Response {
  const { readable, writable } = new IdentityTransformStream();
  background(sent(answer, writable));
  return new Response(readable, { status: answer.status, headers: answer.headers });
}

async function sent(answer: Response, writable: WritableStream<Uint8Array>): Promise<void> {
  try {
    await answer.body?.pipeTo(writable, { preventClose: true });
    // Nothing tells when the bytes have gone to the socket: with 300 of them at once 20 ms were too few, 200 ms enough.
    await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
    await writable.abort(new Error(CONNECTION_ENDS));
  } catch {
    // The client has left already.
  }
}
