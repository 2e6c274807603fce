/**
 * What was reported last of each class of sizes, however long ago: 40,000 short prompts leave what is known of long ones as it was.
 *
 * Forgetting is bounded to what new reports speak of (R. Kulhavý, Restricted exponential forgetting in real-time identification, Automatica 23,
 * 1987), here by keeping a mean for each class that only its own reports replace.
 */
import { BoundedMap } from "../bounded-map.ts";

/** Reports in a class's mean, and how many it takes to believe half of it. */
const MEMORY = 16;
const HALF_BELIEVED = 3;
/** One report says at most so many times more or less than the mean, as a logarithm. */
const MOST_LOG = Math.log(4);
/** What a change of times leaves of the belief in each. */
const DOUBTED_SHARE = 0.6;
const LEAST_REPORTS = 0.5;
/** The class that was reported longest ago gives way. */
const MOST_CLASSES = 128;
/** Classes of one feature, in octaves; with three features a key stays below 2^21. */
const MOST_OCTAVES = 127;

/** Sizes so many times apart say how times grow; of that, so much is taken to be the first term's. */
const FAR = 8;
const SECANT_SHARE = 0.6;

export interface SizeClass {
  key: number;
  /** At most 16 of them count. */
  reports: number;
  /** Means. */
  features: number[];
  /** Geometric mean, ms. */
  target: number;
}

export class SizeClasses {
  /** Reported longest ago first. */
  readonly #classes = new BoundedMap<number, SizeClass>(MOST_CLASSES);

  /**
   * @param doubt in (0, 1]: less where the target is far from what was expected. It is asked only of the first report of a class; the next ones are measured by that one.
   * @param quick the times have changed: newer reports count more.
   */
  add(features: readonly number[], target: number, trust: number, doubt: number, quick: boolean): void {
    const key = keyOf(features);
    const known = this.#classes.get(key);
    if (known === undefined) this.#classes.set(key, { key, reports: trust * doubt, features: [...features], target });
    else this.#classes.set(key, moved(known, features, target, trust, quick));
  }

  /** Times have changed: less is believed of all classes, until they are reported anew. */
  doubt(): void {
    for (const one of this.#classes.values()) one.reports = Math.max(Math.min(LEAST_REPORTS, one.reports), DOUBTED_SHARE * one.reports);
  }

  /**
   * A guess at the first term: what it would be if all that does not depend on size took as long as `fixedUnits` units of it; or more, where between
   * the smallest and the largest sizes times grow faster.
   */
  firstTerm(fixedUnits: number): number {
    let guess = Infinity;
    let most = Infinity;
    let [small, large]: [SizeClass | null, SizeClass | null] = [null, null];
    for (const one of this.#classes.values()) {
      most = Math.min(most, one.target / Math.max(1, sizeOf(one)));
      guess = Math.min(guess, one.target / (sizeOf(one) + fixedUnits));
      if (small === null || sizeOf(one) < sizeOf(small)) small = one;
      if (large === null || sizeOf(one) > sizeOf(large)) large = one;
    }
    if (small === null || large === null) return NaN;
    const grows = (large.target - small.target) / (sizeOf(large) - sizeOf(small));
    const far = sizeOf(large) > FAR * sizeOf(small) && grows > 0;
    return Math.max(guess, far ? Math.min(most, SECANT_SHARE * grows) : 0);
  }

  get all(): Iterable<SizeClass> {
    return this.#classes.values();
  }

  restore(classes: readonly SizeClass[]): void {
    this.#classes.clear();
    for (const one of classes.slice(-MOST_CLASSES)) this.#classes.set(one.key, one);
  }
}

function sizeOf({ features }: SizeClass): number {
  return features[0] ?? 0;
}

/** In [0, 1): how much of a class's mean is believed. */
export function beliefIn({ reports }: SizeClass): number {
  return reports / (reports + HALF_BELIEVED);
}

function moved({ key, reports, features, target }: SizeClass, by: readonly number[], to: number, trust: number, quick: boolean): SizeClass {
  const counted = Math.min(quick ? MEMORY / 4 : MEMORY, reports + trust);
  const gain = trust / counted;
  const step = Math.min(MOST_LOG, Math.max(-MOST_LOG, Math.log(to / target)));
  return {
    key,
    reports: Math.min(MEMORY, reports + trust),
    features: features.map((mean, at) => mean + gain * ((by[at] ?? 0) - mean)),
    target: target * Math.exp(gain * step),
  };
}

function keyOf(features: readonly number[]): number {
  let key = 0;
  for (const value of features) key = key * (MOST_OCTAVES + 1) + (value < 1 ? 0 : Math.min(MOST_OCTAVES, 1 + Math.floor(Math.log2(value))));
  return key;
}
