/** Seeded conversations and a closed loop that plays them through the edge, noting for each request what was predicted and what was true. */
import type { PlannedTransfer, ScoredCandidate } from "../../src/decision/decision.ts";

export interface ConversationPlan {
  seed: number;
  groups: number;
  /** In all groups together. */
  conversations: number;
  turns: number;
  /** Of the system prompt that a group shares. */
  systemBytes: number;
  /** Words of one user message. */
  userWords: number;
}

export interface Conversation {
  name: string;
  group: number;
  system: string;
  /** One a turn. */
  questions: string[];
}

const NOUNS =
  "lantern harbor ledger orchard compass valley engine willow bridge cellar meadow anchor copper ribbon quarry shelter saddle thicket beacon furnace".split(
    " ",
  );
const VERBS =
  "carries repairs measures follows opens gathers borrows polishes watches counts lifts crosses mends paints sorts weighs".split(" ");
const MARKS = "quiet hollow amber northern patient crooked silver early distant narrow heavy gentle broken painted wooden ancient".split(
  " ",
);
const JOINTS = "and while because although before unless until whenever".split(" ");

/** In [0, 1), the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` words of plain sentences. */
export function wordsOf(random: () => number, count: number): string {
  const pick = (list: readonly string[]): string => list[Math.floor(random() * list.length)] ?? "";
  const words: string[] = [];
  while (words.length < count) {
    words.push("the", pick(MARKS), pick(NOUNS), pick(VERBS), "the", pick(NOUNS));
    words.push(random() < 0.4 ? pick(JOINTS) : `${words.pop() ?? ""}.`);
  }
  return words.slice(0, count).join(" ");
}

export function makeConversations(plan: ConversationPlan): Conversation[] {
  const random = seededRandom(plan.seed);
  const systems = Array.from({ length: plan.groups }, () => wordsOf(random, plan.systemBytes / 4).slice(0, plan.systemBytes));
  return Array.from({ length: plan.conversations }, (_, index) => {
    const group = index % plan.groups;
    const questions = Array.from({ length: plan.turns }, () => wordsOf(random, plan.userWords));
    return { name: `conversation ${index}`, group, system: systems[group] ?? "", questions };
  });
}

export interface Target {
  url: string;
  model: string;
  headers: Record<string, string>;
}

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

type Candidate = Pick<
  ScoredCandidate,
  "name" | "cachedTokens" | "deviceTokens" | "loadedTokens" | "plannedCost" | "terms" | "predictedTtftMs" | "barred"
>;

export interface Attempt {
  attempt: number;
  decidedAtMs: number;
  request: { promptTokens: number; promptBytes: number; segments: number };
  decision: { chosen: number | null; reason: string; transfer: PlannedTransfer | null };
  outcome: { cachedTokens: number | null; promptTokens: number | null; ttftMs: number | null; ended: string | null };
  candidates: Candidate[];
}

export interface DecisionRecord {
  id: string;
  attempts: Attempt[];
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  prompt_tokens_details?: { cached_tokens: number };
}

/** What a client sees of one stream. */
export interface Streamed {
  status: number;
  id: string;
  replica: string;
  attempts: number;
  predictedTokens: number;
  text: string;
  usage: Usage | null;
  /** done: [DONE]; error: an error event; silent: it ended as if complete; refused: no stream came; cut: the connection broke. */
  end: "done" | "error" | "silent" | "refused" | "cut";
  /** Code of the error event or answer, and its sentence. */
  code: string | null;
  message: string;
  /** Lines that are no comment, no blank line and no `data:` with JSON. */
  malformed: string[];
  startedAtMs: number;
  /** First event with a choice; null before. */
  firstAtMs: number | null;
  endedAtMs: number;
}

interface Chunk {
  choices?: { delta?: { content?: string } }[];
  usage?: Usage | null;
  error?: { code: string | null; message: string };
}

function hear(streamed: Streamed, line: string): void {
  if (line === "" || line.startsWith(":")) return;
  if (line === "data: [DONE]") {
    streamed.end = "done";
    return;
  }
  let chunk: Chunk;
  try {
    if (!line.startsWith("data: ")) throw new SyntaxError("no data line");
    chunk = JSON.parse(line.slice(6)) as Chunk;
  } catch {
    streamed.malformed.push(line);
    return;
  }
  if (chunk.error !== undefined) {
    streamed.end = "error";
    streamed.code = chunk.error.code;
    streamed.message = chunk.error.message;
  }
  if (chunk.usage) streamed.usage = chunk.usage;
  if (chunk.choices !== undefined && chunk.choices.length > 0) streamed.firstAtMs ??= performance.now();
  streamed.text += chunk.choices?.[0]?.delta?.content ?? "";
}

