/** What happened since the last message to the parent, sent as one: changes of residency first, since they allowed the events. */
import type { EngineFaults, EngineLoad } from "../engine.ts";
import type { ChildMessage, RunEvent } from "./messages.ts";
import type { Run } from "./run.ts";
import type { SequenceTable } from "./sequences.ts";

interface StepNewsParts {
  table: SequenceTable;
  send: (message: ChildMessage) => void;
  load: () => EngineLoad;
  faults: () => EngineFaults;
}

export class StepNews {
  readonly #parts: StepNewsParts;
  #events: RunEvent[] = [];
  #loadChanged = false;

  constructor(parts: StepNewsParts) {
    this.#parts = parts;
  }

  /** Runs that hand over have no events, but count. */
  loadChanged(): void {
    this.#loadChanged = true;
  }

  add(run: Run, event: RunEvent["event"]): void {
    this.#loadChanged = true;
    if (run.handOver === undefined) this.#events.push({ id: run.id, event });
  }

  addText(run: Run, text: string, last: boolean): void {
    const delta = run.delta(text, last);
    if (delta !== undefined) this.add(run, delta);
  }

  flush(): void {
    const { table, send, load, faults } = this.#parts;
    const changes = table.takeChanges();
    if (changes.length === 0 && !this.#loadChanged) return;
    const events = this.#events;
    this.#events = [];
    this.#loadChanged = false;
    send({ type: "step", changes, events, load: load(), faults: faults() });
  }
}
