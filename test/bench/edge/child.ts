/** A process of ours that answers one command at a time over Node's IPC. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";

export interface Child<Command, Reply> {
  pid: number;
  ask(command: Command): Promise<Reply>;
  end(): void;
}

const running = new Set<ChildProcess>();

export function startChild<Command extends object, Reply>(file: string): Child<Command, Reply> {
  const child = fork(join(import.meta.dirname, file), { execArgv: ["--disable-warning=ExperimentalWarning"] });
  running.add(child);
  return {
    pid: child.pid ?? 0,
    ask: (command) =>
      new Promise((resolve, reject) => {
        const onExit = (code: number | null): void => reject(new Error(`${file} ended with ${code}`));
        child.once("exit", onExit);
        child.once("message", (reply: { ok: true; value: Reply } | { ok: false; message: string }) => {
          child.off("exit", onExit);
          if (reply.ok) resolve(reply.value);
          else reject(new Error(`${file}: ${reply.message}`));
        });
        child.send(command);
      }),
    end: () => {
      running.delete(child);
      child.kill("SIGKILL");
    },
  };
}

export function endChildren(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** The other side. */
export function serveCommands<Command, Reply>(handle: (command: Command) => Promise<Reply>): void {
  process.on("message", (command: Command) => {
    handle(command).then(
      (value) => process.send?.({ ok: true, value }),
      (error: unknown) => process.send?.({ ok: false, message: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  process.on("disconnect", () => process.exit(0));
}
