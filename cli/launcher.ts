/** The edge and its replicas on this machine: started, watched, started again, drained, ended. */
import { setTimeout as sleep } from "node:timers/promises";
import { LINE_LEAVES_MS } from "../src/limits.ts";
import { bundleEdge } from "./bundle.ts";
import { devFile, type DevFacts, removeDevFile, writeDevFile } from "./dev-file.ts";
import { type EdgeOptions, type EdgeProcess, hearLines, startWorkerd, startWranglerDev, waitingAt } from "./edge.ts";
import { EdgeKeeper } from "./edge-keeper.ts";
import { EdgeOutput } from "./edge-output.ts";
import { type Place, placesOf, variablesOf } from "./fleet.ts";
import type { LogFile } from "./log-file.ts";
import { findModels, type ModelWatch, type ServedModel } from "./models/served-models.ts";
import { poolNames, type StartOptions } from "./options.ts";
import { type ReplicaEvents, type ReplicaProcess, startReplica } from "./replica-process.ts";
import { servedLine } from "./request-line.ts";
import { screen } from "./screen.ts";
import type { Secrets } from "./secrets.ts";
import { type Claim, logFile, problemOf, unusable } from "./state-directory.ts";
import type { LaunchMessages } from "./launch-messages.ts";
import { Watchdog } from "./watchdog-process.ts";

/** The launcher ends its start when no replica loads or joins for this long. */
const SILENCE_MS = 60_000;
const LOOK_MS = 1_000;
/** Time that replicas have to exit after the drain; then the edge has it, to send the last bytes. */
const REPLICA_LEAVE_MS = 4_000;
const EDGE_LEAVE_MS = 500;

export class Launcher {
  readonly #options: StartOptions;
  readonly #places: readonly Place[];
  readonly #secrets: Secrets;
  readonly #claim: Claim & { ok: true };
  readonly #watchdog: Watchdog;
  readonly #messages: LaunchMessages;
  readonly #log: LogFile;
  readonly #edgeOutput: EdgeOutput;
  readonly #keeper: EdgeKeeper;
  readonly #replicas: ReplicaProcess[] = [];
  /** Of those that run and have joined. */
  readonly #urls = new Map<string, string>();
  #port = 0;
  /** What dev.json says besides the processes; null before all is ready, and from the end on. */
  #shown: Pick<DevFacts, "url" | "model"> | null = null;
  #bundle: string | null = null;
  #wasReady = false;
  #stopping = false;
  #draining = false;
  #onJoined: (() => void) | null = null;
  /** When a replica last came further with its start. */
  #heardAtMs = 0;

  /** `messages`: what is shown; it writes into `log`, too. */
  constructor(
    chosen: StartOptions,
    secrets: Secrets,
    claim: Claim & { ok: true },
    { messages, log }: { messages: LaunchMessages; log: LogFile },
  ) {
    this.#options = chosen;
    this.#claim = claim;
    this.#watchdog = new Watchdog(devFile(chosen.stateDirectory));
    this.#places = placesOf(chosen);
    this.#secrets = secrets;
    this.#messages = messages;
    this.#log = log;
    this.#edgeOutput = new EdgeOutput({
      log: (line) => this.#edgeSaid(line),
      // The launcher's own, at its start.
      request: (line) => (this.#wasReady ? this.#request(line) : log.write("edge", line)),
      problem: () => messages.news(`The edge met with an error that it did not expect; ${logFile(chosen.stateDirectory)} has it.`, "bad"),
    });
    const starter = {
      begin: (spawned: NonNullable<EdgeOptions["spawned"]>) => this.#tryEdge(spawned),
      changed: () => this.#show(),
      ended: () => {
        if (this.#draining) this.stop("The edge ended before the drain had: answers that ran are lost.");
        return !this.#stopping;
      },
      watch: (pid: number | undefined) => this.#watchdog.watch(pid, chosen.dev ? "SIGTERM" : "SIGINT"),
      forget: (pid: number | undefined) => this.#watchdog.forget(pid),
    };
    this.#keeper = new EdgeKeeper(starter, messages);
  }

