/** A sender in a process of its own that stops after so many bytes (or before it is ready) and waits to be killed. */
import type { ServerResponse } from "node:http";
import { FakeEngine } from "./transfer-engine.ts";
import { makeSender, serve } from "./transfer-rig.ts";

const stopAfter = Number(process.argv[2]);
const computing = process.argv[3] === "computing";
const engine = new FakeEngine();
if (computing) engine.delayMs = 60_000;
const sender = makeSender(engine, null, { pulseMs: computing ? 20 : 10_000 });

function limit(response: ServerResponse): void {
  const write = response.write.bind(response) as (chunk: Uint8Array, done?: () => void) => boolean;
  let sent = 0;
  response.write = ((chunk: Uint8Array) => {
    if (sent >= stopAfter) return false;
    const part = chunk.subarray(0, stopAfter - sent);
    sent += part.length;
    return write(part, () => {
      if (sent >= stopAfter) process.send?.("stopped");
    });
  }) as typeof response.write;
  response.end = (() => response) as typeof response.end;
}

const serving = await serve((request, response) => {
  if (stopAfter === 0) return void process.send?.("stopped");
  if (Number.isFinite(stopAfter)) limit(response);
  sender.handle(request, response).catch(() => response.destroy());
});
process.send?.(serving.url);
process.on("disconnect", () => process.exit(0));
