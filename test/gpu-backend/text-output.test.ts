import { describe, expect, it } from "vitest";
import { TextOutput } from "../../gpu-backend/engine/text-output.ts";
import { prefillPiece } from "../../gpu-backend/engine/llama-cpp/plan.ts";

describe("text output", () => {
  it("sends whole characters only", () => {
    const output = new TextOutput([]);
    const sent = [...Buffer.from("é🙂你")].map((byte) => output.push(Buffer.from([byte])));
    expect(sent.filter((text) => text !== "")).toEqual(["é", "🙂", "你"]);
    expect(output.end()).toBe("");
  });

  it("shows a character cut by the end", () => {
    const output = new TextOutput([]);
    expect(output.push(Buffer.from([0xf0, 0x9f]))).toBe("");
    expect(output.end()).toBe("\uFFFD");
  });

  it("holds back what may become a stop string", () => {
    const output = new TextOutput(["END", "STOP"]);
    expect(["a E", "N", "x ST", "OP more"].map((text) => output.push(Buffer.from(text)))).toEqual(["a ", "", "ENx ", ""]);
    expect(output.stopped).toBe(true);
    expect(output.push(Buffer.from("later")) + output.end()).toBe("");
  });

  it("gives back what it held when the output ends", () => {
    const output = new TextOutput(["END"]);
    expect(output.push(Buffer.from("the EN"))).toBe("the ");
    expect(output.end()).toBe("EN");
    expect(output.stopped).toBe(false);
  });
});

it("a prompt is never cut so that one token is computed alone", () => {
  for (let left = 2; left < 40; left++) {
    for (let budget = 0; budget < 40; budget++) {
      const length = prefillPiece(left, budget, true);
      expect(length).not.toBe(1);
      expect(left - length).not.toBe(1);
      expect(length).toBeLessThanOrEqual(Math.max(0, budget));
      if (budget >= 4) expect(length).toBeGreaterThan(0);
    }
  }
  expect(prefillPiece(1, 10, true)).toBe(1);
});
