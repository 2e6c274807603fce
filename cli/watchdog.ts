/**
 * Outlives the launcher by a moment. Standard input tells it which processes to end, one line each, as `+PID SIGNAL` and `-PID`;
 * when it closes, however the launcher went, they are asked to go and killed 1.5 s later. Arguments: the launcher's process id, its dev.json.
 */
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { removeDevFile } from "./dev-file.ts";

const GRACE_MS = 1_500;
const watched = new Map<number, NodeJS.Signals>();
const [launcher = "", devJson = ""] = process.argv.slice(2);

process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("SIGHUP", () => undefined);

for await (const line of createInterface({ input: process.stdin })) {
  const [pid = "", signal = "SIGTERM"] = line.slice(1).split(" ");
  if (line.startsWith("+")) watched.set(Number(pid), signal as NodeJS.Signals);
  else watched.delete(Number(pid));
}
removeDevFile(devJson, Number(launcher));

function signalAll(choose: (signal: NodeJS.Signals) => NodeJS.Signals): void {
  for (const [pid, signal] of watched) {
    try {
      process.kill(pid, choose(signal));
    } catch {
      watched.delete(pid);
    }
  }
}
signalAll((signal) => signal);
for (let waitedMs = 0; waitedMs < GRACE_MS && watched.size > 0; waitedMs += 50) {
  await sleep(50);
  for (const pid of watched.keys()) {
    try {
      process.kill(pid, 0);
    } catch {
      watched.delete(pid);
    }
  }
}
signalAll(() => "SIGKILL");
