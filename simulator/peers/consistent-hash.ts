/**
 * Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016): the key's place on a ring of replicas, onwards past every
 * replica with more than 1.25 times the mean load.
 *
 * Key: the session, else the first k segments of the prompt (fewer: all of them; none: at random). k = 2: with one, all of Mooncake's
 * requests would share a key, since they share their first 512 tokens. The bound counts the request that is placed, as SMG's `prefix_hash`
 * does (model_gateway/src/policies/prefix_hash.rs: 1.25, first 256 tokens, (total + 1) / replicas); where SMG jumps to the least loaded,
 * this walks the ring, as the method says. Load is requests in flight. Keeps: the ring. Ties: none.
 */
import { type PeerPolicy, type ReplicaSight, type RoutedRequest, inFlightRequests } from "../policy.ts";
import { drawBelow } from "./pick.ts";

const LOAD_FACTOR = 1.25;
const KEY_SEGMENTS = 2;
/** Points of a replica on the ring: shares within about 8 % of even. */
const POINTS = 160;

/** Points in rising order; `owner`: index into the replicas' names. */
interface Ring {
  names: readonly string[];
  points: readonly { at: number; owner: number }[];
}

export function consistentHash(): PeerPolicy {
  let ring: Ring = { names: [], points: [] };
  return {
    name: "consistent-hash",
    choose(request, sights, draw) {
      if (sights.length === 0) throw new RangeError("no replica to choose from");
      const key = keyOf(request);
      if (key === null) return drawBelow(sights.length, draw);
      if (!isRingOf(ring, sights)) ring = ringOf(sights);
      const loads = sights.map(inFlightRequests);
      const bound = (LOAD_FACTOR * (loads.reduce((sum, load) => sum + load, 0) + 1)) / sights.length;
      return walk(ring, key, (owner) => (loads[owner] ?? 0) <= bound);
    },
  };
}

/** 32 bits; null: nothing to go by. */
function keyOf(request: RoutedRequest): number | null {
  if (request.session !== null) return hashText(request.session);
  const hash = request.chain[Math.min(KEY_SEGMENTS, request.chain.length) - 1];
  return hash === undefined ? null : mix(Number(hash & 0xffffffffn) ^ Number(hash >> 32n));
}

/** The least loaded is never above the bound, so that one turn always finds somebody. */
function walk(ring: Ring, key: number, accepts: (owner: number) => boolean): number {
  const { points } = ring;
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((points[middle]?.at ?? 0) < key) low = middle + 1;
    else high = middle;
  }
  for (let step = 0; step < points.length; step += 1) {
    const owner = points[(low + step) % points.length]?.owner ?? 0;
    if (accepts(owner)) return owner;
  }
  return 0;
}

function isRingOf(ring: Ring, sights: readonly ReplicaSight[]): boolean {
  return ring.names.length === sights.length && sights.every((sight, index) => sight.name === ring.names[index]);
}

function ringOf(sights: readonly ReplicaSight[]): Ring {
  const points = sights.flatMap((sight, owner) =>
    Array.from({ length: POINTS }, (_, n) => ({ at: hashText(`${sight.name}#${n}`), owner })),
  );
  points.sort((a, b) => a.at - b.at || a.owner - b.owner);
  return { names: sights.map((sight) => sight.name), points };
}

/** FNV-1a over UTF-16 units, mixed: 32 bits, even enough for a ring. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

/** The last steps of MurmurHash3: every bit of the input moves every bit of the output. */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
