/** Blocks by the names that prompts give them: what is believed of a prompt is what the engine found of it. */
import { describe, expect, test } from "vitest";
import type { BlockChange } from "../../gpu-backend/engine/engine.ts";
import type { FeedStep } from "../../gpu-backend/engine/vllm/event-feed.ts";
import { readMessage } from "../../gpu-backend/engine/vllm/event-frames.ts";
import { readSources } from "../../gpu-backend/engine/vllm/event-sources.ts";
import { type KvEvent, readBatch } from "../../gpu-backend/engine/vllm/kv-events.ts";
import { VllmResidency } from "../../gpu-backend/engine/vllm/residency.ts";
import { TokenTexts } from "../../gpu-backend/engine/vllm/token-ends.ts";
import { TIER } from "../../src/residency/tiers.ts";
import { recorded } from "./vllm-recorded.ts";

const CONNECTED = { state: "exact", gap: null, isConnected: true } as const;

function stepOf(frames: readonly Uint8Array[]): FeedStep {
  const said = readMessage(frames);
  const read = readBatch(said.type === "batch" ? said.payload : new Uint8Array());
  if (!read.ok) throw new Error(read.message);
  return { type: "apply", batch: read.batch };
}

const apply = (residency: VllmResidency, ...events: KvEvent[]): void =>
  residency.apply([{ type: "apply", batch: { timestamp: 1, rank: 0, events, malformed: 0, unknown: 0 } }]);

const BLOCK = { type: "stored", tier: TIER.device, group: 0, isPrefix: true, adapter: null, parent: null } as const;
const stored = (hash: string, tokens: number[], changes: Partial<Extract<KvEvent, { type: "stored" }>> = {}): KvEvent => ({
  ...BLOCK,
  keys: [hash as never],
  tokens: Uint32Array.from(tokens),
  blockTokens: 2,
  extraKeys: [null],
  ...changes,
});

describe("what a vLLM holds of a prompt", () => {
  test.each(["gpu", "offload"])("is what it then found cached, in each recorded request: %s", (server) => {
    const residency = new VllmResidency(16, null);
    const compared: [string, number, number][] = [];
    const rows = recorded("device-and-host").filter((row) => row.server === server);
    for (const { kind, request = "", prompt = [], salt, cachedTokens = -1 } of rows) {
      if (kind !== "request") continue;
      const keys = residency.names.ofPrompt(Uint32Array.from(prompt), salt ?? "");
      compared.push([request, residency.heldTokens(keys, prompt.length), cachedTokens]);
      for (const row of rows) if (row.kind === "live" && row.request === request) residency.apply([stepOf(row.frames ?? [])]);
    }
    expect(compared.filter(([, held, cached]) => held === cached && held > 0).length).toBeGreaterThan(1);
    // A cache that is emptied from outside is announced as such with the next request only.
    expect(compared.filter(([, held, cached]) => held !== cached)).toEqual([["h: a after reset", 80, 0]]);
    expect(residency.state(CONNECTED)).toEqual({ state: "exact" });
  });

  test("is told tier by tier, and all of it is taken back when it is forgotten", () => {
    const residency = new VllmResidency(2, null);
    const told: BlockChange[] = [];
    residency.onResidency((changes) => told.push(...changes));
    const [key] = residency.names.ofPrompt(Uint32Array.from([1, 2]), "");
    apply(residency, stored("a", [1, 2]), stored("a", [1, 2], { tier: TIER.host, extraKeys: null }));
    apply(residency, { type: "removed", keys: ["a" as never], tier: TIER.device, group: 0 });
    expect(told).toEqual([
      { key, held: true, tier: TIER.device },
      { key, held: true, tier: TIER.host },
      { key, held: false, tier: TIER.device },
    ]);
    // Whoever listens later is told what is held by then.
    residency.onResidency((changes) => told.push(...changes));
    expect(told.slice(3)).toEqual([{ key, held: true, tier: TIER.host }]);
    residency.apply([{ type: "forget" }]);
    expect(told.at(-1)).toEqual({ key, held: false, tier: TIER.host });
    expect(residency.heldTokens(key === undefined ? [] : [key], 10)).toBe(0);
  });

  test("belongs to one salt and one adapter", () => {
    const [plain, tuned] = [new VllmResidency(2, null), new VllmResidency(2, "tuned")];
    for (const residency of [plain, tuned]) {
      apply(
        residency,
        stored("a", [1, 2], { extraKeys: [["mine"]] }),
        stored("b", [1, 2], { extraKeys: [["tuned", "mine"]], adapter: "tuned" }),
      );
      apply(residency, stored("c", [3, 4], { parent: "b" as never, extraKeys: [["tuned"]], adapter: "tuned" }));
    }
    const held = (residency: VllmResidency, salt: string) =>
      residency.heldTokens(residency.names.ofPrompt(Uint32Array.from([1, 2, 3, 4]), salt), 9);
    expect([held(plain, "mine"), held(tuned, "mine"), held(plain, ""), held(plain, "other"), held(tuned, "tuned")]).toEqual([
      2, 4, 0, 0, 0,
    ]);
  });

  test("with an image in it is nobody's prompt of tokens", () => {
    const residency = new VllmResidency(2, null);
    apply(residency, stored("a", [1, 2], { extraKeys: [["image-hash", "mine"]] }));
    for (const salt of ["", "mine", "image-hash"]) {
      const keys = residency.names.ofPrompt(Uint32Array.from([1, 2]), salt);
      expect(residency.heldTokens(keys, 3)).toBe(0);
    }
  });

  test("is not called exact where a block follows on one that was never announced, or nobody says whose it is", () => {
    for (const changes of [{ parent: "lost" as never }, { extraKeys: null }, { tokens: null, blockTokens: null }]) {
      const residency = new VllmResidency(2, null);
      apply(residency, stored("a", [1, 2], changes));
      expect(residency.state(CONNECTED)).toMatchObject({ state: "degraded", why: expect.stringContaining("do not say") });
      apply(residency, { type: "removed", keys: ["a" as never], tier: TIER.device, group: 0 });
      expect(residency.state(CONNECTED)).toEqual({ state: "exact" });
    }
  });

  test("is not called exact where it is more than is followed", () => {
    const residency = new VllmResidency(2, null, 1);
    apply(residency, stored("a", [1, 2]), stored("b", [3, 4]));
    expect(residency.state(CONNECTED)).toMatchObject({ state: "degraded", why: expect.stringContaining("more blocks") });
  });
});

