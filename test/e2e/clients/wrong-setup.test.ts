/** Clients that are set up wrongly are told what is right. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { productOfWorker, thrown } from "./product.ts";

const product = productOfWorker();
const user = (content: string) => ({ role: "user" as const, content });
const HINT = "The base URL of OpenAI clients ends in /v1, that of Anthropic clients does not.";

describe("a client with a wrong base URL or key", () => {
  test("gets the right path in the error", async () => {
    const { model } = product;
    const bare = new OpenAI({ baseURL: product.url, apiKey: product.apiKey, maxRetries: 0 });
    const chat = await thrown(OpenAI.NotFoundError, bare.chat.completions.create({ model, messages: [user("hi")] }));
    expect(chat.message).toContain(`Did you mean POST /v1/chat/completions? ${HINT}`);
    expect((await thrown(OpenAI.NotFoundError, bare.responses.create({ model, input: "hi" }))).message).toContain("POST /v1/responses");
    expect((await thrown(OpenAI.NotFoundError, bare.models.retrieve(model))).message).toContain(`GET /v1/models/${model}`);
    const twice = new Anthropic({ baseURL: `${product.url}/v1`, apiKey: product.apiKey, maxRetries: 0 });
    const message = await thrown(Anthropic.NotFoundError, twice.messages.create({ model, max_tokens: 4, messages: [user("hi")] }));
    expect(message.message).toContain(`Did you mean POST /v1/messages? ${HINT}`);
    expect(message.type).toBe("not_found_error");
  });

  test("gets an error about the key in OpenAI's words", async () => {
    const stranger = new OpenAI({ baseURL: `${product.url}/v1`, apiKey: "sk-wrong", maxRetries: 0 });
    const refused = await thrown(OpenAI.AuthenticationError, stranger.models.list());
    expect(refused.message).toMatch(/^401 Incorrect API key provided/);
    expect(refused.code).toBe("invalid_api_key");
    expect(refused.headers.get("www-authenticate")).toBe("Bearer");
  });
});
