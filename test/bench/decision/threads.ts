/** Tasks done side by side; progress on stderr. */
import { Worker } from "node:worker_threads";
import type { Outcome, Task } from "./task.ts";

/** In the order of the tasks. Tasks of one workload stay together, so that a thread makes its plan once. */
export async function performAll<Wanted extends Outcome["what"]>(
  tasks: readonly (Task & { what: Wanted })[],
  threads: number,
): Promise<Extract<Outcome, { what: Wanted }>[]> {
  const outcomes: Extract<Outcome, { what: Wanted }>[] = [];
  const startedAtMs = performance.now();
  let next = 0;
  let done = 0;
  await Promise.all(
    Array.from({ length: Math.min(threads, tasks.length) }, async () => {
      const worker = new Worker(new URL("thread.ts", import.meta.url));
      for (let at = next++; at < tasks.length; at = next++) {
        const { outcome } = await ask(worker, tasks[at] as Task);
        outcomes[at] = outcome as Extract<Outcome, { what: Wanted }>;
        done++;
        const leftSeconds = ((performance.now() - startedAtMs) / 1_000 / done) * (tasks.length - done);
        if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${tasks.length}, about ${Math.ceil(leftSeconds)} s left   `);
      }
      await worker.terminate();
    }),
  );
  process.stderr.write("\n");
  return outcomes;
}

function ask(worker: Worker, task: Task): Promise<{ outcome: Outcome; ms: number }> {
  return new Promise((resolve, reject) => {
    worker.once("message", (answer: { outcome: Outcome; ms: number }) => {
      worker.off("error", reject);
      resolve(answer);
    });
    worker.once("error", reject);
    worker.postMessage(task);
  });
}
