/** A closed loop of streams that runs until it is told to end, and what became of each stream. */
import { decisionOf, type Message, seededRandom, streamChat, type Streamed, type Target, wordsOf } from "../bench/conversations.ts";

export interface LoadOptions {
  callers: number;
  maxTokens: number;
  promptWords: number;
  seed: number;
}

export interface Load {
  /** Ended ones. */
  done: Streamed[];
  /** Whose headers are here, not ended yet. */
  live: ReadonlySet<Streamed>;
  /** No new ones; resolves when the last has ended. */
  end(): Promise<Streamed[]>;
}

export function startLoad(target: Target, options: LoadOptions): Load {
  const { callers, maxTokens, promptWords } = options;
  const random = seededRandom(options.seed);
  const done: Streamed[] = [];
  const live = new Set<Streamed>();
  let ending = false;
  const caller = async (): Promise<void> => {
    while (!ending) {
      const messages: Message[] = [{ role: "user", content: wordsOf(random, promptWords) }];
      const streamed = await streamChat(target, messages, { maxTokens, temperature: 1, onHeaders: (begun) => live.add(begun) });
      live.delete(streamed);
      done.push(streamed);
      // A dead edge refuses at once; nothing is gained by asking it thousands of times.
      if (streamed.end === "cut") await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const all = Promise.all(Array.from({ length: callers }, caller));
  return {
    done,
    live,
    async end() {
      ending = true;
      await all;
      return done;
    },
  };
}

/** Names of the replicas that a request was sent to, first attempt first. */
export async function pathOf(target: Target, id: string): Promise<string[]> {
  const record = await decisionOf(target, id);
  return (record?.attempts ?? []).map(({ candidates, decision }) => candidates[decision.chosen ?? -1]?.name ?? "none");
}
