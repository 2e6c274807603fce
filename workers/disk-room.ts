/** What the launcher says of the disk below a self-hosted edge. A write that finds the disk full would end its object, so it is asked before. */
import { type DiskSpace, type DiskUse, hasRoom } from "../src/records/disk-room.ts";
import type { Env } from "./env.ts";
import { steadyNowMs } from "./steady-clock.ts";

const FRESH_MS = 100;
const TIMEOUT_MS = 500;

/** Of this isolate, which is the only one where there is a launcher. */
let known: { space: DiskSpace; atMs: number } | null = null;

/** True where nobody watches a disk: the platform's own errors then say what is full. */
export async function diskHasRoom(env: Env, use: DiskUse): Promise<boolean> {
  if (env.DISK === undefined) return true;
  if (known === null || steadyNowMs() - known.atMs > FRESH_MS) {
    try {
      const answer = await env.DISK.fetch("http://launcher/", { signal: AbortSignal.timeout(TIMEOUT_MS) });
      known = { space: await answer.json<DiskSpace>(), atMs: steadyNowMs() };
    } catch {
      // A launcher that is gone or stands still: what it said last counts on.
    }
  }
  return known === null || hasRoom(known.space, use);
}

/** Goes on with what `diskHasRoom` says; where nobody watches a disk, in the same turn. */
export function lookAtDisk(env: Env, use: DiskUse, then: (hasRoom: boolean) => void): void {
  if (env.DISK === undefined) then(true);
  else void diskHasRoom(env, use).then(then);
}
