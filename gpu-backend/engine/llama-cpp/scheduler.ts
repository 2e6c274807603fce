/**
 * The engine's heart: admits runs to sequences and computes step after step, each a few batches over all runs that can go on. Everything that
 * touches the context happens between two batches, so a cancelled run is gone within one step.
 */
import type { EngineKey, EngineRefusal, FinishReason, FirstToken, KeyedBlock, PreparedKv, Restore, TokenLogprob } from "../engine.ts";
import type { Addon, LogitIndex } from "./binding.ts";
import type { Intake } from "./intake.ts";
import { type KvCells, UncleanCells } from "./kv-cells.ts";
import { LogprobReader } from "./logprobs.ts";
import type { ChildMessage, ChildRequest } from "./messages.ts";
import { planStep, type PlanItem, type StepLimits } from "./plan.ts";
import { Readings } from "./readings.ts";
import { type Choice, LogitProbe } from "./sampling.ts";
import type { HandOver, Run } from "./run.ts";
import type { Placement, SequenceTable } from "./sequences.ts";
import { StepNews } from "./step-news.ts";
import { Transfers } from "./transfers.ts";
import type { Vocabulary } from "./vocabulary.ts";

interface SchedulerParts {
  addon: Addon;
  table: SequenceTable;
  cells: KvCells;
  vocabulary: Vocabulary;
  intake: Intake;
  queueLimit: number;
  limits: StepLimits;
  send: (message: ChildMessage) => void;
  nowMs: () => number;
}

interface Export {
  keys: readonly EngineKey[];
  answer: (blocks: KeyedBlock[]) => void;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #queue: Run[] = [];
  readonly #running = new Set<Run>();
  readonly #readings: Readings;
  readonly #logprobs: LogprobReader;
  readonly #transfers: Transfers;
  readonly #probe: LogitProbe;
  readonly #news: StepNews;
  readonly #exports: Export[] = [];
  /** Runs that ended because their logits were not finite. */
  #notFinite = 0;
  #wake: (() => void) | undefined;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#readings = new Readings(parts.intake);
    this.#logprobs = new LogprobReader(parts.addon, parts.vocabulary);
    this.#probe = new LogitProbe(parts.addon);
    this.#transfers = new Transfers(parts.table, parts.cells, parts.nowMs);
    this.#news = new StepNews({
      ...parts,
      load: () => ({ running: this.#running.size, queued: this.#queue.length, usedKvTokens: parts.table.usedTokens }),
      faults: () => ({ restores: this.#transfers.failures, notFinite: this.#notFinite }),
    });
  }

  /** Answers with a `queued` event or a refusal. */
  async submit(request: ChildRequest, restore: Restore | undefined): Promise<void> {
    const { send, vocabulary } = this.#parts;
    const run = this.#busy() ?? (await this.#readings.read(request));
    if ("type" in run) return send({ type: "refused", id: request.id, refusal: run });
    this.#give(run, restore);
    this.#queue.push(run);
    const { tokens, keys } = run;
    this.#news.add(run, { type: "queued", promptTokens: tokens.length, blocks: { tokenEnds: vocabulary.ends(tokens), blockKeys: keys } });
    this.#news.flush();
    this.#wake?.();
  }

  async prepare(request: ChildRequest): Promise<PreparedKv | EngineRefusal> {
    const { intake, table } = this.#parts;
    const read = await intake.prepare(request);
    if (read.type === "refused") return read;
    const { tokens, keys } = read;
    return {
      type: "prepared",
      tokens,
      blockKeys: keys,
      heldBlocks: table.heldBlocks(read),
      reusableBlocks: table.reusableBlocks(tokens.length),
    };
  }

  async prefill(request: ChildRequest, restore: Restore | undefined, handOver: HandOver): Promise<void> {
    const run = this.#busy() ?? (await this.#readings.read(request, handOver));
    if ("type" in run) return handOver.answer(run);
    this.#give(run, restore);
    this.#queue.push(run);
    this.#wake?.();
  }

  #give(run: Run, restore: Restore | undefined): void {
    run.restore = restore === undefined ? undefined : this.#parts.intake.check(restore, run);
    if (restore !== undefined && run.restore === undefined) this.#transfers.countFailure();
  }

