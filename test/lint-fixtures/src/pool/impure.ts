import { readFileSync } from "node:fs";
export const impure = (): unknown => [readFileSync("x"), decide, Date.now(), Math.random()];
