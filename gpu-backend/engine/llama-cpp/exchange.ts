/** The embedded engine's KV on its way out of the child process and into it. */
import type {
  EngineKey,
  EngineRefusal,
  EngineRequest,
  EngineRun,
  KeyedBlock,
  KvCard,
  KvExchange,
  Prefilled,
  PrefillOptions,
  PreparedKv,
  Restore,
} from "../engine.ts";
import { exportedBlocksLimit, type Answer, type ChildRequest, type Failed, type Question } from "./messages.ts";

export const refused = (message: string): EngineRefusal => ({ type: "refused", reason: "unavailable", message });
export const messageOf = (answer: Answer): string => ("message" in answer ? answer.message : "the engine's process spoke out of turn");

/** The engine's process, whichever runs now. */
interface ExchangeParts {
  /** As the child gets it. */
  read(request: EngineRequest): Promise<ChildRequest | EngineRefusal>;
  /** Undefined while the engine is down. */
  ask(question: Question, progressed?: (tokens: number) => void): Promise<Answer | undefined>;
  down(): EngineRefusal;
  submit(request: EngineRequest, restore: Restore): Promise<EngineRun | EngineRefusal>;
  cancel(id: string): void;
}

export class LlamaExchange implements KvExchange {
  readonly card: KvCard;
  readonly #parts: ExchangeParts;

  constructor(card: KvCard, parts: ExchangeParts) {
    this.card = card;
    this.#parts = parts;
  }

  async prepare(request: EngineRequest): Promise<PreparedKv | EngineRefusal> {
    const read = await this.#parts.read(request);
    if ("reason" in read) return read;
    const answer = await this.#parts.ask({ type: "prepare", request: read });
    if (answer === undefined) return this.#parts.down();
    if (answer.type === "prepared" || answer.type === "refused") return answer;
    return refused(messageOf(answer));
  }

  import(request: EngineRequest, restore: Restore): Promise<EngineRun | EngineRefusal> {
    return this.#parts.submit(request, restore);
  }

  async export(keys: readonly EngineKey[]): Promise<KeyedBlock[]> {
    const blocks: KeyedBlock[] = [];
    for (let from = 0; from < keys.length; from += exportedBlocksLimit) {
      const answer = await this.#parts.ask({ type: "export", keys: keys.slice(from, from + exportedBlocksLimit) });
      if (answer?.type === "exported") blocks.push(...answer.blocks);
    }
    return blocks;
  }

  async prefill(
    request: EngineRequest,
    wanted: ReadonlySet<EngineKey>,
    signal: AbortSignal,
    { restore, progressed }: PrefillOptions = {},
  ): Promise<Prefilled | EngineRefusal | Failed> {
    const read = await this.#parts.read(request);
    if ("reason" in read) return read;
    if (signal.aborted) return { type: "failed", message: "cancelled" };
    const asked = this.#parts.ask({ type: "prefill", request: read, wanted: [...wanted], restore }, progressed);
    const cancel = () => this.#parts.cancel(request.id);
    signal.addEventListener("abort", cancel);
    const answer = await asked;
    signal.removeEventListener("abort", cancel);
    if (answer === undefined) return this.#parts.down();
    if (answer.type === "prefilled" || answer.type === "refused") return answer;
    return { type: "failed", message: messageOf(answer) };
  }

  async blockKeys(tokens: Uint32Array, salt: string): Promise<EngineKey[]> {
    const answer = await this.#parts.ask({ type: "keys", tokens, salt });
    return answer?.type === "keys" ? answer.keys : [];
  }
}
