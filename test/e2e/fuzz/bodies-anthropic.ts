/** Valid bodies of Anthropic's messages API, and of its token count: each is answered with 200. */
import { type Known, schema, toolNames } from "./bodies-openai.ts";
import type { Json, Random } from "./random.ts";

const marked = (random: Random): Json => random.some({ cache_control: () => ({ type: "ephemeral" }) }, 20);
const textBlock = (random: Random): Json => ({ type: "text", text: random.text(), ...marked(random) });
const documentBlock = (random: Random): Json =>
  random.pick<Json>([
    {
      type: "document",
      source: { type: "text", media_type: "text/plain", data: random.text() },
      ...random.some({ title: () => random.text() }),
    },
    { type: "document", source: { type: "content", content: [{ type: "text", text: random.text() }] } },
    { type: "search_result", source: "https://a.test", title: random.text(), content: [{ type: "text", text: random.text() }] },
  ]);

function resultBlock(random: Random, id: string): Json {
  const content = random.pick<unknown>([random.text(), [textBlock(random)], [documentBlock(random)], [], null]);
  return {
    type: "tool_result",
    tool_use_id: id,
    ...(random.chance(90) ? { content } : {}),
    ...random.some({ is_error: () => random.chance(50) }, 30),
  };
}

const thinking = (random: Random): Json =>
  random.pick<Json>([
    { type: "thinking", thinking: random.text(), signature: "AAAA" },
    { type: "redacted_thinking", data: "AAAA" },
  ]);

function called(random: Random, names: readonly string[]): Json[] {
  const ids = random.list(1, 2, (index) => `toolu_${random.below(1_000)}_${index}`);
  const uses = ids.map((id) => ({
    type: "tool_use",
    id,
    name: random.pick(names),
    input: random.pick<Json>([{}, { city: "Oslo" }, { a: [null, {}] }]),
  }));
  const before = random.chance(40) ? [random.chance(50) ? thinking(random) : textBlock(random)] : [];
  const after = random.chance(40) ? [textBlock(random)] : [];
  return [
    { role: "assistant", content: [...before, ...uses] },
    { role: "user", content: [...ids.map((id) => resultBlock(random, id)), ...after] },
  ];
}

function said(random: Random, role: "user" | "assistant"): Json {
  if (random.chance(50)) return { role, content: random.text() };
  const blocks = random.list(1, 3, () => {
    if (random.chance(80)) return textBlock(random);
    return role === "assistant" ? thinking(random) : documentBlock(random);
  });
  return { role, content: blocks };
}

function messages(random: Random, names: readonly string[]): Json[] {
  const all: Json[] = [];
  for (let turns = random.int(0, 3); turns > 0; turns--) {
    all.push(said(random, "user"));
    if (names.length > 0 && random.chance(50)) all.push(...called(random, names));
    else all.push(said(random, "assistant"));
    if (random.chance(10)) all.push({ role: "system", content: random.text() });
  }
  all.push(said(random, "user"));
  return all;
}

function tool(random: Random, name: string): Json {
  return {
    name,
    input_schema: schema(random),
    ...marked(random),
    ...random.some({ description: () => random.text(), type: () => "custom", strict: () => false }, 40),
  };
}

const HOSTED: readonly Json[] = [
  { type: "web_search_20250305", name: "web_search", max_uses: 3 },
  { type: "bash_20250124", name: "bash" },
];

function choice(random: Random, names: readonly string[]): Json | null {
  const chosen = random.pick<Json | null>([
    { type: "auto" },
    { type: "any" },
    { type: "none" },
    { type: "tool", name: random.pick(names) },
    null,
  ]);
  return chosen === null ? null : { ...chosen, ...random.some({ disable_parallel_tool_use: () => random.chance(50) }) };
}

/** What a count takes as well. */
export function countTokensBody(random: Random, known: Known): Json {
  const names = toolNames(random);
  const hosted = random.chance(25) ? [structuredClone(random.pick(HOSTED))] : [];
  return {
    model: known.model,
    messages: messages(random, names),
    ...(names.length === 0 ? {} : { tools: [...names.map((name) => tool(random, name)), ...hosted] }),
    ...(names.length > 0 && random.chance(50) ? { tool_choice: choice(random, names) } : {}),
    ...random.some({
      system: () => random.pick<unknown>([random.text(), [textBlock(random)], [textBlock(random), textBlock(random)], [], null]),
      thinking: () => random.pick<unknown>([{ type: "adaptive" }, { type: "disabled" }, { type: "enabled", budget_tokens: 2_048 }, null]),
      output_config: () =>
        random.pick<unknown>([{}, { effort: "max" }, { effort: null }, { format: { type: "json_schema", schema: schema(random) } }, null]),
      cache_control: () => ({ type: "ephemeral" }),
      context_management: () => ({ edits: [] }),
    }),
  };
}

export function messagesBody(random: Random, known: Known): Json {
  return {
    ...countTokensBody(random, known),
    max_tokens: random.int(1, 2),
    ...(random.chance(30) ? { stream: true } : {}),
    ...random.some({
      temperature: () => random.below(11) / 10,
      top_p: () => random.int(0, 10) / 10,
      top_k: () => random.int(1, 50),
      stop_sequences: () => random.pick<unknown>([[], ["zzz"], ["a", "b", "c", "d", "e"], null]),
      metadata: () => ({ user_id: random.pick([random.text(), '{"session_id":"s1"}', "user_1_session_ab-c", "{"]) }),
      service_tier: () => "auto",
      unknown_field: () => [1, { a: null }],
    }),
  };
}
