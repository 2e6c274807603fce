/** OpenAI's own client against the started product: what a user's existing program does, unchanged but for the base URL. */
import OpenAI, { APIError, AuthenticationError, BadRequestError, NotFoundError } from "openai";
import type {
  ChatCompletionChunk,
  ChatCompletionCreateParamsStreaming,
  ChatCompletionMessageParam,
} from "openai/resources/chat/completions";
import { describe, expect, it } from "vitest";
import { productOfWorker } from "./product.ts";

const product = productOfWorker();
const { model } = product;
// No retries: what the client would hide must be seen.
const client = new OpenAI({ baseURL: `${product.url}/v1`, apiKey: product.apiKey, maxRetries: 0, timeout: 60_000 });

const user = (content: string): ChatCompletionMessageParam[] => [{ role: "user", content }];

async function thrownBy(promise: Promise<unknown>): Promise<APIError> {
  const error: unknown = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof APIError)) throw new Error("No APIError was thrown.", { cause: error });
  return error;
}

interface Read {
  chunks: ChatCompletionChunk[];
  text: string;
  finishReason: string | null;
}

async function readStream(params: Omit<ChatCompletionCreateParamsStreaming, "stream" | "model">): Promise<Read> {
  const chunks: ChatCompletionChunk[] = [];
  for await (const chunk of await client.chat.completions.create({ ...params, model, stream: true })) chunks.push(chunk);
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  const finishReason = chunks.map((chunk) => chunk.choices[0]?.finish_reason ?? null).find((reason) => reason !== null) ?? null;
  return { chunks, text, finishReason };
}

