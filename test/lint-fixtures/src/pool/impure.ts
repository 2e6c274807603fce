import { readFileSync } from "node:fs";
import { decide } from "../routing/decide.ts";
export const impure = (): unknown => [readFileSync("x"), decide, Date.now(), Math.random()];
