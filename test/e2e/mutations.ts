/** Seeded damage to a valid request body. */

/** mulberry32 */
export function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const STRANGE: readonly unknown[] = [null, true, 0, -1, 1.5, 1e308, "", "x", "\ud800", [], {}, [[]], [null], { "": "" }, { type: "text" }];

/** Every object and array inside `value`, itself included. */
function holders(value: unknown): object[] {
  if (typeof value !== "object" || value === null) return [];
  return [value, ...Object.values(value).flatMap(holders)];
}

/** One of: cut short, bits flipped, bytes replaced, fields left out, values of another type. */
export function mutated(body: Record<string, unknown>, random: (below: number) => number): Buffer {
  const kind = random(5);
  if (kind >= 3) {
    for (let times = 1 + random(2); times > 0; times--) {
      const all = holders(body).filter((holder) => Object.keys(holder).length > 0);
      const holder = all[random(all.length)] ?? body;
      const key = Object.keys(holder)[random(Object.keys(holder).length)] ?? "model";
      if (kind === 3) Reflect.deleteProperty(holder, key);
      else Reflect.set(holder, key, STRANGE[random(STRANGE.length)]);
    }
    // Arrays with holes have nulls in JSON.
    return Buffer.from(JSON.stringify(body));
  }
  const bytes = Buffer.from(JSON.stringify(body));
  if (kind === 0) return bytes.subarray(0, random(bytes.length));
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(bytes.length);
    bytes[at] = kind === 1 ? (bytes[at] ?? 0) ^ (1 << random(8)) : random(256);
  }
  return bytes;
}
