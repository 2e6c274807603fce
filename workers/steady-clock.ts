import { PoolClock } from "../src/pool/pool-clock.ts";

const clock = new PoolClock(0);

/** This isolate's clock, ms: for ages, and for what is done every so often. It never goes back, so that nothing stays young for an hour when the machine's clock is set back by one. */
export function steadyNowMs(): number {
  // Requests may be far apart: the time between two readings is believed, however long.
  clock.rest();
  return clock.at(Date.now());
}
