/** The engine's own process: a fault in native code ends it, and not the replica. Started by engine.ts; lives as long as its channel. */
import { rmSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { blockKeys } from "./block-keys.ts";
import { boot } from "./boot.ts";
import { KvCells } from "./kv-cells.ts";
import { Grammars } from "./grammars.ts";
import { Intake } from "./intake.ts";
import type { Answer, ChildMessage, ChildOptions, ParentMessage } from "./messages.ts";
import { Scheduler } from "./scheduler.ts";
import { SequenceTable } from "./sequences.ts";
import { Tokenizer } from "./tokenizer.ts";
import { Turns } from "./turns.ts";

function send(message: ChildMessage): void {
  // A send after the parent is gone fails; "disconnect" ends the process then.
  process.send?.(message, undefined, undefined, () => undefined);
}

async function start(options: ChildOptions): Promise<void> {
  const booted = await boot(options, (part) => send({ type: "loading", part }));
  if (booted.type === "unavailable") return send(booted);
  const table = new SequenceTable(options.sequences, options.blockTokens);
  const { addon, vocabulary, root, state } = booted;
  const { blockTokens } = options;
  const { contextTokens } = booted.card;
  const grammars = new Grammars(addon);
  const nowMs = () => performance.now();
  const intake = new Intake({
    addon,
    vocabulary,
    tokenizer: new Tokenizer(addon.model, vocabulary.marks, new Turns(nowMs, setImmediate)),
    grammars,
    root,
    layout: state.layout,
    numbers: booted.kvCard.kvNumbers,
    contextTokens,
    blockTokens,
  });
  const scheduler = new Scheduler({
    addon,
    table,
    cells: new KvCells(addon.context, table, state, options.scratchDirectory),
    intake,
    vocabulary,
    queueLimit: options.queueLimit,
    limits: { batchTokens: booted.batchTokens, prefillChunkTokens: options.prefillChunkTokens },
    send,
    nowMs,
  });
  const hear = async (message: ParentMessage): Promise<void> => {
    if (message.type === "submit") await scheduler.submit(message.request, message.restore);
    if (message.type === "ask") {
      const { id, question } = message;
      const answer = (given: Answer) => send({ type: "answer", id, answer: given });
      if (question.type === "count") answer({ type: "counted", tokens: await intake.count(question.prompt, question.cuts) });
      if (question.type === "prepare") answer(await scheduler.prepare(question.request));
      if (question.type === "prefill") {
        const progressed = (tokens: number) => send({ type: "progress", id, tokens });
        await scheduler.prefill(question.request, question.restore, { wanted: new Set(question.wanted), answer, progressed });
      }
      if (question.type === "keys") answer({ type: "keys", keys: blockKeys(root, question.salt, question.tokens, blockTokens) });
      if (question.type === "export") scheduler.export(question.keys, (blocks) => answer({ type: "exported", blocks }));
    }
    if (message.type === "cancel") scheduler.cancel(message.id);
    if (message.type === "acknowledge") scheduler.acknowledge(message.id, message.deltas);
  };
  process.on("message", (message: ParentMessage) => void hear(message).catch(die));
  send({ type: "ready", card: booted.card, kvCard: booted.kvCard });
  // A process that is killed writes nothing at its end. Without NODE_COMPILE_CACHE there is nothing to write.
  flushCompileCache();
  await scheduler.loop();
}

/** What escapes is a defect: end, so that the parent starts afresh. */
function die(error: unknown): void {
  console.error(error);
  process.exit(1);
}

process.once("message", (message: ParentMessage) => {
  if (message.type !== "start") return;
  const { options } = message;
  process.on("disconnect", () => {
    rmSync(options.scratchDirectory, { recursive: true, force: true });
    process.exit(0);
  });
  start(options).catch(die);
});
// Ctrl-C reaches the whole group; the parent decides when the engine ends.
process.on("SIGINT", () => undefined);