describe("chat", () => {
  it("answers a unary request in OpenAI's shape", async () => {
    const answer = await client.chat.completions.create({ model, max_tokens: 12, temperature: 0, messages: user("Say something.") });
    expect(answer).toMatchObject({ object: "chat.completion", model });
    expect(answer.id).toMatch(/^chatcmpl-/);
    expect(Math.abs(answer.created - Date.now() / 1000)).toBeLessThan(60);
    expect(answer.choices).toHaveLength(1);
    expect(answer.choices[0]).toMatchObject({ index: 0, message: { role: "assistant", refusal: null }, logprobs: null });
    expect(answer.choices[0]?.message.content).not.toBe("");
    const usage = answer.usage;
    expect(usage?.completion_tokens).toBeGreaterThan(0);
    expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0));
  });

  it.each([
    ["greedy", { temperature: 0 }],
    ["seeded", { temperature: 1, seed: 7, top_p: 0.9 }],
  ])("streams the text of the unary answer: %s", async (_name, sampling) => {
    const params = { ...sampling, max_tokens: 60, messages: user("Tell me of the sea. Grüße 🙂") };
    const whole = await client.chat.completions.create({ ...params, model });
    const { chunks, text, finishReason } = await readStream(params);
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(finishReason).toBe(whole.choices[0]?.finish_reason);
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
    expect(chunks.every((chunk) => chunk.object === "chat.completion.chunk" && chunk.model === model)).toBe(true);
    expect(chunks.every((chunk) => chunk.choices.length === 1 && chunk.usage === undefined)).toBe(true);
    expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason !== null)).toHaveLength(1);
    expect(chunks.length).toBeGreaterThan(4);
  });

  it("gives usage in a last chunk without choices, only there", async () => {
    const { chunks } = await readStream({
      max_tokens: 5,
      temperature: 0,
      messages: user("usage?"),
      stream_options: { include_usage: true },
    });
    const last = chunks.at(-1);
    expect(last?.choices).toEqual([]);
    expect(last?.usage).toEqual({
      prompt_tokens: expect.any(Number) as number,
      completion_tokens: 5,
      total_tokens: (last?.usage?.prompt_tokens ?? 0) + 5,
      prompt_tokens_details: { cached_tokens: expect.any(Number) as number },
    });
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
  });

  it("reports more cached tokens with every turn of a conversation, which mostly stays at one replica", async () => {
    const messages: ChatCompletionMessageParam[] = [
      { role: "system", content: `You are a guide. ${"Mind the rules of the house. ".repeat(40)}` },
    ];
    const cached: number[] = [];
    const prompts: number[] = [];
    const replicas: (string | null)[] = [];
    for (let turn = 0; turn < 4; turn++) {
      messages.push({ role: "user", content: `Question ${turn}: ${"and what of the northern path? ".repeat(12)}` });
      const { data, response } = await client.chat.completions
        .create({ model, messages, max_tokens: 24, temperature: 0, stream: true, stream_options: { include_usage: true } })
        .withResponse();
      replicas.push(response.headers.get("x-warmpath-replica"));
      let text = "";
      for await (const chunk of data) {
        text += chunk.choices[0]?.delta.content ?? "";
        if (!chunk.usage) continue;
        cached.push(chunk.usage.prompt_tokens_details?.cached_tokens ?? -1);
        prompts.push(chunk.usage.prompt_tokens);
      }
      messages.push({ role: "assistant", content: text });
    }
    expect(cached).toHaveLength(4);
    for (let turn = 1; turn < 4; turn++) {
      expect(cached[turn], `cached ${cached.join()} of prompts ${prompts.join()}`).toBeGreaterThan(cached[turn - 1] ?? 0);
      // All of the last prompt is warm, but for the block that was not full.
      expect(cached[turn]).toBeGreaterThan((prompts[turn - 1] ?? 0) - 64);
      expect(cached[turn]).toBeLessThan(prompts[turn] ?? 0);
    }
    // Other tests use the product, too: a turn may be cheaper where it takes its blocks along from the busy replica.
    const turnsAt = (name: string | null): number => replicas.filter((each) => each === name).length;
    expect(Math.max(...replicas.map(turnsAt)), replicas.join()).toBeGreaterThanOrEqual(3);
  });

  it("keeps to max_tokens and max_completion_tokens", async () => {
    for (const limit of [
      { max_tokens: 1 },
      { max_tokens: 9 },
      { max_completion_tokens: 3 },
      { max_tokens: 50, max_completion_tokens: 2 },
    ]) {
      const answer = await client.chat.completions.create({ ...limit, model, temperature: 0, messages: user("Say something.") });
      expect(answer.usage?.completion_tokens).toBe(limit.max_completion_tokens ?? limit.max_tokens);
      expect(answer.choices[0]?.finish_reason).toBe("length");
    }
  });

  it("ends before a stop string and does not show it", async () => {
    const params = { temperature: 0, max_tokens: 60, messages: user("Say something.") };
    const text = (await client.chat.completions.create({ ...params, model })).choices[0]?.message.content ?? "";
    // From within a token to within another one.
    const stop = text.slice(21, 33);
    expect(stop).toHaveLength(12);
    const expected = text.slice(0, text.indexOf(stop));
    const whole = await client.chat.completions.create({ ...params, model, stop: ["\u0000never", stop] });
    expect(whole.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: expected } });
    expect(await readStream({ ...params, stop })).toMatchObject({ text: expected, finishReason: "stop" });
  });

  it("repeats itself with the same seed, and only then", async () => {
    const ask = async (seed: number): Promise<string | null | undefined> =>
      (await client.chat.completions.create({ model, seed, temperature: 1, max_tokens: 40, messages: user("Dice?") })).choices[0]?.message
        .content;
    const [first, again, other] = [await ask(11), await ask(11), await ask(12)];
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  it("takes unicode of every kind", async () => {
    const content = "Grüße 👩‍👩‍👧‍👦 日本語 עברית\u202e \u0000 \ufeff \u{10ffff} e\u0301 <|im_end|> \ud800 lone";
    const answer = await client.chat.completions.create({ model, max_tokens: 4, temperature: 0, messages: user(content) });
    expect(answer.usage?.prompt_tokens).toBeGreaterThan(20);
    // Hot enough for bytes of every kind: characters of several tokens must come out of a stream as they do in one piece.
    const hot = { max_tokens: 200, temperature: 2, seed: 3, messages: user("日本語") };
    const whole = await client.chat.completions.create({ ...hot, model });
    const { text } = await readStream(hot);
    expect(text).toMatch(/[^\0-\u{ff}\ufffd]/u);
    expect(text).toBe(whole.choices[0]?.message.content);
  });

  it("takes tools, tool results and content parts", async () => {
    const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const answer = await client.chat.completions.create({
      model,
      max_tokens: 4,
      temperature: 0,
      tools: [{ type: "function", function: { name: "weather", description: "The weather of a city", parameters, strict: true } }],
      tool_choice: "auto",
      parallel_tool_calls: false,
      messages: [
        { role: "developer", content: [{ type: "text", text: "Be brief." }] },
        {
          role: "user",
          content: [
            { type: "text", text: "How is the weather" },
            { type: "text", text: " in Oslo?" },
          ],
        },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } }],
        },
        { role: "tool", tool_call_id: "call_1", content: [{ type: "text", text: "Rain." }] },
        { role: "user", content: "Thanks.", name: "ann" },
      ],
    });
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
  });

  it("serves more requests at once than there are sequences", async () => {
    const answers = await Promise.all(
      Array.from({ length: 24 }, async (_, i) => client.chat.completions.create({ model, max_tokens: 8, messages: user(`Number ${i}`) })),
    );
    expect(answers.every((answer) => (answer.usage?.completion_tokens ?? 0) > 0)).toBe(true);
    expect(new Set(answers.map((answer) => answer.id)).size).toBe(24);
  });
});

