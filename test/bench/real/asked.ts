/** The agent generator's plan, brought to this machine's size: what each request says, when, and how much it wants. */
import { streamOf } from "../../../simulator/chance.ts";
import { paced, type Plan, type PlannedRequest, TreeBuilder } from "../../../simulator/plan.ts";
import { agentPlan } from "../../../simulator/workload-agent.ts";
import { type Message, seededRandom, wordsOf } from "../conversations.ts";

export interface Scale {
  requests: number;
  /** Sessions begin at such a rate that the plan's requests, evenly spread, would be so many a second. */
  requestsPerSecond: number;
  /** Words of text for each planned token of a prompt. */
  wordsPerToken: number;
  /** Output tokens for each planned one, and the least and most. */
  outputShare: number;
  leastOutputTokens: number;
  mostOutputTokens: number;
  /** Of the plan's pauses. */
  pauseShare: number;
}

/** One request as it is sent. Its answer's place in later prompts is taken by text of the plan, so every run and profile is asked the same. */
export interface Asked {
  id: number;
  session: string;
  /** ms from the run's start; null: it follows others. */
  at: number | null;
  after: readonly number[];
  gapMs: number;
  messages: readonly Message[];
  maxTokens: number;
}

export interface AskedPlan {
  plan: Plan;
  asked: readonly Asked[];
  /** Characters of each segment's text. */
  lengths: readonly number[];
}

/** The generator cuts what is said into segments of so many tokens; a shorter one ends it. */
const WHOLE_SEGMENT_TOKENS = 256;

export function askedPlan(seed: number, scale: Scale): AskedPlan {
  const plan = paced(agentPlan(streamOf(seed, 1), scale.requests), scale.requestsPerSecond);
  const { tree } = plan;
  const answers = new Set(plan.requests.flatMap(({ path, promptSegments }) => [...path.subarray(promptSegments)]));
  const sizeOf = (segment: number): number => (tree.ends[segment] ?? 0) - (tree.starts[segment] ?? 0);
  const texts = Array.from(tree.hashes, (hash, segment) => {
    const words = Math.max(1, Math.round(sizeOf(segment) * scale.wordsPerToken));
    return wordsOf(seededRandom(Number(hash & 0xffffffffn)), words);
  });
  const asked = plan.requests.map(({ id, session, at, after, gapMs, outputTokens, path, promptSegments }): Asked => {
    const messages: Message[] = [];
    let open: Message | null = null;
    for (const segment of path.subarray(0, promptSegments)) {
      const role = answers.has(segment) ? "assistant" : messages.length === 0 ? "system" : "user";
      const text = texts[segment] ?? "";
      const goesOn: boolean = open !== null && (open.role === "assistant") === (role === "assistant");
      if (open !== null && goesOn) open.content += ` ${text}`;
      else messages.push((open = { role, content: text }));
      if (sizeOf(segment) < WHOLE_SEGMENT_TOKENS) open = null;
    }
    const wanted = Math.round(outputTokens * scale.outputShare);
    const maxTokens = Math.min(scale.mostOutputTokens, Math.max(scale.leastOutputTokens, wanted));
    return { id, session: session ?? `request-${id}`, at, after, gapMs: gapMs * scale.pauseShare, messages, maxTokens };
  });
  return { plan, asked, lengths: texts.map((text) => text.length) };
}

/** What a replica counted of one request. */
export interface Counted {
  promptTokens: number;
  outputTokens: number;
}

/** A request long after all others, so that the simulator measures to the end (it stops when the last session begins). */
const CLOSING_MS = 600_000;

/**
 * The same requests with the tokens that the replicas counted, for the simulator. A request's tokens beyond those known from earlier ones belong to its
 * new segments, by their characters. Answers are segments only where a later prompt has them: the embedded engine shares nothing that it generated.
 */
export function countedPlan({ plan, asked, lengths }: AskedPlan, counted: readonly Counted[]): Plan {
  const tree = new TreeBuilder();
  const places = new Map<number, number>();
  const requests = plan.requests.map((request): PlannedRequest => {
    const { promptTokens, outputTokens } = counted[request.id] ?? { promptTokens: 0, outputTokens: 0 };
    const prompt = request.path.subarray(0, request.promptSegments);
    const fresh = [...prompt].filter((segment) => !places.has(segment));
    let parent = prompt.length > fresh.length ? (places.get(prompt[prompt.length - fresh.length - 1] ?? 0) ?? -1) : -1;
    let characters = fresh.reduce((sum, segment) => sum + (lengths[segment] ?? 0), 0);
    for (const segment of fresh) {
      const left = promptTokens - (parent === -1 ? 0 : tree.endOf(parent));
      const tokens = Math.max(1, Math.round((left * (lengths[segment] ?? 0)) / Math.max(1, characters)));
      characters -= lengths[segment] ?? 0;
      parent = tree.add(parent, plan.tree.hashes[segment] ?? 1n, tokens);
      places.set(segment, parent);
    }
    const path = Int32Array.from(prompt, (segment) => places.get(segment) ?? 0);
    const chain = BigUint64Array.from(path, (segment) => tree.hashOf(segment));
    const { gapMs } = asked[request.id] ?? { gapMs: 0 };
    return {
      ...request,
      gapMs,
      promptTokens: tree.endOf(path.at(-1) ?? 0),
      outputTokens: Math.max(1, outputTokens),
      path,
      promptSegments: path.length,
      chain,
    };
  });
  const last = tree.add(-1, 1n, 1);
  const alone = { path: Int32Array.of(last), promptSegments: 1, chain: BigUint64Array.of(1n), promptTokens: 1, outputTokens: 1 };
  requests.push({ id: requests.length, session: null, at: CLOSING_MS, after: [], gapMs: 0, ...alone });
  return { name: plan.name, tree: tree.build(), requests };
}
