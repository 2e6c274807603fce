/**
 * Random numbers in [0, 1) made from one that was drawn: that one first, then those of mulberry32 (Tommy Ettinger, public domain). A record keeps the one
 * draw, so that a policy which draws several times decides the same again.
 */
export function drawsFrom(draw: number): () => number {
  let state = Math.floor(draw * 2 ** 32);
  let next = draw;
  return () => {
    const drawn = next;
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    next = ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    return drawn;
  };
}
