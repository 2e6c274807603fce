/** A small deterministic generator (sfc32), the same numbers on every machine: integer arithmetic only. */
export class SeededRandom {
  #a: number;
  #b = 0x9e3779b9 | 0;
  #c = 0x243f6a88;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed | 0;
    for (let i = 0; i < 16; i++) this.next();
  }

  /** In [0, 1). */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + sum) | 0;
    return (sum >>> 0) / 4_294_967_296;
  }

  /** Roughly normal numbers of mean 0: the sum of four uniform ones, because sin and log may differ between engines. */
  normals(count: number, deviation: number): Float32Array {
    const values = new Float32Array(count);
    const scale = deviation * Math.sqrt(3);
    for (let i = 0; i < count; i++) values[i] = (this.next() + this.next() + this.next() + this.next() - 2) * scale;
    return values;
  }

  /** One of the list. Throws on an empty list. */
  pick<T>(list: readonly T[]): T {
    const item = list[Math.floor(this.next() * list.length)];
    if (item === undefined) throw new Error("pick from an empty list");
    return item;
  }
}