  export(keys: readonly EngineKey[], answer: (blocks: KeyedBlock[]) => void): void {
    this.#exports.push({ keys, answer });
    this.#wake?.();
  }

  cancel(id: string): void {
    this.#readings.cancel(id);
    for (const run of [...this.#queue, ...this.#running]) if (run.id === id) run.cancelled = true;
    this.#wake?.();
  }

  acknowledge(id: string, deltas: number): void {
    for (const run of this.#running) if (run.id === id) run.acknowledge(deltas);
    this.#wake?.();
  }

  /** Never returns. Rejects when the process must end. */
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
    this.#news.flush();
    // One a step, so that many do not hold up the runs.
    const asked = this.#exports.shift();
    if (asked !== undefined) asked.answer(await this.#transfers.read(asked.keys));
    const batches = planStep(this.#running, this.#parts.limits);
    for (const batch of batches) {
      await this.#compute(batch).catch((error: unknown) => this.#giveUp(batch, error));
      this.#news.flush();
      for (const { run } of batch) if (run.first !== undefined && this.#running.has(run)) await this.#handOver(run, run.first);
    }
    return batches.length > 0 || asked !== undefined;
  }

  /** Nobody knows what the failed batch left in its sequences. */
  async #giveUp(batch: readonly PlanItem[], error: unknown): Promise<void> {
    if (error instanceof UncleanCells) throw error;
    for (const { run } of batch) {
      // One that has ended already was computed before the fault.
      if (!this.#running.has(run)) continue;
      await this.#spoilt(run, `the engine could not compute a step: ${String(error)}`);
    }
  }

  /** Nothing of the run's sequence is announced, kept or given away, and nobody meets its numbers in freed cells. */
  async #spoilt(run: Run, message: string): Promise<void> {
    await this.#parts.cells.zero(run.sequence);
    this.#finish(run, "error", message);
  }

  #busy(): EngineRefusal | undefined {
    const { table, queueLimit } = this.#parts;
    const waiting = this.#queue.length + this.#readings.count;
    if (waiting < queueLimit + table.freeCount) return undefined;
    return { type: "refused", reason: "busy", message: `all sequences are busy and ${waiting} requests wait` };
  }

  async #admit(): Promise<void> {
    const { table } = this.#parts;
    for (let run = this.#queue[0]; run !== undefined; run = this.#queue[0]) {
      const placement = run.cancelled ? undefined : table.place(run, run.restore?.tail !== undefined);
      if (!run.cancelled && placement === undefined) break;
      this.#queue.shift();
      if (placement === undefined) {
        this.#finish(run, "cancelled");
        continue;
      }
      await this.#start(run, placement);
    }
    // Those further back in the queue need not wait for their turn to be gone.
    for (const run of this.#queue.filter((queued) => queued.cancelled)) {
      this.#queue.splice(this.#queue.indexOf(run), 1);
      this.#finish(run, "cancelled");
    }
  }

  async #start(run: Run, placement: Placement): Promise<void> {
    const { table, nowMs } = this.#parts;
    run.start(placement.target, nowMs());
    table.occupy(placement.target);
    const first = await this.#transfers.place(run, placement);
    run.cachedTokens = run.sequence.blocks.length * table.blockTokens;
    this.#running.add(run);
    this.#news.add(run, { type: "started", cachedTokens: run.cachedTokens, restoreMs: run.restoreMs });
    if (first !== undefined) this.#take(run, first.token, first.logprobs ?? undefined);
  }

  async #handOver(run: Run, first: FirstToken): Promise<void> {
    const { handOver } = run;
    if (handOver === undefined) return;
    try {
      const prefilled = await this.#transfers.handOver(run, first, handOver.wanted);
      this.#end(run);
      this.#news.flush();
      handOver.answer(prefilled);
    } catch (error) {
      this.#finish(run, "error", `the engine could not export the prompt: ${String(error)}`);
    }
  }

