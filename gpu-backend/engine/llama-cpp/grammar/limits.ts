/** How much a grammar allows where the schema sets no bound. */
export interface GrammarLimits {
  /** Characters of a string. */
  string: number;
  /** Most characters of a property name that the schema does not give. */
  key: number;
  /** Items of an array. */
  items: number;
  /** Properties of a free object. */
  entries: number;
  /** Digits before, and digits after the point. */
  digits: number;
  fraction: number;
  /** Arrays and objects inside each other where any JSON is allowed. */
  depth: number;
  /** References to recursive definitions inside each other. */
  recursion: number;
  /** Tool calls in one answer. */
  calls: number;
}

/** Falling, from the first to the last. */
type GrammarSteps = readonly [GrammarLimits, ...GrammarLimits[]];

/** Digits stay within what a double holds. */
const wide: GrammarLimits = {
  string: Infinity,
  key: 128,
  items: Infinity,
  entries: Infinity,
  digits: 15,
  fraction: 15,
  depth: 12,
  recursion: 12,
  calls: 16,
};

/** For models that know when to end: the first that makes a grammar of sane size. */
const wideLimits: GrammarSteps = [wide, { ...wide, depth: 4, recursion: 4 }];

/** For a model that ends by chance: the first under which the longest text fits the budget is taken, else the last. */
const shortLimits: GrammarSteps = [
  { string: 128, key: 24, items: 8, entries: 6, digits: 12, fraction: 4, depth: 3, recursion: 5, calls: 4 },
  { string: 128, key: 24, items: 8, entries: 4, digits: 12, fraction: 4, depth: 2, recursion: 4, calls: 3 },
  { string: 96, key: 16, items: 6, entries: 4, digits: 9, fraction: 4, depth: 2, recursion: 4, calls: 3 },
  { string: 64, key: 16, items: 5, entries: 3, digits: 9, fraction: 3, depth: 2, recursion: 3, calls: 2 },
  { string: 48, key: 12, items: 4, entries: 3, digits: 6, fraction: 3, depth: 2, recursion: 3, calls: 2 },
  { string: 32, key: 12, items: 3, entries: 3, digits: 6, fraction: 2, depth: 2, recursion: 3, calls: 2 },
  { string: 24, key: 8, items: 2, entries: 2, digits: 6, fraction: 2, depth: 2, recursion: 2, calls: 2 },
  { string: 12, key: 8, items: 2, entries: 2, digits: 4, fraction: 2, depth: 1, recursion: 2, calls: 1 },
  { string: 6, key: 6, items: 1, entries: 1, digits: 3, fraction: 1, depth: 1, recursion: 2, calls: 1 },
];
/** Characters; the demo model says two to three with a token. */
const shortBudget = 2_000;

export interface GrammarLimitSteps {
  steps: GrammarSteps;
  /** Characters of the longest text that should match. */
  budget: number;
}

/** wide: what a trained model gets. short: for a model that ends by chance, such as the demo model; what the schema leaves open is bounded. */
export const grammarLimits = {
  wide: { steps: wideLimits, budget: Infinity },
  short: { steps: shortLimits, budget: shortBudget },
} as const satisfies Record<string, GrammarLimitSteps>;
export type GrammarLimitsName = keyof typeof grammarLimits;

/** Most that a schema's own bound is followed to: llama.cpp spells a repetition out. */
export const largestRepeat = 1_024;
