/** An answer whose headers go out before it is here (patience.ts), and what is written until it is: how a client that has left is noticed. */
import type { ApiError } from "../../src/errors.ts";
import type { Ticker } from "../ticker.ts";

/** JSON allows it before a value. */
const SPACE = new TextEncoder().encode("\n");
const SECOND_WRITE_MS = 250;

export interface Waiting {
  ticker: Ticker;
  /** Ends what is computed for the client; it may be called more than once. */
  clientLeft: () => void;
}

interface Long extends Pick<Waiting, "clientLeft"> {
  /** Nothing of it is waited for any more. */
  end: () => void;
  /** Keeps the edge running until the work is done. */
  background: (work: Promise<unknown>) => void;
}

/** From here on the client has its headers, and `writing` its body. */
export function answerLong(
  { clientLeft, end, background }: Long,
  headers: HeadersInit,
  writing: (writable: WritableStream<Uint8Array>) => Promise<void>,
): Response {
  const { readable, writable } = new IdentityTransformStream();
  // It rejects when the client has gone, and for bugs: then the body is cut, so that nobody waits for the rest.
  const written = writing(writable).catch((error: unknown) => {
    clientLeft();
    return writable.abort(error).catch(() => undefined);
  });
  background(written.finally(end));
  return new Response(readable, { headers });
}

/**
 * A whole answer that takes its time: white space goes before it. What fails now has a 200 already and cuts the body: no client takes
 * half a text for an answer, and many would take an error object for one.
 */
export async function answerLate(
  waiting: Waiting,
  answering: Promise<Response | ApiError>,
  writable: WritableStream<Uint8Array>,
): Promise<void> {
  const whole = await writeWhile(waiting, answering, writable, SPACE);
  if (whole instanceof Response && whole.status === 200 && whole.body !== null) return whole.body.pipeTo(writable);
  const why = whole instanceof Response ? `status ${whole.status}` : whole.code;
  return writable.abort(new Error(`The answer failed after its headers: ${why}.`));
}

const NOT_YET = Symbol("not yet");

/** Unless that is done already: `filler` at once, soon again, for it is the second write that fails when the client has gone, and then at every tick. */
export async function writeWhile<T>(
  { ticker, clientLeft }: Waiting,
  working: Promise<T>,
  writable: WritableStream<Uint8Array>,
  filler: Uint8Array,
): Promise<T> {
  const done = await Promise.race([working, Promise.resolve(NOT_YET)]);
  if (done !== NOT_YET) return done as T;
  const writer = writable.getWriter();
  const write = (): void => void writer.write(filler).catch(clientLeft);
  const stop = ticker.each(write);
  write();
  const again = setTimeout(write, SECOND_WRITE_MS);
  try {
    return await working;
  } finally {
    clearTimeout(again);
    stop();
    writer.releaseLock();
  }
}
