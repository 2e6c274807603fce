/** The filters that were compared. Each holds a set of 64-bit hashes, given as halves, in at most so many bits. */

export interface Filter {
  bits: number;
  has(hi: number, lo: number): boolean;
}

export interface FilterKind {
  name: string;
  /** A filter with fewer bits a hash than this halves its sample. */
  leastBits: number;
  build(hi: Int32Array, lo: Int32Array, mostBits: number): Filter;
}

const range = (word: number, size: number): number => Math.floor(((word >>> 0) * size) / 2 ** 32);
const bitsFor = (count: number, each: number, most: number, grain: number): number =>
  Math.max(grain, Math.min(Math.floor(most / grain), Math.ceil((count * each) / grain)) * grain);
const probesFor = (bits: number, count: number): number => Math.min(8, Math.max(1, Math.round((bits / Math.max(1, count)) * Math.LN2)));

const bloom = (leastBits: number): FilterKind => ({
  name: `Bloom, ${leastBits} bits or more`,
  leastBits,
  build(hi, lo, mostBits) {
    const bits = bitsFor(lo.length, 10, mostBits, 256);
    const probes = probesFor(bits, lo.length);
    const words = new Uint32Array(bits / 32);
    const bit = (at: number): number => range(at, bits);
    for (let index = 0; index < lo.length; index++) {
      const step = (hi[index] ?? 0) | 1;
      for (let probe = 0, at = lo[index] ?? 0; probe < probes; probe++, at = (at + step) | 0) {
        const place = bit(at);
        words[place >>> 5] = (words[place >>> 5] ?? 0) | (1 << (place & 31));
      }
    }
    return {
      bits,
      has(high, low) {
        for (let probe = 0, at = low; probe < probes; probe++, at = (at + (high | 1)) | 0) {
          const place = bit(at);
          if (((words[place >>> 5] ?? 0) & (1 << (place & 31))) === 0) return false;
        }
        return true;
      },
    };
  },
});

/** All probes within one block of 512 bits, a cache line. */
const blocked = (leastBits: number): FilterKind => ({
  name: `blocked Bloom, ${leastBits} bits or more`,
  leastBits,
  build(hi, lo, mostBits) {
    const bits = bitsFor(lo.length, 10, mostBits, 512);
    const probes = probesFor(bits, lo.length);
    const words = new Uint32Array(bits / 32);
    const place = (high: number, low: number, probe: number): number =>
      range(low, bits / 512) * 512 + ((Math.imul(high ^ (low << 7), 0x9e3779b1 + 2 * probe * 0x5bd1e995) >>> 23) & 511);
    for (let index = 0; index < lo.length; index++) {
      for (let probe = 0; probe < probes; probe++) {
        const at = place(hi[index] ?? 0, lo[index] ?? 0, probe);
        words[at >>> 5] = (words[at >>> 5] ?? 0) | (1 << (at & 31));
      }
    }
    return {
      bits,
      has(high, low) {
        for (let probe = 0; probe < probes; probe++) {
          const at = place(high, low, probe);
          if (((words[at >>> 5] ?? 0) & (1 << (at & 31))) === 0) return false;
        }
        return true;
      },
    };
  },
});

const SALTS = [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31];

/** One bit in each of the eight words of a 256-bit block, as Parquet has it. */
const splitBlock: FilterKind = {
  name: "split-block Bloom",
  leastBits: 8,
  build(hi, lo, mostBits) {
    const bits = bitsFor(lo.length, 10, mostBits, 256);
    const words = new Uint32Array(bits / 32);
    for (let index = 0; index < lo.length; index++) {
      const block = range(hi[index] ?? 0, bits / 256) * 8;
      for (let word = 0; word < 8; word++)
        words[block + word] = (words[block + word] ?? 0) | (1 << (Math.imul(lo[index] ?? 0, SALTS[word] ?? 1) >>> 27));
    }
    return {
      bits,
      has(high, low) {
        const block = range(high, bits / 256) * 8;
        for (let word = 0; word < 8; word++)
          if (((words[block + word] ?? 0) & (1 << (Math.imul(low, SALTS[word] ?? 1) >>> 27))) === 0) return false;
        return true;
      },
    };
  },
};

const MOST_KICKS = 500;

/** A cuckoo filter: buckets of four fingerprints, 93 % full. */
const cuckoo = (fingerprintBits: 8 | 12): FilterKind => ({
  name: `cuckoo, fingerprints of ${fingerprintBits} bits`,
  leastBits: fingerprintBits / 0.93,
  build(hi, lo, mostBits) {
    let buckets = 1;
    while (buckets * 4 * 0.93 < lo.length) buckets *= 2;
    // Partial-key hashing wants a power of two; the size told is that of the entries, as if the table could be cut to fit.
    const table = new Uint16Array(buckets * 4);
    const mask = buckets - 1;
    const printOf = (high: number): number => ((high >>> (32 - fingerprintBits)) % (2 ** fingerprintBits - 1)) + 1;
    const other = (bucket: number, print: number): number => (bucket ^ Math.imul(print, 0x5bd1e995)) & mask;
    const put = (bucket: number, print: number): boolean => {
      for (let slot = bucket * 4; slot < bucket * 4 + 4; slot++) {
        if (table[slot] !== 0) continue;
        table[slot] = print;
        return true;
      }
      return false;
    };
    for (let index = 0; index < lo.length; index++) {
      let print = printOf(hi[index] ?? 0);
      let bucket = (lo[index] ?? 0) & mask;
      if (put(bucket, print) || put(other(bucket, print), print)) continue;
      for (let kick = 0; kick < MOST_KICKS; kick++) {
        const slot = bucket * 4 + (kick & 3);
        const victim = table[slot] ?? 0;
        table[slot] = print;
        print = victim;
        bucket = other(bucket, print);
        if (put(bucket, print)) break;
      }
    }
    const holds = (bucket: number, print: number): boolean => {
      for (let slot = bucket * 4; slot < bucket * 4 + 4; slot++) if (table[slot] === print) return true;
      return false;
    };
    return {
      bits: Math.min(mostBits, Math.ceil((lo.length * fingerprintBits) / 0.93)),
      has: (high, low) => holds(low & mask, printOf(high)) || holds(other(low & mask, printOf(high)), printOf(high)),
    };
  },
});

export const FILTERS: readonly FilterKind[] = [bloom(2), bloom(4), bloom(8), blocked(4), blocked(8), splitBlock, cuckoo(8), cuckoo(12)];
