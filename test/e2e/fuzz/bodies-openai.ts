/** Valid bodies of OpenAI's chat completions and completions APIs: each is answered with 200. */
import type { Json, Random } from "./random.ts";

/** What the generators need to know of the product that runs. */
export interface Known {
  model: string;
  /** Of a stored response. */
  storedId: string;
}

const OUTPUT = 2;
const SCHEMAS: readonly Json[] = [
  { type: "object", properties: {}, additionalProperties: false },
  { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  { type: "object", properties: { unit: { enum: ["C", "F"] }, days: { type: "integer" } }, required: ["unit"] },
  { type: "object", properties: { list: { type: "array", items: { type: "number" } }, deep: { type: "object", properties: {} } } },
  { type: "object", properties: { at: { $ref: "#/$defs/place" } }, $defs: { place: { type: "string" } } },
  { type: "object", properties: { a: { anyOf: [{ type: "string" }, { type: "null" }] } }, description: "any of two" },
];

export const schema = (random: Random): Json => structuredClone(random.pick(SCHEMAS));
export const callArguments = (random: Random): string =>
  random.pick(["{}", '{"city":"Oslo"}', '{"a":[1,{"b":null}]}', "", "no json", '{"cut":']);
export const metadata = (random: Random): Json => Object.fromEntries(random.list(0, 4, (index) => [`key${index}`, random.text()]));

export function toolNames(random: Random): string[] {
  return random.chance(50) ? [] : random.list(1, 3, (index) => `${random.word()}_${index}`);
}

function chatTool(random: Random, name: string): Json {
  const optional = random.some({ description: () => random.text(), parameters: () => schema(random), strict: () => random.chance(50) }, 60);
  return { type: "function", function: { name, ...optional } };
}

const textPart = (random: Random): Json => ({ type: "text", text: random.text() });

function content(random: Random, refusals: boolean): unknown {
  if (random.chance(60)) return random.text();
  return random.list(1, 3, () => (refusals && random.chance(20) ? { type: "refusal", refusal: random.text() } : textPart(random)));
}

/** An assistant's message that calls, and the answers. */
function called(random: Random, names: readonly string[]): Json[] {
  const ids = random.list(1, 2, (index) => `call_${random.below(1_000)}_${index}`);
  const calls = ids.map((id) => ({
    id,
    ...(random.chance(90) ? { type: "function" } : {}),
    function: { name: random.pick(names), arguments: callArguments(random) },
  }));
  const text = random.chance(50) ? { content: random.pick([null, "", random.text()]) } : {};
  return [
    { role: "assistant", ...text, tool_calls: calls },
    ...ids.map((id) => ({ role: "tool", tool_call_id: id, content: content(random, false) })),
  ];
}

function chatMessages(random: Random, names: readonly string[]): Json[] {
  const messages: Json[] = [];
  if (random.chance(60)) messages.push({ role: random.pick(["system", "developer"]), content: content(random, false) });
  for (let turns = random.int(0, 3); turns > 0; turns--) {
    messages.push({ role: "user", content: content(random, false), ...random.some({ name: () => random.word() }, 15) });
    if (names.length > 0 && random.chance(50)) messages.push(...called(random, names));
    else if (random.chance(10)) messages.push({ role: "assistant", content: null, refusal: random.text() });
    else
      messages.push({ role: "assistant", content: content(random, true), ...random.some({ reasoning_content: () => random.text() }, 15) });
  }
  messages.push({ role: "user", content: content(random, false) });
  // It is gone on with.
  if (random.chance(10)) messages.push({ role: "assistant", content: content(random, true) });
  return messages;
}

/** Chat's and completions' alike. */
function sampling(random: Random): Json {
  const fields = random.some({
    temperature: () => random.below(21) / 10,
    top_p: () => random.int(0, 10) / 10,
    seed: () => random.pick([random.below(1_000_000) - 1_000, 2 ** 63, -(2 ** 63), 2 ** 53 + 2]),
    presence_penalty: () => random.below(41) / 10 - 2,
    frequency_penalty: () => random.below(41) / 10 - 2,
    stop: () => random.pick<unknown>(["zzz", ["zz", "yy"], [], null, ["a", "b", "c", "\n"]]),
    n: () => random.pick([1, 1, 1, 2, null]),
    logit_bias: () => random.pick<unknown>([{}, { "5": -100 }, { "11": 1.5, "12": 100 }, null]),
    user: () => random.text(),
    service_tier: () => "auto",
    store: () => random.chance(50),
    metadata: () => metadata(random),
    unknown_field: () => random.pick<unknown>([1, "x", [], { a: { b: [] } }, null]),
  });
  const stream = random.chance(30)
    ? { stream: true, ...random.some({ stream_options: () => ({ include_usage: random.chance(50) }) }, 50) }
    : {};
  return { ...fields, ...stream };
}

function chatChoice(random: Random, names: readonly string[]): unknown {
  const named = { type: "function", function: { name: random.pick(names) } };
  const allowed = {
    type: "allowed_tools",
    allowed_tools: { mode: "auto", tools: names.map((name) => ({ type: "function", function: { name } })) },
  };
  return random.pick<unknown>(["none", "auto", "required", named, allowed, null]);
}

function chatFormat(random: Random): Json {
  const wanted = {
    name: "answer",
    ...random.some({ schema: () => schema(random) }, 90),
    ...random.some({ strict: () => random.chance(50) }, 60),
  };
  return random.pick<Json>([{ type: "text" }, { type: "json_object" }, { type: "json_schema", json_schema: wanted }]);
}

export function chatBody(random: Random, known: Known): Json {
  const names = toolNames(random);
  const limit = random.int(1, OUTPUT);
  const logprobs = random.chance(15) ? { logprobs: true, ...random.some({ top_logprobs: () => random.below(21) }, 60) } : {};
  return {
    model: known.model,
    messages: chatMessages(random, names),
    ...sampling(random),
    ...logprobs,
    // Both: a mutation may free one of the two.
    max_tokens: limit,
    max_completion_tokens: limit,
    ...(names.length === 0 ? {} : { tools: names.map((name) => chatTool(random, name)) }),
    ...(names.length > 0 && random.chance(50) ? { tool_choice: chatChoice(random, names) } : {}),
    ...random.some({
      response_format: () => chatFormat(random),
      parallel_tool_calls: () => random.chance(50),
      reasoning_effort: () => random.pick([null, "none", "minimal", "low", "medium", "high", "xhigh", "max"]),
      modalities: () => random.pick([null, ["text"]]),
      prompt_cache_key: () => random.text(),
    }),
  };
}

export function completionBody(random: Random, known: Known): Json {
  const text = random.text();
  const prompt = text === "" ? "Once" : text;
  const tokens = random.list(1, 20, () => random.below(2_000));
  const shape = random.below(100);
  const fields: Json = {
    model: known.model,
    prompt: shape < 60 ? prompt : shape < 70 ? [prompt] : shape < 80 ? [prompt, "Twice"] : shape < 90 ? tokens : [tokens, prompt, [5, 6]],
    ...sampling(random),
    max_tokens: random.int(1, OUTPUT),
  };
  const draw = random.below(100);
  if (draw < 20 && shape < 80) fields["echo"] = true;
  else if (draw < 40) fields["logprobs"] = random.below(6);
  if (random.chance(15)) fields["best_of"] = fields["n"] ?? 1;
  if (random.chance(10)) fields["suffix"] = random.pick([null, ""]);
  return fields;
}