describe("where tokens end", () => {
  const ends = (texts: string[], prompt: string, cuts: number[] = []) => {
    const known = new TokenTexts();
    const tokens = texts.map((_, token) => token);
    known.learn(tokens, texts);
    const found = known.endsOf({ prompt, cuts, tokens });
    return typeof found === "string" ? found : [...found];
  };

  test("is read from either spelling of a vocabulary", () => {
    // GPT-2's characters for bytes; a control token is spelt as it is.
    expect(ends(["<|im_start|>", "GrÃ¼", "ÃŁe", "Ġyou", "ðŁ", "ĻĤ"], "<|im_start|>Grüße you🙂")).toEqual([12, 16, 19, 23, 25, 27]);
    // SentencePiece's: a space before a text, bytes by their numbers, and what begins a prompt without a text.
    expect(ends(["<s>", "▁Hel", "lo", "▁you", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>"], "Hello you🙂")).toEqual([
      0, 3, 5, 9, 10, 11, 12, 13,
    ]);
    expect(ends(["<｜User｜>", "Hi"], "<｜User｜>Hi")).toEqual([12, 14]);
    // Each piece of a text that was cut begins like a text.
    expect(ends(["▁<", "▁im", ">"], "<im>", [1])).toEqual([1, 3, 4]);
  });

  test("is not said where the texts are not the prompt's", () => {
    expect(ends(["Hel", "lp"], "Hello")).toBe("other");
    expect(ends(["Hel"], "Hello")).toBe("other");
    expect(ends(["Hello", "there"], "Hello")).toBe("other");
    expect(new TokenTexts().endsOf({ prompt: "x", cuts: [], tokens: [7] })).toBe("unknown");
  });
});

describe("sources of events", () => {
  const listed = (endpoint: string, more: object = {}) => ({ "0": { enable_kv_cache_events: true, publisher: "zmq", endpoint, ...more } });

  test("have the host that was reached in the place of a wildcard", () => {
    const ranks = { ...listed("tcp://*:5557", { replay_endpoint: "tcp://*:5558", topic: "kv" }), "1": { endpoint: "tcp://*:5558" } };
    expect(readSources(ranks, "gpu-1")).toEqual({
      type: "found",
      sources: [
        { rank: 0, live: "tcp://gpu-1:5557", isBound: false, replay: "tcp://gpu-1:5558", topic: "kv" },
        { rank: 1, live: "tcp://gpu-1:5558", isBound: false, replay: null, topic: "" },
      ],
    });
    expect(readSources(listed("tcp://[::]:5557"), "[::1]")).toMatchObject({ sources: [{ live: "tcp://[::1]:5557", isBound: false }] });
    expect(readSources(listed("ipc:///run/kv.sock"), "gpu-1")).toMatchObject({ sources: [{ live: "ipc:///run/kv.sock", isBound: false }] });
  });

  test("that are another's address are bound here: the engine connects to those", () => {
    expect(readSources(listed("tcp://127.0.0.1:5557"), "gpu-1")).toMatchObject({
      sources: [{ live: "tcp://127.0.0.1:5557", isBound: true }],
    });
  });

  test.each([
    ["nothing", {}],
    ["no object", "x"],
    ["events that are off", listed("tcp://*:1", { enable_kv_cache_events: false })],
    ["another publisher", listed("tcp://*:1", { publisher: "null" })],
    ["an endpoint of another kind", listed("file:///etc/passwd")],
  ])("are none where a server lists %s", (_, body) => {
    expect(readSources(body, "gpu-1")).toEqual({ type: "none" });
  });
});
