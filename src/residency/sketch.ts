/**
 * What a pool tells the edges about the prefixes it holds, in at most 64 KiB: a Bloom filter over a sample of its segment hashes. A segment is in the
 * sample when a mix of its hash begins with `level` zero bits, so the edge knows by itself which segments of a chain to ask for, and a fuller pool
 * halves its sample instead of growing. docs/decisions/0007-sketch.md has the numbers behind the choices.
 *
 * Layout, little-endian: version u8 | level u8 | probes u8 | 0 u8 | sampled segments u32 | bits, a multiple of 256.
 */

export const SKETCH_VERSION = 1;
export const MAX_SKETCH_BYTES = 65_536;

const HEADER_BYTES = 8;
/** Filters are multiples of this. */
const GRAIN_BITS = 256;
const MOST_BITS = (MAX_SKETCH_BYTES - 32) * 8;
const MOST_PROBES = 6;
const MOST_LEVEL = 24;
/** Bits a segment while the filter may grow. */
const AMPLE_BITS = 10;
/** Below this the sample is halved. So few, because a gap between sampled segments misleads a chooser more than a false positive does. */
const LEAST_BITS = 2;

/** Goes over all segments held; one that several replicas hold comes several times. */
export interface SketchSource {
  /** Signed 32-bit halves of the segment hash. */
  scanHashes(visit: (hi: number, lo: number) => void): void;
}

/** Leading zero bits of a mix of the hash: at least `level` of them puts a segment into the sample of that level. */
function rankOf(hi: number, lo: number): number {
  return Math.clz32(Math.imul(hi ^ (lo >>> 15) ^ lo, 0x9e3779b1));
}

interface Shape {
  level: number;
  bits: number;
  probes: number;
}

/** For so many segments by rank: the lowest level whose sample has at least `LEAST_BITS` a segment, and as few bits as are ample. */
function shapeFor(ranked: Float64Array): Shape {
  let level = MOST_LEVEL;
  let sampled = 0;
  for (let rank = ranked.length - 1; rank >= 0; rank--) {
    const more = sampled + (ranked[rank] ?? 0);
    if (rank <= MOST_LEVEL && more * LEAST_BITS > MOST_BITS) break;
    sampled = more;
    level = Math.min(level, rank);
  }
  const bits = Math.min(MOST_BITS, Math.max(1, Math.ceil((sampled * AMPLE_BITS) / GRAIN_BITS)) * GRAIN_BITS);
  const probes = Math.round((bits / Math.max(1, sampled)) * Math.LN2);
  return { level, bits, probes: Math.min(MOST_PROBES, Math.max(1, probes)) };
}

/** A 32-bit word → 0 … bits - 1, evenly (Lemire 2019). */
function bitOf(word: number, bits: number): number {
  return Math.floor(((word >>> 0) * bits) / 2 ** 32);
}

function fill(source: SketchSource, { level, bits, probes }: Shape): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(bits / 32);
  source.scanHashes((hi, lo) => {
    if (rankOf(hi, lo) < level) return;
    const step = hi | 1;
    for (let probe = 0, at = lo; probe < probes; probe++, at = (at + step) | 0) {
      const bit = bitOf(at, bits);
      words[bit >>> 5] = (words[bit >>> 5] ?? 0) | (1 << (bit & 31));
    }
  });
  return words;
}

function onesIn(words: Uint32Array): number {
  let ones = 0;
  for (let word of words) {
    word -= (word >>> 1) & 0x55555555;
    word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
    ones += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }
  return ones;
}

/** Distinct segments in a filter by its fill (Swamidass and Baldi 2007). */
function distinctIn(words: Uint32Array, { bits, probes }: Shape): number {
  const share = Math.min(0.999, onesIn(words) / bits);
  return (-bits / probes) * Math.log(1 - share);
}

/** At most `MAX_SKETCH_BYTES`. Two or, where many replicas hold the same, four passes over the source. */
export function buildSketch(source: SketchSource): Uint8Array {
  const ranked = new Float64Array(33);
  source.scanHashes((hi, lo) => {
    const rank = rankOf(hi, lo);
    ranked[rank] = (ranked[rank] ?? 0) + 1;
  });
  let shape = shapeFor(ranked);
  let words = fill(source, shape);
  let distinct = distinctIn(words, shape);
  const sampled = ranked.subarray(shape.level).reduce((sum, count) => sum + count, 0);
  // Held by several replicas each, they were counted too often: the sample may be finer.
  if (shape.level > 0 && distinct * 2 < sampled) {
    shape = shapeFor(ranked.map((count) => (count * distinct * 1.05) / sampled));
    words = fill(source, shape);
    distinct = distinctIn(words, shape);
  }
  return encode(shape, Math.round(distinct), words);
}

function encode({ level, probes }: Shape, segments: number, words: Uint32Array<ArrayBuffer>): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + words.byteLength);
  bytes.set([SKETCH_VERSION, level, probes]);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, segments, true);
  for (const [at, word] of words.entries()) view.setUint32(HEADER_BYTES + at * 4, word, true);
  return bytes;
}

/** What a sketch says of a chain. */
interface SketchOverlap {
  /** Leading segments up to the last sampled one that is held, before the first sampled one that is not. */
  held: number;
  /** Index of that first one which is not held; the chain's length when there is none. The truth lies between, unless a held one was a false positive. */
  missingFrom: number;
}

/** A parsed sketch. It never denies a sampled segment that the pool held when it was built; it may affirm one that it did not. */
export class Sketch {
  /** One segment in 2^level is in the sample. */
  readonly level: number;
  /** Estimate. */
  readonly segments: number;
  readonly #probes: number;
  readonly #bits: Uint8Array;

  private constructor(bytes: Uint8Array, level: number, probes: number) {
    this.level = level;
    this.segments = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
    this.#probes = probes;
    this.#bits = bytes.subarray(HEADER_BYTES);
  }

  /** Null for a version or shape that is not known here: nothing is then known of that pool. */
  static parse(bytes: Uint8Array): Sketch | null {
    const [version = 0, level = 0, probes = 0, zero = 0] = bytes;
    if (version !== SKETCH_VERSION || zero !== 0 || level > MOST_LEVEL || probes < 1 || probes > MOST_PROBES) return null;
    const bits = (bytes.byteLength - HEADER_BYTES) * 8;
    return bits < GRAIN_BITS || bits > MOST_BITS || bits % GRAIN_BITS !== 0 ? null : new Sketch(bytes, level, probes);
  }

  samples(hi: number, lo: number): boolean {
    return rankOf(hi, lo) >= this.level;
  }

  has(hi: number, lo: number): boolean {
    const step = hi | 1;
    const bits = this.#bits.byteLength * 8;
    for (let probe = 0, at = lo; probe < this.#probes; probe++, at = (at + step) | 0) {
      const bit = bitOf(at, bits);
      if (((this.#bits[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) return false;
    }
    return true;
  }

  overlap(chain: BigUint64Array): SketchOverlap {
    const halves = new Int32Array(chain.buffer, chain.byteOffset, chain.length * 2);
    let held = 0;
    for (let depth = 0; depth < chain.length; depth++) {
      const hi = halves[depth * 2 + 1] ?? 0;
      const lo = halves[depth * 2] ?? 0;
      if (!this.samples(hi, lo)) continue;
      if (!this.has(hi, lo)) return { held, missingFrom: depth };
      held = depth + 1;
    }
    return { held, missingFrom: chain.length };
  }
}
