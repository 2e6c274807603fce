/** Requests on their way into the queue: their prompts are being tokenized, and they may be cancelled meanwhile. */
import type { EngineRefusal } from "../engine.ts";
import type { Intake } from "./intake.ts";
import type { ChildRequest } from "./messages.ts";
import type { HandOver, Run } from "./run.ts";

export class Readings {
  readonly #intake: Pick<Intake, "run">;
  readonly #open = new Map<string, { cancelled: boolean }>();

  constructor(intake: Pick<Intake, "run">) {
    this.#intake = intake;
  }

  get count(): number {
    return this.#open.size;
  }

  async read(request: ChildRequest, handOver?: HandOver): Promise<Run | EngineRefusal> {
    const reading = { cancelled: false };
    this.#open.set(request.id, reading);
    try {
      const run = await this.#intake.run(request, handOver);
      if (!("type" in run)) run.cancelled = reading.cancelled;
      return run;
    } finally {
      this.#open.delete(request.id);
    }
  }

  cancel(id: string): void {
    const reading = this.#open.get(id);
    if (reading !== undefined) reading.cancelled = true;
  }
}