/** The lines of a body, the last one also when nothing ends it. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

export interface StreamOptions {
  maxTokens: number;
  temperature?: number;
  /** Called with the record as soon as its headers are here; it goes on changing until the stream ends. */
  onHeaders?: (streamed: Streamed) => void;
}

/** Never throws for what the edge or the network does; `end` says it. */
export async function streamChat(target: Target, messages: readonly Message[], options: StreamOptions): Promise<Streamed> {
  const nowMs = performance.now();
  const nothing = {
    status: 0,
    id: "",
    replica: "",
    attempts: 0,
    predictedTokens: 0,
    text: "",
    usage: null,
    code: null,
    message: "",
    malformed: [],
  };
  const streamed: Streamed = { ...nothing, end: "silent", startedAtMs: nowMs, firstAtMs: null, endedAtMs: nowMs };
  try {
    const body = JSON.stringify({
      model: target.model,
      messages,
      max_tokens: options.maxTokens,
      temperature: options.temperature ?? 0,
      stream: true,
      stream_options: { include_usage: true },
    });
    const response = await fetch(`${target.url}/v1/chat/completions`, { method: "POST", headers: target.headers, body });
    const header = (name: string): string => response.headers.get(name) ?? "";
    streamed.status = response.status;
    streamed.id = header("x-request-id");
    streamed.replica = header("x-warmpath-replica");
    streamed.attempts = Number(header("x-warmpath-attempts"));
    streamed.predictedTokens = Number(header("x-warmpath-cached-tokens"));
    if (response.status !== 200 || response.body === null) {
      streamed.end = "refused";
      const { error } = (await response.json()) as Chunk;
      streamed.code = error?.code ?? null;
      streamed.message = error?.message ?? "";
    } else {
      options.onHeaders?.(streamed);
      for await (const line of linesOf(response.body)) hear(streamed, line);
    }
  } catch {
    streamed.end = "cut";
  }
  streamed.endedAtMs = performance.now();
  return streamed;
}

/** Null when it is not kept. */
export async function decisionOf(target: Target, id: string): Promise<DecisionRecord | null> {
  const response = await fetch(`${target.url}/v1/decisions/${id}`, { headers: target.headers });
  if (response.status === 200) return (await response.json()) as DecisionRecord;
  await response.body?.cancel();
  return null;
}

export interface Measured extends Streamed {
  conversation: string;
  group: number;
  /** From 0. */
  turn: number;
  /** By the engine's word. */
  cachedTokens: number;
  promptTokens: number;
  outputTokens: number;
  ttftMs: number;
  /** Null below two output tokens. */
  tpotMs: number | null;
  decision: DecisionRecord | null;
}

function measured(conversation: Conversation, turn: number, streamed: Streamed): Measured {
  const { usage, startedAtMs, firstAtMs, endedAtMs } = streamed;
  const outputTokens = usage?.completion_tokens ?? 0;
  return {
    ...streamed,
    conversation: conversation.name,
    group: conversation.group,
    turn,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    promptTokens: usage?.prompt_tokens ?? 0,
    outputTokens,
    ttftMs: (firstAtMs ?? endedAtMs) - startedAtMs,
    tpotMs: firstAtMs === null || outputTokens < 2 ? null : (endedAtMs - firstAtMs) / (outputTokens - 1),
    decision: null,
  };
}

export interface PlayOptions {
  concurrency: number;
  maxTokens: number;
  /** Which of `waiting` conversations, longest waiting first, plays next; the first by default, so that all take turns. */
  next?: (waiting: number) => number;
}

/** Closed loop: `concurrency` callers, each plays the next turn of the conversation that `next` names. In the order of their ends. */
export async function play(target: Target, conversations: readonly Conversation[], options: PlayOptions): Promise<Measured[]> {
  const waiting = conversations.map((conversation) => ({
    conversation,
    turn: 0,
    messages: [{ role: "system", content: conversation.system }] as Message[],
  }));
  const done: Measured[] = [];
  const caller = async (): Promise<void> => {
    const take = () => waiting.splice(options.next?.(waiting.length) ?? 0, 1)[0];
    for (let next = take(); next !== undefined; next = take()) {
      const { conversation, turn, messages } = next;
      messages.push({ role: "user", content: conversation.questions[turn] ?? "" });
      const streamed = await streamChat(target, messages, { maxTokens: options.maxTokens });
      messages.push({ role: "assistant", content: streamed.text });
      done.push(measured(conversation, turn, streamed));
      next.turn++;
      if (next.turn < conversation.questions.length) waiting.push(next);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, caller));
  return done;
}

/** Fetches each one's decision record: after the load, so that it is not part of it. */
export async function withDecisions(target: Target, requests: readonly Measured[]): Promise<Measured[]> {
  const told: Measured[] = [];
  for (const request of requests) told.push({ ...request, decision: await decisionOf(target, request.id) });
  return told;
}
