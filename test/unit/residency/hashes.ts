/** `count` hashes that look like xxh64's, the same for the same seed (splitmix64). */
export function hashes(count: number, seed: number): BigUint64Array {
  const mask = 0xffffffffffffffffn;
  let state = BigInt(seed) * 0x632be59bd9b4e019n;
  return BigUint64Array.from({ length: count }, () => {
    state = (state + 0x9e3779b97f4a7c15n) & mask;
    let mixed = ((state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & mask;
    return mixed ^ (mixed >> 31n);
  });
}
