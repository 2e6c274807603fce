import { expect, test } from "vitest";
import { apiError } from "../../../src/errors.ts";
import { decodeJsonBody, openaiErrorBody } from "../../../src/wire/openai.ts";

test("bodies: JSON, broken JSON with a position, broken UTF-8, nothing", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const message = (body: Uint8Array): string | null => {
    const decoded = decodeJsonBody(body, decoder);
    return decoded.ok ? null : decoded.error.message;
  };
  expect(decodeJsonBody(bytes('{"a":1}'), decoder)).toEqual({ ok: true, value: { a: 1 } });
  expect(message(bytes('{"a":1'))).toMatch(/valid JSON/);
  expect(message(bytes('{"secret words": 1 "b"}'))).toMatch(/at character 19/);
  expect(message(bytes('{"secret words": oh no}'))).not.toMatch(/secret|oh no/);
  expect(message(Uint8Array.of(0x22, 0xff, 0x22))).toMatch(/UTF-8/);
  expect(message(new Uint8Array())).toMatch(/empty/);
  expect(decodeJsonBody(bytes("[".repeat(20_000) + "]".repeat(20_000)), decoder).ok).toBe(true);
});

test("the error envelope has OpenAI's four keys and codes", () => {
  expect(openaiErrorBody(apiError("invalid_request", "m", "n"))).toEqual({
    error: { message: "m", type: "invalid_request_error", param: "n", code: null },
  });
  expect(openaiErrorBody(apiError("invalid_api_key", "m")).error).toMatchObject({
    type: "invalid_request_error",
    code: "invalid_api_key",
    param: null,
  });
  expect(openaiErrorBody(apiError("overloaded", "m")).error.type).toBe("server_error");
});
