import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { paced, reuseCeiling } from "../../../simulator/plan.ts";
import { parseTrace, TRACE_FORMAT } from "../../../simulator/trace.ts";

const row = (timestamp: number, input_length: number, hash_ids: number[], output_length = 5): string =>
  JSON.stringify({ timestamp, input_length, output_length, hash_ids });

describe("a trace", () => {
  it("becomes paths that share what the ids share", () => {
    const parsed = parseTrace([row(0, 1_100, [0, 1, 2]), "", row(10, 1_030, [0, 1, 3])].join("\n"), "t");
    if (parsed.kind !== "plan") throw new Error(parsed.reason);
    const { requests, tree } = parsed.plan;
    expect(requests.map(({ path }) => [...path])).toEqual([
      [0, 1, 2],
      [0, 1, 3],
    ]);
    expect([...tree.ends]).toEqual([512, 1_024, 1_100, 1_030]);
    expect([...tree.parents]).toEqual([-1, 0, 1, 1]);
    expect(new Set(tree.hashes).size).toBe(4);
    expect(requests[1]?.chain).toEqual(tree.hashes.filter((_, at) => [0, 1, 3].includes(at)));
    // 1,024 of 2,130 tokens.
    expect(reuseCeiling(parsed.plan, 16, true)).toBeCloseTo(1_024 / 2_130);
  });

  it("is stretched to a rate", () => {
    const parsed = parseTrace([row(0, 10, [0]), row(5, 10, [0]), row(20, 10, [0]), row(40, 10, [0])].join("\n"), "t");
    if (parsed.kind !== "plan") throw new Error(parsed.reason);
    expect(paced(parsed.plan, 2).requests.map(({ at }) => at)).toEqual([0, 250, 1_000, 2_000]);
  });

  it.each([
    ["it is not JSON", "{", 1],
    ["it is not an object", "3", 1],
    ["timestamp is not", row(-1, 10, [0]), 1],
    ["input_length is not", row(0, 0, []), 1],
    ["output_length is not", '{"timestamp":0,"input_length":1,"hash_ids":[0]}', 1],
    ["hash_ids is not an array", '{"timestamp":0,"input_length":1,"output_length":1}', 1],
    ["is not a whole number from 0", row(0, 10, [0.5]), 1],
    ["1100 tokens are 3 blocks of 512, but hash_ids has 2", row(0, 1_100, [0, 1]), 1],
    ["is before the line above's", `${row(9, 10, [0])}\n\n${row(8, 10, [0])}`, 3],
    ["there is no request", "\n", 1],
  ])("says what is wrong and where: %s", (reason, text, line) => {
    const parsed = parseTrace(text, "t");
    expect(parsed).toMatchObject({ kind: "invalid", line });
    expect(parsed.kind === "invalid" ? parsed.reason : "").toContain(reason);
  });

  const azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n";
  const burst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n";
  const shared = '[{"id":"a","conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"hello"}]}]';
  it.each([
    ["Azure's CSV", azure],
    ["BurstGPT's CSV", burst],
    ["ShareGPT's JSON", shared],
    ["ShareGPT's JSON", JSON.stringify(JSON.parse(shared), null, 2)],
    ["ShareGPT's JSON", shared.slice(1, -1)],
    ["a JSON array", `[${row(0, 10, [0])},${row(1, 10, [0])}]`],
    ["a JSON array", `[\n${row(0, 10, [0])}\n]`],
    ["Azure's CSV", `\ufeff${azure.replaceAll("\n", "\r\n")}`],
  ])("knows %s, and its format's example is a line that works", (what, text) => {
    const parsed = parseTrace(text, "t");
    expect(parsed.kind === "invalid" ? parsed.reason : "").toContain(`it is ${what}`);
    const [, example = ""] = TRACE_FORMAT.split("\n");
    expect(parseTrace(example, "t").kind).toBe("plan");
  });

  it("skips a byte order mark", () => {
    const text = [row(0, 10, [0]), row(5, 10, [0])].join("\r\n");
    expect(parseTrace(`\ufeff${text}`, "t")).toEqual(parseTrace(text, "t"));
  });

  const file = new URL("../../../../shared/traces/conversation_trace.jsonl", import.meta.url);
  it.skipIf(!existsSync(file))("of Mooncake's conversations has the reuse it is known for (skipped where the file is not there)", () => {
    const parsed = parseTrace(readFileSync(file, "utf8"), "conversation");
    if (parsed.kind !== "plan") throw new Error(parsed.reason);
    expect(parsed.plan.requests).toHaveLength(12_031);
    expect(reuseCeiling(parsed.plan, 16, true)).toBeCloseTo(0.374, 3);
  });
});
