/**
 * One colour a product, one dash pattern a variant of it, the same in every picture: Warmpath is orange and thick, rules that look at no
 * cache are grey. Every line is also named where it ends, so that nothing depends on telling colours apart.
 */

/** Light and dark: both at least 3:1 against their page. */
const COLOURS = {
  warmpath: ["#d9480f", "#ff8a4c"],
  dynamo: ["#1c6dd0", "#5aa2f5"],
  smg: ["#0b8a6a", "#2fc39a"],
  "llm-d": ["#6741d9", "#a78bfa"],
  lmetric: ["#c2255c", "#f06595"],
  loadaware: ["#5c7c0a", "#a3c33a"],
  "min-ttft": ["#a16207", "#e0b020"],
  aibrix: ["#087f9c", "#3bc9db"],
  hash: ["#8a5a44", "#c99b80"],
  blind: ["#767c85", "#9aa1ab"],
} as const;

type ColourName = keyof typeof COLOURS;

interface Look {
  colour: ColourName;
  /** SVG stroke-dasharray; empty: solid. */
  dash: string;
}

const LOOKS: Readonly<Record<string, Look>> = {
  "dynamo-linear": { colour: "dynamo", dash: "" },
  "lmetric-dynamo": { colour: "lmetric", dash: "5 3" },
  lmetric: { colour: "lmetric", dash: "" },
  "llm-d": { colour: "llm-d", dash: "" },
  "llm-d-precise": { colour: "llm-d", dash: "5 3" },
  "smg-cache-aware": { colour: "smg", dash: "" },
  "smg-events": { colour: "smg", dash: "5 3" },
  loadaware: { colour: "loadaware", dash: "" },
  "min-ttft": { colour: "min-ttft", dash: "" },
  aibrix: { colour: "aibrix", dash: "" },
  "consistent-hash": { colour: "hash", dash: "" },
  sticky: { colour: "hash", dash: "5 3" },
  "least-loaded": { colour: "blind", dash: "" },
  "power-of-two": { colour: "blind", dash: "5 3" },
  random: { colour: "blind", dash: "1 3" },
  "round-robin": { colour: "blind", dash: "8 3 2 3" },
};

/** `ours` begins with the name of the policy emphasised: its variants are dashed. */
export function lookOf(policy: string, ours: string): Look {
  if (policy === ours) return { colour: "warmpath", dash: "" };
  const known = LOOKS[policy];
  if (known !== undefined) return known;
  return policy.startsWith(ours) ? { colour: "warmpath", dash: "5 3" } : { colour: "blind", dash: "2 2" };
}

/** CSS variables of one theme. */
export function colourVariables(theme: "light" | "dark"): string {
  const position = theme === "light" ? 0 : 1;
  return Object.entries(COLOURS)
    .map(([name, pair]) => `--${name}:${pair[position]};`)
    .join("");
}

/** Policies in the order of tables and bars: ours, then those known in the order above, then the rest. */
export function inOrder(policies: Iterable<string>, ours: string): string[] {
  const known = Object.keys(LOOKS);
  const rank = (policy: string): number => {
    if (policy.startsWith(ours)) return policy === ours ? -2 : -1;
    const at = known.indexOf(policy);
    return at < 0 ? known.length : at;
  };
  return [...new Set(policies)].toSorted((a, b) => rank(a) - rank(b) || a.localeCompare(b, "en"));
}
