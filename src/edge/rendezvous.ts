/** Who of several is responsible for a key, agreed on by all edges without asking anyone: rendezvous hashing (Thaler and Ravishankar 1998). */

/** About a system prompt: prompts that differ only behind this have the same home. */
export const HEAD_BYTES = 2_048;

export interface WeightedName {
  name: string;
  /** Above 0. */
  weight: number;
}

/** 32 bits of a 64-bit key and a name, mixed well: FNV-1a, then MurmurHash3's finalizer. */
function mixed(key: bigint, name: string): number {
  let hash = Number(key & 0xffffffffn) ^ Math.imul(Number((key >> 32n) & 0xffffffffn), 0x85ebca6b);
  for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * The names in the order in which they are to serve `key`: each comes first for its share of the weights. A name that is added, taken out or given
 * another weight moves only the keys that it wins or loses. Weight 0 comes last.
 */
export function rendezvous(key: bigint, names: readonly WeightedName[]): string[] {
  const scored = names.map(({ name, weight }) => {
    // Logarithm of a uniform number in (0, 1): the least of exponential waits is each one's with its share of the rates.
    const wait = -Math.log((mixed(key, name) + 0.5) / 2 ** 32);
    return { name, wait: weight > 0 ? wait / weight : Infinity };
  });
  return scored.toSorted((a, b) => (a.wait === b.wait ? a.name.localeCompare(b.name) : a.wait - b.wait)).map(({ name }) => name);
}

/** The segment hash that stands for a prompt's head: of the last segment within its first 2 KiB; 0 for a prompt without one. */
export function headOf(hashes: BigUint64Array, ends: Uint32Array): bigint {
  let head = 0n;
  for (let depth = 0; depth < ends.length && (ends[depth] ?? Infinity) <= HEAD_BYTES; depth++) head = hashes[depth] ?? head;
  return head === 0n ? (hashes[0] ?? 0n) : head;
}
