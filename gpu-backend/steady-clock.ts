import { performance } from "node:perf_hooks";

/** ms since 1970 as the machine had it when this process began: it goes on while the machine's clock is set. */
export function steadyNowMs(): number {
  return performance.timeOrigin + performance.now();
}
