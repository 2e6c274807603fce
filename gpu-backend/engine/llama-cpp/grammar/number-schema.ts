/** What a schema says of numbers: bounds and steps. */
import { refuse, type Schema } from "./keywords.ts";
import type { GrammarLimits } from "./limits.ts";
import {
  anyInteger,
  anyNumber,
  integersBetween,
  multiplesBetween,
  type NumberBounds,
  type NumberMaking,
  numbersBetween,
  wholeBounds,
} from "./numbers.ts";
import type { Piece, Rules } from "./rules.ts";

type NumberType = "number" | "integer";

interface NumberParts {
  rules: Rules;
  limits: GrammarLimits;
  making: NumberMaking;
  /** A keyword that can't be held. */
  leaveOut: (pointer: string, what: string) => void;
}

// A double holds every whole number between these only.
const lowest = Number.MIN_SAFE_INTEGER;
const highest = Number.MAX_SAFE_INTEGER;

/** Undefined when no number fits. Bounds beyond 2^53 are cut to it. */
export function boundedNumber(schema: Schema, named: NumberType, path: string, parts: NumberParts): Piece | undefined {
  const { digits, fraction } = parts.limits;
  const type = schema["multipleOf"] === 1 ? "integer" : named;
  const step = stepOf(schema, type, path, parts);
  const bounds = boundsOf(schema, path, digits);
  if (bounds === null && step === 1) return type === "number" ? anyNumber(digits, fraction) : anyInteger(digits);
  const reach = 10 ** digits - 1;
  const within = bounds ?? { least: -reach, openLeast: false, most: reach, openMost: false };
  if (within.least > highest || within.most < lowest) return undefined;
  if (step > 1) return multiplesBetween(step, ...wholeBounds(within), parts.making, parts.rules);
  return type === "integer" ? integersBetween(...wholeBounds(within)) : numbersBetween(within, fraction);
}

/** Null: no number fits. An open side reaches as far as this many digits do. */
function boundsOf(schema: Schema, path: string, digits: number): NumberBounds | null {
  const given = (keyword: string): number | undefined => {
    const value = schema[keyword];
    if (value === undefined || typeof value === "boolean") return undefined;
    return typeof value === "number" ? value : refuse(`${path}/${keyword}`, "must be a number");
  };
  const [minimum, maximum] = [given("minimum"), given("maximum")];
  // Draft 4 says `true` beside the bound.
  const above = schema["exclusiveMinimum"] === true ? minimum : given("exclusiveMinimum");
  const below = schema["exclusiveMaximum"] === true ? maximum : given("exclusiveMaximum");
  if ([minimum, above, maximum, below].every((bound) => bound === undefined)) return null;
  const [low, high] = [Math.max(minimum ?? -Infinity, above ?? -Infinity), Math.min(maximum ?? Infinity, below ?? Infinity)];
  const [openLow, openHigh] = [above === low, below === high];
  if (low > high || (low === high && (openLow || openHigh))) return refuse(path, "minimum is above maximum");
  const reach = 10 ** digits - 1;
  const [least, most] = [low === -Infinity ? Math.min(-reach, high - reach) : low, high === Infinity ? Math.max(reach, low + reach) : high];
  return {
    least: low > highest ? low : Math.max(lowest, least),
    openLeast: openLow && low >= lowest,
    most: high < lowest ? high : Math.min(highest, most),
    openMost: openHigh && high <= highest,
  };
}

/** 1: none, or one that says nothing. */
function stepOf(schema: Schema, type: NumberType, path: string, { leaveOut }: NumberParts): number {
  const step = schema["multipleOf"];
  if (step === undefined) return 1;
  const pointer = `${path}/multipleOf`;
  if (typeof step !== "number" || !(step > 0)) return refuse(pointer, "must be a number above 0");
  if (Number.isSafeInteger(step) && (step > 1 || type === "integer")) return step;
  // Every whole number is a multiple of 0.5 or 0.25.
  if (type === "integer" && Number.isSafeInteger(1 / step)) return 1;
  leaveOut(pointer, "only whole numbers are supported");
  return 1;
}
