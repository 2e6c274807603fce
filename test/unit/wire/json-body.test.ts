import { expect, test } from "vitest";
import { apiError } from "../../../src/errors.ts";
import { decodeJsonBody, type DecodedBody, MOST_STRUCTURES } from "../../../src/wire/json-body.ts";
import { openaiErrorBody } from "../../../src/wire/openai.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });
const unpaused = (): Promise<void> => Promise.resolve();
const decodeBytes = (body: Uint8Array): Promise<DecodedBody> => decodeJsonBody(body, decoder, unpaused);
const decode = (text: string): Promise<DecodedBody> => decodeBytes(new TextEncoder().encode(text));

test("bodies: JSON, broken JSON with a position, broken UTF-8, nothing", async () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const message = async (body: Uint8Array): Promise<string | null> => {
    const decoded = await decodeBytes(body);
    return decoded.ok ? null : decoded.error.message;
  };
  expect(await decodeBytes(bytes('{"a":1}'))).toEqual({ ok: true, value: { a: 1 } });
  expect(await message(bytes('{"a":1'))).toMatch(/valid JSON/);
  expect(await message(bytes('{"secret words": 1 "b"}'))).toMatch(/at character 19/);
  expect(await message(bytes('{"secret words": oh no}'))).not.toMatch(/secret|oh no/);
  expect(await message(Uint8Array.of(0x22, 0xff, 0x22))).toMatch(/UTF-8/);
  expect(await message(new Uint8Array())).toMatch(/empty/);
  expect((await decode("[".repeat(20_000) + "]".repeat(20_000))).ok).toBe(true);
});

test("a body of more objects, lists and fields than are ever needed is refused before it is parsed", async () => {
  const many = (unit: string, count = MOST_STRUCTURES + 1): string => Array.from({ length: count }, () => unit).join(",");
  const refusal = {
    ok: false,
    error: { code: "invalid_request", message: expect.stringContaining(`${MOST_STRUCTURES} objects`) as string },
  };
  for (const body of [`[${many("{}")}]`, `[${many("[]")}]`, `{${many('"a":0')}}`, "[".repeat(4_000_000), '{"a":'.repeat(1_000_000)])
    expect(await decode(body)).toMatchObject(refusal);
  // What a string says is no structure, whatever it escapes, and what is in a list is none either.
  expect((await decode(JSON.stringify(["{[:".repeat(MOST_STRUCTURES), '\\"{[:'.repeat(MOST_STRUCTURES), "\\"]))).ok).toBe(true);
  expect((await decode(`[${many("0")}]`)).ok).toBe(true);
  expect((await decode(`[${many("{}", MOST_STRUCTURES - 1)}]`)).ok).toBe(true);
  expect(await decode(`["${"a".repeat(100_000)}`)).toMatchObject({
    ok: false,
    error: { message: expect.stringContaining("ends too early") as string },
  });
});

test("strings of any length end where JSON has them end, whatever they escape", async () => {
  const fits = async (values: readonly unknown[]): Promise<boolean> => (await decode(JSON.stringify(values))).ok;
  const objects = (count: number): object[] => Array.from({ length: count }, () => ({}));
  // Around each length at which the search changes its way. An end found too early or too late counts structures that are none, or leaves some out.
  const said = Array.from({ length: 200 }, (_, length) =>
    ["", '"', "\\", '\\"', "\\\\", '"{}', '\\{"['].flatMap((end) => [`${"a".repeat(length)}${end}`, "[{:"]),
  ).flat();
  expect(await fits([...said, ...objects(MOST_STRUCTURES - 1)])).toBe(true);
  expect(await fits([...said, ...objects(MOST_STRUCTURES)])).toBe(false);
  for (const unit of ["a", '"', "\\", 'a"']) {
    expect(await fits([unit.repeat(100_000), ...objects(MOST_STRUCTURES - 1)])).toBe(true);
    expect(await fits([unit.repeat(100_001), ...objects(MOST_STRUCTURES)])).toBe(false);
  }
});

test("others come between the steps of a long body, and of a short one nobody waits", async () => {
  const pausesOf = async (text: string): Promise<number> => {
    let pauses = 0;
    const pause = async (): Promise<number> => ++pauses;
    expect(await decodeJsonBody(new TextEncoder().encode(JSON.stringify(text)), decoder, pause)).toEqual({ ok: true, value: text });
    return pauses;
  };
  expect(await pausesOf("a".repeat(2_000_000))).toBe(2);
  expect(await pausesOf("a".repeat(100_000))).toBe(0);
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
