/** The peers' policies by name. Each call makes a new one: what it keeps is its own. */
import type { PeerPolicy } from "../policy.ts";
import { aibrix } from "./aibrix.ts";
import { consistentHash } from "./consistent-hash.ts";
import { dynamoLinear } from "./dynamo-linear.ts";
import { leastLoaded } from "./least-loaded.ts";
import { llmDPrecise } from "./llm-d-precise.ts";
import { llmD } from "./llm-d.ts";
import { lmetricDynamo } from "./lmetric-dynamo.ts";
import { lmetric } from "./lmetric.ts";
import { loadaware } from "./loadaware.ts";
import { minTtft } from "./min-ttft.ts";
import { powerOfTwo } from "./power-of-two.ts";
import { random } from "./random.ts";
import { roundRobin } from "./round-robin.ts";
import { smgCacheAware } from "./smg-cache-aware.ts";
import { smgEvents } from "./smg-events.ts";
import { sticky } from "./sticky.ts";

const PEERS = {
  "round-robin": roundRobin,
  random,
  "power-of-two": powerOfTwo,
  "least-loaded": leastLoaded,
  sticky,
  "consistent-hash": consistentHash,
  "min-ttft": minTtft,
  "dynamo-linear": dynamoLinear,
  lmetric,
  "lmetric-dynamo": lmetricDynamo,
  "llm-d": llmD,
  "llm-d-precise": llmDPrecise,
  "smg-cache-aware": smgCacheAware,
  "smg-events": smgEvents,
  aibrix,
  loadaware,
} as const satisfies Readonly<Record<string, () => PeerPolicy>>;

export type PeerName = keyof typeof PEERS;

export const PEER_NAMES = Object.keys(PEERS) as readonly PeerName[];

export function isPeerName(name: string): name is PeerName {
  return Object.hasOwn(PEERS, name);
}

/** A new policy of that name, with nothing remembered. */
export function baseline(name: PeerName): PeerPolicy {
  return PEERS[name]();
}
