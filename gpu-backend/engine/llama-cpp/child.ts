/** Life of one engine process, seen from its parent. */
import { fork, type ChildProcess } from "node:child_process";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { forkDyingWithParent } from "../../dies-with-parent.ts";
import { withoutOurs } from "../../environment.ts";
import { logLoading } from "../../operator-log.ts";
import type { EngineCard, KvCard } from "../engine.ts";
import type { ChildMessage, ChildOptions, ParentMessage } from "./messages.ts";
import { makeScratch } from "./scratch.ts";

export interface Child {
  readonly processId: number | undefined;
  /** Does nothing once the process is gone. */
  send(message: ParentMessage): void;
  /** One listener. */
  onMessage(listener: (message: ChildMessage) => void): void;
  /** Called once, also when the process is gone already. */
  onExit(listener: () => void): void;
  /** Resolves when the process is gone. */
  stop(): Promise<void>;
}

export type ChildStart = { type: "started"; child: Child; card: EngineCard; kvCard: KvCard } | { type: "unavailable"; message: string };

const entry = fileURLToPath(new URL("./main.ts", import.meta.url));
const FLAGS = ["--import", new URL("./no-probe.ts", import.meta.url).href];
const stopPatienceMs = 2_000;

function wrap(process: ChildProcess, gone: Promise<void>): Child {
  return {
    processId: process.pid,
    send(message) {
      // A message that races with the end is lost; the end itself is what the engine reacts to.
      if (process.connected) process.send(message, () => undefined);
    },
    onMessage: (listener) => void process.on("message", (message) => listener(message as ChildMessage)),
    onExit: (listener) => void gone.then(listener),
    async stop() {
      if (process.connected) process.disconnect();
      const timer = setTimeout(() => process.kill("SIGKILL"), stopPatienceMs);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** The engine's process before it knows what to run: most of its start is loading its own code. */
export interface ForkedEngine {
  process: ChildProcess;
  gone: Promise<void>;
}

/** Throws where the system starts no more processes. */
export function forkEngine(): ForkedEngine {
  const process = fork(entry, [], {
    ...forkDyingWithParent(FLAGS),
    env: withoutOurs(globalThis.process.env),
    serialization: "advanced",
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const gone = new Promise<void>((resolve) => {
    process.once("exit", () => resolve());
    process.once("error", () => resolve());
  });
  return { process, gone };
}

/** Has an engine's process, or a new one, start its engine, and waits for its first word. Never throws. */
export function startChild(options: Omit<ChildOptions, "scratchDirectory">, forked?: ForkedEngine): Promise<ChildStart> {
  return startAndWait(options, forked).catch((error: unknown): ChildStart => {
    return { type: "unavailable", message: `the engine's process cannot be started: ${String(error)}` };
  });
}

async function startAndWait(options: Omit<ChildOptions, "scratchDirectory">, forked = forkEngine()): Promise<ChildStart> {
  const scratchDirectory = await makeScratch();
  const { process } = forked;
  const gone = forked.gone.then(() => rm(scratchDirectory, { recursive: true, force: true }));
  const child = wrap(process, gone);
  child.send({ type: "start", options: { ...options, scratchDirectory } });
  const first = await Promise.race([
    firstWord(process),
    gone.then((): ChildMessage => ({ type: "unavailable", message: endedEarly(process.signalCode) })),
  ]);
  if (first.type === "ready") return { type: "started", child, card: first.card, kvCard: first.kvCard };
  await child.stop();
  const message = first.type === "unavailable" ? first.message : "the engine's process spoke out of turn";
  return { type: "unavailable", message };
}

/** What a processor says of instructions that it does not have, and of memory that a library took for its own. */
const UNFIT: ReadonlySet<NodeJS.Signals | null> = new Set(["SIGILL", "SIGSEGV", "SIGBUS", "SIGABRT"]);

export function endedEarly(signal: NodeJS.Signals | null): string {
  const how = signal === null ? "" : ` (${signal})`;
  return `the engine's process ended while it started${how}${UNFIT.has(signal) ? ": its binary may not fit this machine" : ""}`;
}

/** But for how far it has come with loading. */
function firstWord(process: ChildProcess): Promise<ChildMessage> {
  return new Promise((resolve) => {
    const hear = (given: unknown): void => {
      const message = given as ChildMessage;
      if (message.type === "loading") return logLoading(message.part);
      process.off("message", hear);
      resolve(message);
    };
    process.on("message", hear);
  });
}
