/** The engine's own process: a fault in native code ends it, and not the replica. Started by engine.ts; lives as long as its channel. */
import { rmSync } from "node:fs";
import { boot } from "./boot.ts";
import { createKvCells } from "./kv-cells.ts";
import { Grammars } from "./grammars.ts";
import type { ChildMessage, ChildOptions, ParentMessage } from "./messages.ts";
import { Scheduler } from "./scheduler.ts";
import { SequenceTable } from "./sequences.ts";

function send(message: ChildMessage): void {
  // A send after the parent is gone fails; "disconnect" ends the process then.
  process.send?.(message, undefined, undefined, () => undefined);
}

async function start(options: ChildOptions): Promise<void> {
  const booted = await boot(options);
  if (booted.type === "unavailable") return send(booted);
  const table = new SequenceTable(options.sequences, options.blockTokens);
  const scheduler = new Scheduler({
    addon: booted.addon,
    table,
    cells: createKvCells(booted.addon.context, table, options.scratchDirectory),
    grammars: new Grammars(booted.addon, booted.random),
    vocabulary: booted.vocabulary,
    root: booted.root,
    contextTokens: options.contextTokens,
    queueLimit: options.queueLimit,
    limits: { batchTokens: booted.batchTokens, prefillChunkTokens: options.prefillChunkTokens },
    send,
    nowMs: () => performance.now(),
  });
  process.on("message", (message: ParentMessage) => {
    if (message.type === "submit") scheduler.submit(message.request);
    if (message.type === "count") {
      send({ type: "counted", id: message.id, tokens: booted.addon.model.tokenize(message.prompt, true).length });
    }
    if (message.type === "cancel") scheduler.cancel(message.id);
    if (message.type === "acknowledge") scheduler.acknowledge(message.id, message.deltas);
  });
  send({ type: "ready", card: booted.card });
  await scheduler.loop();
}

process.once("message", (message: ParentMessage) => {
  if (message.type !== "start") return;
  const { options } = message;
  process.on("disconnect", () => {
    rmSync(options.scratchDirectory, { recursive: true, force: true });
    process.exit(0);
  });
  // What escapes is a defect: end, so that the parent starts afresh.
  start(options).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
// Ctrl-C reaches the whole group; the parent decides when the engine ends.
process.on("SIGINT", () => undefined);