describe("errors", () => {
  it("a wrong key is refused as OpenAI refuses it", async () => {
    const stranger = client.withOptions({ apiKey: `${product.apiKey.slice(0, -1)}!` });
    const errors = await Promise.all([
      thrownBy(stranger.chat.completions.create({ model, messages: user("Hi") })),
      thrownBy(stranger.chat.completions.create({ model, messages: user("Hi"), stream: true })),
      thrownBy(stranger.models.list()),
    ]);
    for (const error of errors) {
      expect(error).toBeInstanceOf(AuthenticationError);
      expect(error).toMatchObject({ status: 401, code: "invalid_api_key", type: "invalid_request_error", param: null });
    }
  });

  it("an unknown model is not found", async () => {
    const errors = await Promise.all([
      thrownBy(client.chat.completions.create({ model: "gpt-9", messages: user("Hi") })),
      thrownBy(client.chat.completions.create({ model: "gpt-9", messages: user("Hi"), stream: true })),
      thrownBy(client.models.retrieve("gpt-9")),
    ]);
    for (const error of errors) {
      expect(error).toBeInstanceOf(NotFoundError);
      expect(error).toMatchObject({ status: 404, code: "model_not_found", param: "model" });
      expect(error.message).toContain("gpt-9");
    }
  });

  it.each([
    ["temperature", { temperature: 3 }],
    ["max_tokens", { max_tokens: 0 }],
    ["n", { n: 9 }],
    ["messages[0].role", { messages: [{ role: "robot" as "user", content: "Hi" }] }],
    ["messages[1].content", { messages: [...user("Hi"), { role: "user" as const, content: 5 as unknown as string }] }],
    ["tools[0].function.name", { tools: [{ type: "function" as const, function: { name: "" } }] }],
    ["tool_choice", { tool_choice: "required" as const }],
  ])("bad request names %s", async (param, fields) => {
    const error = await thrownBy(client.chat.completions.create({ model, messages: user("Hi"), ...fields }));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ status: 400, param, type: "invalid_request_error" });
  });

  it("an unknown route is not found, and a wrong method is not allowed", async () => {
    expect(await thrownBy(client.embeddings.create({ model, input: "x" }))).toBeInstanceOf(NotFoundError);
    expect(await thrownBy(client.get("/chat/completions"))).toMatchObject({ status: 405 });
  });
});

describe("models, ids and decisions", () => {
  it("lists and retrieves the model", async () => {
    const listed = (await client.models.list()).data;
    expect(listed).toMatchObject([{ id: model, object: "model", created: expect.any(Number) as number, owned_by: "warmpath" }]);
    expect(await client.models.retrieve(model)).toEqual(listed[0]);
  });

  it("gives the request id to the client, and the decision by it", async () => {
    const asked = client.chat.completions.create({ model, max_tokens: 3, temperature: 0, messages: user("Why there?") });
    const { data, response, request_id: id } = await asked.withResponse();
    expect(id).toMatch(/^req_/);
    expect(data.id).toBe(`chatcmpl-${id?.split("_").at(-1)}`);
    const streamed = await client.chat.completions
      .create({ model, max_tokens: 3, stream: true, messages: user("Why there?") })
      .withResponse();
    for await (const chunk of streamed.data) expect(chunk.id).toBe(`chatcmpl-${streamed.request_id?.split("_").at(-1)}`);
    interface Decision {
      id: string;
      object: string;
      attempts: { decision: { reason: string }; why: string; candidates: { name: string }[] }[];
    }
    const decision = await client.get<Decision>(`/decisions/${id}`);
    expect(decision).toMatchObject({ object: "decision", id });
    expect(decision.attempts).toHaveLength(1);
    expect(decision.attempts[0]?.candidates.map(({ name }) => name).toSorted()).toEqual(["replica-1", "replica-2"]);
    const served = response.headers.get("x-warmpath-replica") ?? "";
    expect(decision.attempts[0]?.decision.reason).toContain(served);
    expect(decision.attempts[0]?.why).toContain(`${served} was chosen`);
    const listed = await client.get<{ data: { id: string; decision: { reason: string } }[] }>("/decisions?limit=1000");
    expect(listed.data.find((record) => record.id === id)?.decision.reason).toBe(decision.attempts[0]?.decision.reason);
  });

  it.each(["req_default_00000000000000000000000000000000", "req_nopool_0", "req_", "x", "%2e%2e", "req_default_'; drop table decisions"])(
    "knows no decision %s",
    async (id) => {
      const error = await thrownBy(client.get(`/decisions/${id}`));
      expect(error).toBeInstanceOf(NotFoundError);
    },
  );
});
