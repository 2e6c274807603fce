/** A replica as a child process of the launcher, started again when it dies. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { forkDyingWithParent } from "../gpu-backend/dies-with-parent.ts";
import type { ServedRequest } from "../gpu-backend/served-request.ts";
import type { MembershipChange } from "../gpu-backend/operator-log.ts";
import { ROOT } from "./bundle.ts";
import { endOf } from "./launch-messages.ts";

/** After a death that soon follows another: one is no pattern yet. Doubled for each more. */
const RESTART_MS = 300;
const MOST_RESTART_MS = 30_000;
/** So many early deaths in a row are said. */
const TOLD_DEATHS = 5;
const EARLY_MS = 10_000;
/**
 * Of a replica and its engine. V8's young generation doubles while garbage is made, up to 64 MiB twice where memory is plenty: every replica would seem to leak 115 MiB in its
 * first thousands of calls. 16 MiB was the default for years; in `npm run bench:tiers -- --only memory` it costs no CPU time that can be measured.
 */
export const REPLICA_NODE_OPTIONS = "--max-semi-space-size=16";

/** The edge's variables are not a replica's: they have the deployment's secret. */
const EDGE_ONLY = ["WARMPATH_SECRET", "WARMPATH_MODELS", "WARMPATH_POOLS", "WARMPATH_PROFILE"];

/** What the launcher was given and is not the edge's, what this replica is given, and the bound of its memory; a bound that the launcher was given counts more. */
export function replicaEnvironment(given: NodeJS.ProcessEnv, own: Record<string, string>): NodeJS.ProcessEnv {
  const kept = Object.fromEntries(Object.entries(given).filter(([name]) => !EDGE_ONLY.includes(name)));
  return { ...kept, ...own, NODE_OPTIONS: `${REPLICA_NODE_OPTIONS} ${given.NODE_OPTIONS ?? ""}`.trim() };
}

export interface ReplicaEvents {
  started(name: string, child: ChildProcess): void;
  joined(name: string, url: string): void;
  /** A line of the replica about itself. `what`: what whoever runs the edge, too, sees by itself. */
  news?(name: string, line: string, what: MembershipChange | null): void;
  /** So much of its model is loaded, 0 to 1. */
  loading?(name: string, part: number): void;
  /** It has answered a request. */
  served?(name: string, request: ServedRequest): void;
  /** A line of its standard output or error, and of its engine's. Left out, they go where this process's go. */
  said?(name: string, line: string): void;
  /** `how`: a signal, or its exit code. */
  ended(name: string, pid: number, how: string): void;
  /** It said why it can't begin, or died again and again. It is started again after `againMs`. */
  failed(name: string, message: string, againMs: number): void;
}

export interface ReplicaProcess {
  name: string;
  pid(): number | undefined;
  /** It ends when what it runs has ended, and is not started again. Resolves when it has gone. */
  drain(): Promise<void>;
  /** It ends at once; streams end with an error event. */
  cut(): void;
}

interface Said {
  type: "joined" | "parted" | "failed" | "news" | "request" | "loading";
  part?: number;
  url?: string;
  message?: string;
  line?: string;
  what?: MembershipChange | null;
  served?: ServedRequest;
}

export function startReplica(name: string, environment: Record<string, string>, events: ReplicaEvents): ReplicaProcess {
  let child: ChildProcess;
  let stopping = false;
  let deaths = 0;
  const gone = Promise.withResolvers<void>();

  const log = (line: string, what: MembershipChange | null): void => {
    if (events.news === undefined) process.stderr.write(`${line}\n`);
    else events.news(name, line, what);
  };

  function start(): void {
    const startedMs = performance.now();
    let message = "";
    child = fork(join(ROOT, "gpu-backend/main.ts"), [], {
      env: replicaEnvironment(process.env, environment),
      ...forkDyingWithParent(["--disable-warning=ExperimentalWarning"]),
      stdio: events.said === undefined ? ["ignore", "inherit", "inherit", "ipc"] : ["ignore", "pipe", "pipe", "ipc"],
    });
    const started = child;
    for (const stream of [started.stdout, started.stderr])
      if (stream !== null) createInterface({ input: stream }).on("line", (line) => events.said?.(name, line));
    events.started(name, started);
    started.on("message", (said: Said) => {
      if (said.type === "joined") events.joined(name, said.url ?? "");
      if (said.type === "failed") message = said.message ?? "";
      if (said.type === "loading") events.loading?.(name, said.part ?? 0);
      if (said.type === "news") log(said.line ?? "", said.what ?? null);
      if (said.type === "request" && said.served !== undefined) events.served?.(name, said.served);
    });
    started.once("exit", (code, signal) => {
      if (started.pid !== undefined) events.ended(name, started.pid, endOf(code, signal));
      if (stopping) return gone.resolve();
      deaths = performance.now() - startedMs < EARLY_MS ? deaths + 1 : 0;
      const againMs = deaths <= 1 ? 0 : Math.min(MOST_RESTART_MS, RESTART_MS * 2 ** (deaths - 2));
      if (message !== "") events.failed(name, message, againMs);
      else if (deaths >= TOLD_DEATHS) events.failed(name, `${name} died ${deaths} times in a row.`, againMs);
      setTimeout(() => (stopping ? undefined : start()), againMs);
    });
  }

  start();
  return {
    name,
    pid: () => child.pid,
    drain() {
      stopping = true;
      // One that has died and was to be started again is gone already.
      if (!child.kill("SIGTERM")) gone.resolve();
      return gone.promise;
    },
    cut() {
      stopping = true;
      child.kill("SIGINT");
    },
  };
}
