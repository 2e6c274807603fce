/**
 * Bytes of bodies that clients have begun and not ended, of all requests of an isolate. A client that brings most of 8 MiB and then nothing has minutes by its own pace;
 * without a bound as many such clients as there are sockets would hold as much memory as there is.
 */

/** Whoever brings this has done something since. A byte a second is nothing. */
const STEP_BYTES = 16_384;

interface UnfinishedBody {
  bytes: number;
  /** What it had brought when it was last put behind all others. */
  movedAtBytes: number;
  /** A part that was on its way when it gave way is not counted again. */
  ended: boolean;
  giveWay: () => void;
}

export class UnfinishedBodies {
  readonly #most: number;
  readonly #small: number;
  #bytes = 0;
  /** The one that has brought nothing for longest is the first. */
  readonly #bodies = new Set<UnfinishedBody>();

  /** `most` bytes in all; bodies of up to `small` bytes are not counted. */
  constructor(most: number, small: number) {
    this.#most = most;
    this.#small = small;
  }

  /** `giveWay`: called at most once, when others bring what there is no room for. */
  begin(giveWay: () => void): UnfinishedBody {
    return { bytes: 0, movedAtBytes: 0, ended: false, giveWay };
  }

  /** It has brought more. */
  grow(body: UnfinishedBody, bytes: number): void {
    if (body.ended) return;
    const isCounted = this.#bodies.has(body);
    body.bytes += bytes;
    if (body.bytes <= this.#small) return;
    this.#bytes += isCounted ? bytes : body.bytes;
    if (!isCounted || body.bytes - body.movedAtBytes >= STEP_BYTES) {
      this.#bodies.delete(body);
      this.#bodies.add(body);
      body.movedAtBytes = body.bytes;
    }
    for (const other of this.#bodies) {
      if (this.#bytes <= this.#most) return;
      this.end(other);
      other.giveWay();
    }
  }

  /** It is complete, or nobody reads it any more. Idempotent. */
  end(body: UnfinishedBody): void {
    body.ended = true;
    if (this.#bodies.delete(body)) this.#bytes -= body.bytes;
  }
}