  async run(port: number): Promise<void> {
    const startedMs = performance.now();
    this.#port = port;
    const { stateDirectory, models } = this.#options;
    // At the first start both take a while, one the processor and the other the network.
    const listening = this.#keeper.start().then((problem) => {
      if (problem === null) this.#messages.step("the edge listens");
      else this.stop(problem);
    });
    const found = await findModels(this.#places.length === 0 ? [] : models, stateDirectory, this.#modelWatch());
    if (this.#stopping) return;
    if (!found.ok) return this.stop(found.message);
    for (const place of this.#places) this.#startReplica(place, found.models);
    await listening;
    if (!(await this.#allJoined())) {
      const here = `Only ${this.#urls.size} of ${this.#places.length} replicas joined`;
      return this.stop(`${here}, and nothing was heard of the others for ${SILENCE_MS / 1_000} s: see ${logFile(stateDirectory)}.`);
    }
    await this.#announceReady(`http://127.0.0.1:${port}`, performance.now() - startedMs, found.note);
  }

  async #allJoined(): Promise<boolean> {
    this.#heardAtMs = performance.now();
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#onJoined = () => this.#urls.size === this.#places.length && resolve(true);
    this.#onJoined();
    const looking = setInterval(() => performance.now() - this.#heardAtMs > SILENCE_MS && resolve(false), LOOK_MS);
    return promise.finally(() => clearInterval(looking));
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  /** At once: what runs is cut. */
  stop(message: string | null): void {
    if (this.#stopping) return;
    this.#stopping = true;
    if (message !== null) this.#messages.news(message);
    this.#shown = null;
    removeDevFile(devFile(this.#options.stateDirectory), process.pid);
    for (const replica of this.#replicas) replica.cut();
    this.#keeper.end();
    this.#claim.release();
    process.exit(message === null ? 0 : 1);
  }

  /** Takes nothing new, and goes when what runs has ended or its time is up. The edge goes last: answers go through it. */
  async drain(): Promise<void> {
    this.#draining = true;
    const url = this.#shown?.url;
    this.#shown = null;
    removeDevFile(devFile(this.#options.stateDirectory), process.pid);
    const { drainSeconds } = this.#options;
    this.#messages.news(`Ending; answers that run have ${drainSeconds} s. Ctrl-C ends at once.`);
    const gone = Promise.all(this.#replicas.map((replica) => replica.drain()));
    await Promise.race([gone, sleep(drainSeconds * 1_000 + REPLICA_LEAVE_MS)]);
    await sleep(EDGE_LEAVE_MS);
    // Pools refuse who waits in line once they have forgotten their last replica.
    for (const fromMs = performance.now(); performance.now() - fromMs < LINE_LEAVES_MS; await sleep(EDGE_LEAVE_MS))
      if (url === undefined || (await waitingAt(url)) === 0) break;
    this.stop(null);
  }

  /** wrangler's own words are for who changes sources; workerd's are in the log. */
  #edgeSaid(line: string): void {
    this.#log.write("edge", line);
    if (this.#options.dev) this.#messages.quote(line);
  }

  #request(line: string): void {
    this.#log.write("request", line);
    if (this.#options.logsRequests) this.#messages.quote(line);
  }

  #modelWatch(): ModelWatch {
    return {
      making: (what) => this.#messages.making(what),
      fetching: (what) => this.#messages.fetching(what),
      progress: (what, bytes, of) => this.#messages.moved(what, bytes, of),
      said: (line) => this.#log.write("pip", line),
      spawned: (child) => {
        this.#watchdog.watch(child.pid, "SIGKILL");
        child.once("exit", () => this.#watchdog.forget(child.pid));
      },
    };
  }

  #startReplica(place: Place, models: readonly ServedModel[]): void {
    const model = models[place.model];
    if (model === undefined) throw new Error(`There is no model ${place.model}.`);
    const kvBytes = Math.floor(process.availableMemory() / 2 / this.#places.length);
    const facts = { options: this.#options, port: this.#port, secrets: this.#secrets, given: process.env, kvBytes };
    this.#replicas.push(startReplica(place.name, variablesOf(place, model, facts), this.#replicaEvents()));
  }

  #replicaEvents(): ReplicaEvents {
    return {
      started: (_name, child) => this.#watchdog.watch(child.pid, "SIGINT"),
      loading: (name, part) => {
        this.#heardAtMs = performance.now();
        this.#messages.loading(name, part);
      },
      joined: (name, url) => {
        this.#heardAtMs = performance.now();
        this.#urls.set(name, url);
        this.#messages.joined(name, this.#urls.size, this.#places.length);
        this.#onJoined?.();
        this.#show();
      },
      // Who joined and who lost the edge is shown already: the launcher sees both.
      news: (name, line, what) => (what === null && !this.#stopping ? this.#messages.news(line) : this.#log.write(name, line)),
      served: (name, request) => this.#request(servedLine(name, request)),
      said: (name, line) => this.#log.write(name, line),
      ended: (name, pid, how) => {
        this.#watchdog.forget(pid);
        if (!this.#stopping && !this.#draining) this.#messages.died(name, how);
        if (this.#urls.delete(name)) this.#show();
      },
      failed: (_name, message, againMs) => this.#replicaFailed(message, againMs),
    };
  }

  /** Before all is ready that ends the start; afterwards the others go on. */
  #replicaFailed(message: string, againMs: number): void {
    if (this.#draining || this.#stopping) return;
    if (!this.#wasReady) return this.stop(message);
    this.#messages.news(`${message} The others go on; it is started again in ${Math.ceil(againMs / 1_000)} s.`, "bad");
  }

  async #tryEdge(spawned: NonNullable<EdgeOptions["spawned"]>): Promise<EdgeProcess> {
    const { WARMPATH_REMOTE_PREFILL_TOKENS: remotePrefillTokens, WARMPATH_MODELS: models } = process.env;
    const edgeOptions: EdgeOptions = {
      port: this.#port,
      stateDirectory: this.#options.stateDirectory,
      spawned,
      said: (line) => this.#edgeOutput.line(line),
      variables: {
        WARMPATH_SECRET: this.#secrets.deployment,
        WARMPATH_POOLS: poolNames(this.#options).join(","),
        WARMPATH_PROFILE: this.#options.profile,
        WARMPATH_LOG: "requests",
        ...(remotePrefillTokens === undefined ? {} : { WARMPATH_REMOTE_PREFILL_TOKENS: remotePrefillTokens }),
        ...(models === undefined ? {} : { WARMPATH_MODELS: models }),
      },
    };
    return (this.#options.dev ? startWranglerDev(edgeOptions) : this.#startBundled(edgeOptions)).catch((error: unknown) => ({
      type: "failed",
      message: problemOf(this.#options.stateDirectory, error, "The edge could not be built"),
    }));
  }

  /** An edge that died comes back as it was, whatever has become of the sources meanwhile. */
  async #startBundled(edgeOptions: EdgeOptions): Promise<EdgeProcess> {
    this.#bundle ??= await bundleEdge(edgeOptions.stateDirectory, (child) => {
      this.#messages.making("the edge's bundle");
      hearLines(child, (line) => this.#log.write("build", line));
      this.#watchdog.watch(child.pid, "SIGTERM");
      child.once("exit", () => this.#watchdog.forget(child.pid));
    });
    return startWorkerd(edgeOptions, this.#bundle);
  }

  /** dev.json as things are now; none while it would not be true. */
  #show(): void {
    const { stateDirectory } = this.#options;
    const edge = this.#keeper.pid;
    if (this.#shown === null || edge === undefined) return removeDevFile(devFile(stateDirectory), process.pid);
    const replicas = this.#replicas.flatMap((replica, index) => {
      const [url, pid, place] = [this.#urls.get(replica.name), replica.pid(), this.#places[index]];
      return url === undefined || pid === undefined || place === undefined
        ? []
        : [{ name: replica.name, url, pool: place.pool, role: place.role, pid }];
    });
    const { url, model } = this.#shown;
    const { apiKey } = this.#secrets;
    try {
      writeDevFile(stateDirectory, { url, apiKey, model, launcher: { pid: process.pid }, edge: { pid: edge }, replicas });
    } catch (error) {
      // What runs goes on; what can't be written must not stay untrue.
      removeDevFile(devFile(stateDirectory), null);
      this.#messages.news(unusable(stateDirectory, error), "bad");
    }
  }

  async #announceReady(url: string, readyMs: number, note: string | null): Promise<void> {
    const headers = { authorization: `Bearer ${this.#secrets.apiKey}` };
    const listed = (await (await fetch(`${url}/v1/models`, { headers })).json()) as { data: { id: string }[] };
    const models = listed.data.map(({ id }) => id);
    this.#shown = { url, model: models[0] ?? "" };
    this.#wasReady = true;
    this.#messages.ready();
    this.#show();
    const { replicas, pools, topology, stateDirectory } = this.#options;
    const joinCommand = joinCommandOf(url, stateDirectory);
    process.stdout.write(screen({ url, apiKey: this.#secrets.apiKey, models, replicas, pools, topology, readyMs, note, joinCommand }));
  }
}

/** As it can be pasted into a shell; the token is in it neither on the screen nor in a process list. */
export function joinCommandOf(url: string, stateDirectory: string): string {
  const token = `WARMPATH_JOIN_TOKEN="$(npx warmpath join-token default --state ${quoted(stateDirectory)})"`;
  return `${token} npx warmpath replica --join ${url} --engine llama-cpp --model smollm2`;
}

const quoted = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
