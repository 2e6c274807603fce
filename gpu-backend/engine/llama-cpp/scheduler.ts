/**
 * The engine's heart: admits runs to sequences and computes step after step, each one batch over all runs that can go on. Everything that
 * touches the context happens between two batches, so a cancelled run is gone within one step.
 */
import type { EngineLoad, EngineRefusal, EngineRequest, FinishReason } from "../engine.ts";
import type { Addon, LogitIndex } from "./binding.ts";
import { blockKeys } from "./block-keys.ts";
import type { Grammars } from "./grammars.ts";
import type { KvCells } from "./kv-cells.ts";
import { LogprobReader } from "./logprobs.ts";
import type { ChildMessage, RunEvent } from "./messages.ts";
import { planStep } from "./plan.ts";
import type { PlanItem, StepLimits } from "./plan.ts";
import { Run } from "./run.ts";
import { makeRunSampler } from "./sampling.ts";
import type { SequenceTable } from "./sequences.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface SchedulerParts {
  addon: Addon;
  table: SequenceTable;
  cells: KvCells;
  vocabulary: Vocabulary;
  grammars: Grammars;
  /** Hash of everything that makes KV exchangeable. */
  root: Buffer;
  contextTokens: number;
  queueLimit: number;
  limits: StepLimits;
  send: (message: ChildMessage) => void;
  nowMs: () => number;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #queue: Run[] = [];
  readonly #running = new Set<Run>();
  readonly #logprobs: LogprobReader;
  #events: RunEvent[] = [];
  #wake: (() => void) | undefined;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#logprobs = new LogprobReader(parts.addon, parts.vocabulary);
  }

  /** Answers with a `queued` event or a refusal. */
  submit(request: EngineRequest): void {
    const { addon, table, contextTokens, queueLimit, send, root, vocabulary, grammars } = this.#parts;
    const refuse = (refusal: EngineRefusal) => send({ type: "refused", id: request.id, refusal });
    if (this.#queue.length >= queueLimit + table.freeCount) {
      return refuse({ type: "refused", reason: "busy", message: `all sequences are busy and ${this.#queue.length} requests wait` });
    }
    const tokens = addon.model.tokenize(request.prompt, true);
    const room = contextTokens - 1 - tokens.length;
    if (room < 1) {
      const message = `the prompt has ${tokens.length} tokens; the context holds ${contextTokens} and needs room for an answer`;
      return refuse({ type: "refused", reason: "context_length_exceeded", promptTokens: tokens.length, contextTokens, message });
    }
    if (tokens.length === 0) return refuse({ type: "refused", reason: "unavailable", message: "the prompt has no tokens" });
    const grammar = request.grammar === null ? undefined : grammars.start(request.grammar);
    if (grammar?.type === "unsupported") return refuse({ type: "refused", reason: "grammar", message: grammar.message });
    const keys = blockKeys(root, request.salt, tokens, table.blockTokens);
    const sampler = makeRunSampler(addon, vocabulary, request, contextTokens, grammar?.state);
    const run = new Run({ request, tokens, keys, maxTokens: Math.min(request.maxTokens, room) }, sampler);
    this.#queue.push(run);
    this.#tell(run, { type: "queued", promptTokens: tokens.length, tokenEnds: vocabulary.ends(tokens), blockKeys: keys });
    this.#flush();
    this.#wake?.();
  }

  cancel(id: string): void {
    for (const run of [...this.#queue, ...this.#running]) if (run.id === id) run.cancelled = true;
    this.#wake?.();
  }

  acknowledge(id: string, deltas: number): void {
    for (const run of this.#running) if (run.id === id) run.acknowledge(deltas);
    this.#wake?.();
  }

  /** Never returns. */
  async loop(): Promise<never> {
    for (;;) {
      // Made before the step looks, so that no wake-up in between is lost.
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      const worked = await this.#step();
      if (!worked) await woken;
    }
  }

  async #step(): Promise<boolean> {
    for (const run of this.#running) if (run.cancelled) this.#finish(run, "cancelled");
    await this.#admit();
    this.#flush();
    const plan = planStep(this.#running, this.#parts.limits);
    if (plan.length === 0) return false;
    try {
      await this.#compute(plan);
    } catch (error) {
      for (const { run } of plan) {
        // Nobody knows what the failed batch left in these sequences.
        this.#parts.cells.clear(run.sequence);
        if (this.#running.has(run)) this.#finish(run, "error", `the engine could not compute a step: ${String(error)}`);
      }
    }
    this.#flush();
    return true;
  }

  async #admit(): Promise<void> {
    const { table, cells, nowMs } = this.#parts;
    for (let run = this.#queue[0]; run !== undefined; run = this.#queue[0]) {
      const placement = run.cancelled ? undefined : table.place(run);
      if (!run.cancelled && placement === undefined) break;
      this.#queue.shift();
      if (placement === undefined) {
        this.#finish(run, "cancelled");
        continue;
      }
      run.start(placement.target, nowMs());
      table.occupy(placement.target);
      run.cachedTokens = await cells.place(placement, run.keys);
      this.#running.add(run);
      this.#tell(run, { type: "started", cachedTokens: run.cachedTokens });
    }
    // Those further back in the queue need not wait for their turn to be gone.
    for (const run of this.#queue.filter((queued) => queued.cancelled)) {
      this.#queue.splice(this.#queue.indexOf(run), 1);
      this.#finish(run, "cancelled");
    }
  }

  async #compute(plan: readonly PlanItem[]): Promise<void> {
    const { context } = this.#parts.addon;
    context.initBatch(plan.reduce((sum, item) => sum + item.tokens.length, 0));
    const logits = plan.map(({ run, tokens, samples }) => {
      const at = samples ? Uint32Array.of(tokens.length - 1) : new Uint32Array();
      return context.addToBatch(run.sequence.id, run.sequence.tokens.length, tokens, at)[0];
    });
    await context.decodeBatch();
    for (const { run, tokens } of plan) {
      const decoding = run.next !== undefined;
      for (const token of tokens) run.sequence.tokens.push(token);
      if (!decoding) this.#holdNewBlocks(run);
    }
    for (const [index, { run, samples }] of plan.entries()) {
      const logit = logits[index];
      if (samples && logit !== undefined) await this.#sample(run, logit);
    }
  }

  #holdNewBlocks(run: Run): void {
    const { table } = this.#parts;
    const { sequence, keys } = run;
    while ((sequence.blocks.length + 1) * table.blockTokens <= sequence.tokens.length) {
      const key = keys[sequence.blocks.length];
      if (key === undefined) return;
      table.hold(sequence, key);
    }
  }

  async #sample(run: Run, logit: LogitIndex): Promise<void> {
    const { addon, vocabulary, nowMs } = this.#parts;
    let token: number;
    try {
      token = await addon.context.sampleToken(logit, run.sampler);
      if (token < 0) throw new Error("no token is possible");
    } catch (error) {
      // Its grammar has no way on; the others do.
      return this.#finish(run, "error", `the engine could not choose a token: ${error instanceof Error ? error.message : String(error)}`);
    }
    const logprob = run.topLogprobs === null ? undefined : await this.#logprobs.read(logit, token, run.topLogprobs);
    run.countToken(token, nowMs());
    if (addon.model.isEogToken(token)) return this.#finish(run, "stop");
    const bytes = vocabulary.outputBytes(token);
    const text = run.output.push(bytes);
    if (logprob !== undefined) run.logprobs?.push(logprob, bytes, run.output.decoded);
    this.#tellText(run, text, false);
    if (run.output.stopped) this.#finish(run, "stop");
    else if (run.outputTokens >= run.maxTokens) this.#finish(run, "length");
  }

  #finish(run: Run, reason: FinishReason, message?: string): void {
    run.sampler.dispose();
    if (reason === "stop" || reason === "length") this.#tellText(run, run.output.end(), true);
    if (this.#running.delete(run)) {
      const { table, cells } = this.#parts;
      // What decode computed is never shared, so it need not stay.
      cells.trim(run.sequence, run.sequence.blocks.length * table.blockTokens);
      table.release(run.sequence);
    }
    this.#tell(run, run.finished(reason, message));
  }

  #tellText(run: Run, text: string, last: boolean): void {
    const delta = run.delta(text, last);
    if (delta !== undefined) this.#tell(run, delta);
  }

  #tell(run: Run, event: RunEvent["event"]): void {
    this.#events.push({ id: run.id, event });
  }

  #load(): EngineLoad {
    return { running: this.#running.size, queued: this.#queue.length, usedKvTokens: this.#parts.table.usedTokens };
  }

  #flush(): void {
    const changes = this.#parts.table.takeChanges();
    const events = this.#events;
    if (changes.length === 0 && events.length === 0) return;
    this.#events = [];
    this.#parts.send({ type: "step", changes, events, load: this.#load() });
  }
}