  async #compute(plan: readonly PlanItem[]): Promise<void> {
    const { context } = this.#parts.addon;
    context.initBatch(plan.reduce((sum, item) => sum + item.tokens.length, 0));
    // The last token of every piece attends to all before it: its logits tell whether any of their KV is not finite.
    const logits = plan.map(({ run, tokens }) =>
      context.addToBatch(run.sequence.id, run.sequence.tokens.length, tokens, Uint32Array.of(tokens.length - 1)),
    );
    await context.decodeBatch();
    for (const [index, item] of plan.entries()) {
      const logit = logits[index]?.[0];
      if (logit === undefined) throw new Error("llama.cpp returned no logits");
      await this.#computed(item, logit);
    }
  }

  async #computed({ run, tokens, samples }: PlanItem, logit: LogitIndex): Promise<void> {
    const choice = samples ? await this.#choose(run, logit) : null;
    const finite = choice === null || "why" in choice ? await this.#probe.isFinite(logit) : choice.finite;
    if (!finite) {
      this.#notFinite++;
      return this.#spoilt(run, "the engine computed numbers that are not finite");
    }
    const decoding = run.next !== undefined;
    for (const token of tokens) run.sequence.tokens.push(token);
    if (!decoding) this.#parts.table.holdFull(run.sequence, run.keys);
    run.handOver?.progressed(run.sequence.tokens.length);
    if (choice === null) return;
    // Its grammar has no way on; the others do.
    if ("why" in choice) return this.#finish(run, "error", `the engine could not choose a token: ${choice.why}`);
    const logprob = run.topLogprobs === null ? undefined : await this.#logprobs.read(logit, choice.token, run.topLogprobs);
    this.#take(run, choice.token, logprob);
  }

  async #choose(run: Run, logit: LogitIndex): Promise<Choice | { why: string }> {
    try {
      return await run.sampler.sample(logit);
    } catch (error) {
      return { why: error instanceof Error ? error.message : String(error) };
    }
  }

  /** The run's next token is known, however. */
  #take(run: Run, token: number, logprob: TokenLogprob | undefined): void {
    const { addon, vocabulary, nowMs } = this.#parts;
    run.countToken(token, nowMs());
    if (run.handOver !== undefined) {
      run.first = { token, bytes: Uint8Array.from(vocabulary.outputBytes(token)), logprobs: logprob ?? null };
      return;
    }
    if (addon.model.isEogToken(token)) return this.#finish(run, "stop");
    const bytes = vocabulary.outputBytes(token);
    const text = run.output.push(bytes);
    if (logprob !== undefined) run.logprobs?.push(logprob, bytes, run.output.decoded);
    this.#news.addText(run, text, false);
    if (run.output.stopped) this.#finish(run, "stop");
    else if (run.outputTokens >= run.maxTokens) this.#finish(run, "length");
  }

  #finish(run: Run, reason: FinishReason, message?: string): void {
    if (reason === "stop" || reason === "length") this.#news.addText(run, run.output.end(), true);
    this.#end(run);
    this.#news.add(run, run.finished(reason, message));
    if (run.handOver === undefined) return;
    this.#news.flush();
    run.handOver.answer({ type: "failed", message: message ?? reason });
  }

  #end(run: Run): void {
    run.sampler.dispose();
    this.#news.loadChanged();
    if (this.#running.delete(run)) {
      const { table, cells } = this.#parts;
      // What decode computed is never shared, so it need not stay.
      cells.trim(run.sequence, run.sequence.blocks.length * table.blockTokens);
      table.release(run.sequence);
    }
  }
}
