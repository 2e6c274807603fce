/** Seeded choices: the same number gives the same history, on any machine. */
import { type Draw, seededDraw } from "../../../simulator/chance.ts";

export class Random {
  readonly #draw: Draw;

  constructor(seed: number) {
    this.#draw = seededDraw(seed);
  }

  /** Both included. */
  int(least: number, most: number): number {
    return least + Math.floor(this.#draw() * (most - least + 1));
  }

  /** Logarithms uniform, whole. */
  size(least: number, most: number): number {
    return Math.round(least * (most / least) ** this.#draw());
  }

  chance(percent: number): boolean {
    return this.#draw() * 100 < percent;
  }

  pick<T>(from: readonly [T, ...T[]]): T {
    return from[Math.floor(this.#draw() * from.length)] ?? from[0];
  }

  weighed<T>(from: readonly (readonly [weight: number, value: T])[]): T {
    let left = this.#draw() * from.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of from) if ((left -= weight) < 0) return value;
    throw new RangeError("nothing to choose from");
  }
}
