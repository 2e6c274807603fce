import { expect, test } from "vitest";
import { apiError } from "../../../src/errors.ts";
import { MOST_STRUCTURES } from "../../../src/wire/json-body.ts";
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

test("a body of more objects, lists and fields than are ever needed is refused before it is parsed", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (text: string): ReturnType<typeof decodeJsonBody> => decodeJsonBody(new TextEncoder().encode(text), decoder);
  const many = (unit: string, count = MOST_STRUCTURES + 1): string => Array.from({ length: count }, () => unit).join(",");
  const refusal = {
    ok: false,
    error: { code: "invalid_request", message: expect.stringContaining(`${MOST_STRUCTURES} objects`) as string },
  };
  for (const body of [`[${many("{}")}]`, `[${many("[]")}]`, `{${many('"a":0')}}`, "[".repeat(4_000_000), '{"a":'.repeat(1_000_000)])
    expect(decode(body)).toMatchObject(refusal);
  // What a string says is no structure, whatever it escapes, and what is in a list is none either.
  expect(decode(JSON.stringify(["{[:".repeat(MOST_STRUCTURES), '\\"{[:'.repeat(MOST_STRUCTURES), "\\"])).ok).toBe(true);
  expect(decode(`[${many("0")}]`).ok).toBe(true);
  expect(decode(`[${many("{}", MOST_STRUCTURES - 1)}]`).ok).toBe(true);
  expect(decode(`["${"a".repeat(100_000)}`)).toMatchObject({
    ok: false,
    error: { message: expect.stringContaining("ends too early") as string },
  });
});

test("strings of any length end where JSON has them end, whatever they escape", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const fits = (values: readonly unknown[]): boolean => decodeJsonBody(new TextEncoder().encode(JSON.stringify(values)), decoder).ok;
  const objects = (count: number): object[] => Array.from({ length: count }, () => ({}));
  // Around each length at which the search changes its way. An end found too early or too late counts structures that are none, or leaves some out.
  const said = Array.from({ length: 200 }, (_, length) =>
    ["", '"', "\\", '\\"', "\\\\", '"{}', '\\{"['].flatMap((end) => [`${"a".repeat(length)}${end}`, "[{:"]),
  ).flat();
  expect(fits([...said, ...objects(MOST_STRUCTURES - 1)])).toBe(true);
  expect(fits([...said, ...objects(MOST_STRUCTURES)])).toBe(false);
  for (const unit of ["a", '"', "\\", 'a"']) {
    expect(fits([unit.repeat(100_000), ...objects(MOST_STRUCTURES - 1)])).toBe(true);
    expect(fits([unit.repeat(100_001), ...objects(MOST_STRUCTURES)])).toBe(false);
  }
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
