/** A thread that does what it is told, one task after the other. */
import { parentPort } from "node:worker_threads";
import { perform, type Task } from "./task.ts";

const port = parentPort;
if (port === null) throw new Error("this file is run as a thread");
port.on("message", (task: Task) => {
  const startedAtMs = performance.now();
  const outcome = perform(task);
  port.postMessage({ outcome, ms: performance.now() - startedAtMs });
});
