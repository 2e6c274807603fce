/** Valid bodies of OpenAI's responses API, and of its token count: each is answered with 200. */
import { callArguments, type Known, metadata, schema, toolNames } from "./bodies-openai.ts";
import type { Json, Random } from "./random.ts";

function content(random: Random, type: "input_text" | "output_text"): unknown {
  if (random.chance(50)) return random.text();
  return random.list(1, 3, () =>
    type === "output_text" && random.chance(15) ? { type: "refusal", refusal: random.text() } : { type, text: random.text() },
  );
}

function message(random: Random, role: string): Json {
  const type = role === "assistant" ? "output_text" : "input_text";
  return {
    ...(random.chance(60) ? { type: "message" } : {}),
    role,
    content: content(random, type),
    ...random.some({ id: () => `msg_${random.word()}` }, 30),
  };
}

function called(random: Random, names: readonly string[]): Json[] {
  const id = `call_${random.below(1_000)}`;
  const output = random.pick<unknown>([random.text(), [], [{ type: "input_text", text: random.text() }]]);
  return [
    {
      type: "function_call",
      call_id: id,
      name: random.pick(names),
      arguments: callArguments(random),
      ...random.some({ status: () => "completed" }, 50),
    },
    { type: "function_call_output", call_id: id, output },
  ];
}

const dropped = (random: Random): Json =>
  random.pick<Json>([
    { type: "reasoning", id: `rs_${random.word()}`, summary: [], encrypted_content: "AAAA" },
    { type: "web_search_call", id: "ws_1", status: "completed", action: { type: "search", query: random.text() } },
    { type: "mcp_list_tools", server_label: "x", tools: [] },
  ]);

function input(random: Random, names: readonly string[]): unknown {
  if (random.chance(25)) return random.text();
  const items: Json[] = [];
  if (random.chance(40)) items.push(message(random, random.pick(["system", "developer"])));
  for (let turns = random.int(0, 3); turns > 0; turns--) {
    items.push(message(random, "user"));
    if (random.chance(25)) items.push(dropped(random));
    items.push(...(names.length > 0 && random.chance(50) ? called(random, names) : [message(random, "assistant")]));
  }
  items.push(message(random, "user"));
  return items;
}

function tool(random: Random, name: string): Json {
  const optional = random.some({ description: () => random.text(), parameters: () => schema(random), strict: () => random.chance(50) }, 60);
  return { type: "function", name, ...optional };
}

const HOSTED: readonly Json[] = [
  { type: "web_search" },
  { type: "custom", name: "patch", format: { type: "text" } },
  { type: "mcp", server_label: "x" },
];

function tools(random: Random, names: readonly string[]): Json[] {
  const all = names.map((name) => tool(random, name));
  if (random.chance(25)) all.push(structuredClone(random.pick(HOSTED)));
  if (random.chance(25))
    all.push({ type: "namespace", name: random.pick(["space", "mcp__x__"]), tools: [tool(random, "inner"), { type: "custom" }] });
  return all;
}

function choice(random: Random, names: readonly string[]): unknown {
  const named = { type: "function", name: random.pick(names) };
  return random.pick<unknown>(["none", "auto", "required", named, null]);
}

function textFormat(random: Random): Json {
  const wanted = { type: "json_schema", name: "answer", schema: schema(random), ...random.some({ strict: () => random.chance(50) }, 60) };
  const format = random.pick<Json>([{ type: "text" }, { type: "json_object" }, wanted]);
  return { ...random.some({ format: () => format }, 80), ...random.some({ verbosity: () => "low" }, 30) };
}

/** A count takes the same; what only an answer has is simply not used. */
export function responsesBody(random: Random, known: Known): Json {
  const names = toolNames(random);
  return {
    model: known.model,
    input: input(random, names),
    max_output_tokens: random.int(1, 2),
    // Each one kept is a database of its own.
    store: random.chance(8),
    ...(random.chance(30) ? { stream: true } : {}),
    ...(names.length === 0 ? {} : { tools: tools(random, names) }),
    ...(names.length > 0 && random.chance(50) ? { tool_choice: choice(random, names) } : {}),
    ...random.some({ previous_response_id: () => random.pick([null, known.storedId]) }, 12),
    ...random.some({
      instructions: () => random.pick([null, random.text()]),
      background: () => random.pick([null, false]),
      max_tool_calls: () => random.int(1, 5),
      temperature: () => random.below(21) / 10,
      top_p: () => random.int(1, 10) / 10,
      top_logprobs: () => random.below(21),
      include: () => random.pick([null, [], ["message.output_text.logprobs"], ["reasoning.encrypted_content"]]),
      parallel_tool_calls: () => random.chance(50),
      reasoning: () => random.pick<unknown>([null, {}, { effort: "low" }, { effort: null, summary: "auto" }]),
      text: () => textFormat(random),
      truncation: () => random.pick([null, "disabled"]),
      metadata: () => metadata(random),
      prompt_cache_key: () => random.text(),
      user: () => random.text(),
      client_metadata: () => ({ a: random.text() }),
      unknown_field: () => [1, { a: null }],
    }),
  };
}
