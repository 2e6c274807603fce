/**
 * What every engine keeps to (gpu-backend/engine/engine.ts): runs, aborts, load, limits, refusals, and the KV part where there is one.
 * A new engine's own test is the call of `describeEngine`.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine, EngineRequest, EngineRun } from "../../gpu-backend/engine/engine.ts";
import { describeExchange } from "./engine-exchange.ts";
import { describeResidency, Residency } from "./engine-residency.ts";
import { accepted, prose, request, runOf, seen, talkativePrompts, tokensOf, until } from "./engine-runs.ts";

/** Tokens that a run writes at least while the suite looks at it. */
const LONG_TOKENS = 100;
const IDLE = { running: 0, queued: 0, usedKvTokens: 0 };

/** What the suite knows of one engine. */
export interface Opened {
  engine: Engine;
  /** Followed from its start on; of an engine without a KV part it stays empty. */
  residency: Residency;
}

/** none: nobody knows what it holds. residency: it says so. exchange: and its blocks can leave it and come back. */
export type KvPart = "none" | "residency" | "exchange";

/**
 * `open`: two or three sequences, one or two places in the queue, a context of 512 to 2,048 tokens; called once. `kv`: what is to be held
 * to of the KV part.
 */
export function describeEngine(title: string, kv: KvPart, open: () => Promise<Engine>): void {
  describe(`engine: ${title}`, () => {
    let opened: Opened | undefined;
    const subject = (): Opened => {
      if (opened === undefined) throw new Error("the engine is not open");
      return opened;
    };
    beforeAll(async () => {
      const engine = await open();
      opened = { engine, residency: new Residency(engine) };
    });
    afterAll(() => opened?.engine.close());
    const given = () => subject().engine;

    it(`has a KV part: ${kv}`, () => {
      const part = given().kv;
      expect(part === null ? "none" : part.exchange === null ? "residency" : "exchange").toBe(kv);
    });
    describeRuns(given);
    describeAborts(given);
    describeLimits(given);
    describeRefusals(given);
    if (kv !== "none") describeResidency(subject);
    if (kv === "exchange") {
      describeExchange(() => {
        const { engine } = subject();
        const exchange = engine.kv?.exchange;
        if (exchange == null) throw new Error("the engine has no exchange");
        return { engine, exchange };
      });
    }
    describeClosed(given);
  });
}

function describeRuns(given: () => Engine): void {
  describe("a run", () => {
    it("is queued, started, tells its text and finishes, with counts that fit each other", async () => {
      const engine = given();
      const prompt = `${prose("counts", 20)} Grüße, 你好 🙂!`;
      const prepared = await engine.prepare(request(prompt));
      const { events, queued, deltas, finished } = await runOf(engine, prompt, { maxTokens: 40, temperature: 1, seed: 7 });
      expect(events.map(({ type }) => type)).toEqual(["queued", "started", ...deltas.map(() => "delta"), "finished"]);
      expect(prepared).toMatchObject({ type: "prepared" });
      if ("tokens" in prepared && prepared.tokens !== null) expect(prepared.tokens).toHaveLength(queued.promptTokens);
      expect([await tokensOf(engine, prompt), finished.promptTokens]).toEqual([queued.promptTokens, queued.promptTokens]);
      const told = events.reduce((sum, event) => sum + (event.type === "delta" ? event.tokens : 0), 0);
      expect(told).toBeGreaterThan(0);
      expect(finished.outputTokens).toBeGreaterThanOrEqual(told);
      expect(finished.outputTokens).toBeLessThanOrEqual(40);
      expect(deltas.every((text) => text !== "" && text.isWellFormed())).toBe(true);
      expect(finished.prefillMs).toBeGreaterThanOrEqual(0);
      expect(finished.decodeMs).toBeGreaterThanOrEqual(0);
      expect(finished.cachedTokens).toBeLessThan(queued.promptTokens);
    });

    it("says which blocks its prompt has if and only if its engine has a KV part", async () => {
      const { queued } = await runOf(given(), prose("blocks", 4), { maxTokens: 1 });
      expect(queued.blocks === null).toBe(given().kv === null);
    });

    it("repeats itself for the same seed only", async () => {
      const say = async (seed: number) => (await runOf(given(), "A seeded story", { temperature: 1, seed })).text;
      expect(await say(5)).toBe(await say(5));
      expect(await say(5)).not.toBe(await say(6));
    });

    it("takes the prompt as the tokens that were prepared", async () => {
      const engine = given();
      const prompt = prose("as tokens", 10);
      const prepared = await engine.prepare(request(prompt));
      if (!("tokens" in prepared) || prepared.tokens === null) return;
      const read = await runOf(engine, "", { tokens: prepared.tokens });
      const { text, queued } = await runOf(engine, prompt);
      expect([read.text, read.queued.promptTokens]).toEqual([text, queued.promptTokens]);
    });

    it("ends before a stop string, also one that is split over deltas, and says which", async () => {
      const engine = given();
      const { text, deltas, finished } = await runOf(engine, "Tell me a long story", { maxTokens: 40 });
      const stop = `${deltas[5]?.slice(-2) ?? ""}${deltas[6]?.slice(0, 2) ?? ""}`;
      expect(stop.length).toBeGreaterThan(2);
      const stopped = await runOf(engine, "Tell me a long story", { maxTokens: 40, stop: ["never there", stop] });
      expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
      expect(stopped.finished).toMatchObject({ reason: "stop", stopText: stop });
      expect(stopped.finished.outputTokens).toBeLessThan(finished.outputTokens);
    });

    it("is the same beside others as alone", async () => {
      const prompts = ["one", "two", "three"].map((topic) => prose(`beside ${topic}`, 20));
      const alone: string[] = [];
      for (const prompt of prompts) alone.push((await runOf(given(), prompt, { salt: "alone" })).text);
      const together = await Promise.all(prompts.map((prompt) => runOf(given(), prompt, { salt: "together" })));
      expect(together.map(({ text }) => text)).toEqual(alone);
    });
  });
}

function describeAborts(given: () => Engine): void {
  describe("an abort", () => {
    it("ends a run under way as cancelled, once, and frees its place", async () => {
      const [prompt = ""] = await talkativePrompts(given(), 1, LONG_TOKENS);
      const run = await accepted(given(), request(prompt, { maxTokens: LONG_TOKENS }));
      const events = run.events[Symbol.asyncIterator]();
      await until(events, "delta");
      expect(given().load().running).toBe(1);
      run.abort();
      run.abort();
      expect((await until(events, "finished")).reason).toBe("cancelled");
      expect((await events.next()).done).toBe(true);
      run.abort();
      expect(given().load()).toEqual(IDLE);
    });

    it("ends a run that waits, which then never starts", async () => {
      const prompts = await talkativePrompts(given(), given().card.sequences, LONG_TOKENS);
      const running = await Promise.all(prompts.map((prompt) => accepted(given(), request(prompt, { maxTokens: LONG_TOKENS * 4 }))));
      const waiting = await accepted(given(), request(prose("waits", 10)));
      waiting.abort();
      const { events, finished } = await seen(waiting);
      expect(events.map(({ type }) => type)).toEqual(["queued", "finished"]);
      expect(finished).toMatchObject({ reason: "cancelled", outputTokens: 0 });
      for (const run of running) run.abort();
      for (const run of running) await seen(run);
    });

    it("is what a consumer does that leaves", async () => {
      const [prompt = ""] = await talkativePrompts(given(), 1, LONG_TOKENS);
      const run = await accepted(given(), request(prompt, { maxTokens: LONG_TOKENS * 4 }));
      for await (const event of run.events) if (event.type === "delta") break;
      await runOf(given(), "the next");
      expect(given().load()).toEqual(IDLE);
    });
  });
}

function describeLimits(given: () => Engine): void {
  describe("limits", () => {
    /** As many as run and wait at once; none is read, so none ends. */
    async function full(): Promise<EngineRun[]> {
      const { sequences, queueLimit } = given().card;
      const prompts = await talkativePrompts(given(), sequences + queueLimit, LONG_TOKENS);
      const runs: EngineRun[] = [];
      for (const prompt of prompts) runs.push(await accepted(given(), request(prompt, { maxTokens: LONG_TOKENS * 4 })));
      return runs;
    }

    it("of sequences and of the queue are kept: who comes then is refused as busy, and the next is served when one is aborted", async () => {
      const { sequences, queueLimit } = given().card;
      const runs = await full();
      const [first, waiting] = [runs[0], runs[sequences]];
      if (first === undefined || waiting === undefined) throw new Error("no run waits");
      const reading = runs.slice(0, sequences).map((run) => run.events[Symbol.asyncIterator]());
      for (const events of reading) await until(events, "started");
      const [begun, ...others] = reading;
      if (begun === undefined) throw new Error("no run is running");
      await until(begun, "delta");
      expect(given().load()).toMatchObject({ running: sequences, queued: queueLimit });
      expect(given().load().usedKvTokens).toBeGreaterThan(0);
      expect(await given().run(request("one too many"))).toMatchObject({ type: "refused", reason: "busy" });
      const next = waiting.events[Symbol.asyncIterator]();
      first.abort();
      await until(next, "started");
      for (const run of runs) run.abort();
      expect((await until(begun, "finished")).reason).toBe("cancelled");
      expect((await until(next, "finished")).reason).toBe("cancelled");
      for (const events of others) expect((await until(events, "finished")).reason).toBe("cancelled");
      for (const run of runs.slice(sequences + 1)) await seen(run);
      expect(given().load()).toEqual(IDLE);
    });

    it("leave a run alone whose consumer does not read, and it goes on when it is read", async () => {
      const asked: Partial<EngineRequest> = { maxTokens: LONG_TOKENS, salt: "slow" };
      const [slowPrompt = "", quickPrompt = ""] = await talkativePrompts(given(), 2, LONG_TOKENS);
      const slow = await accepted(given(), request(slowPrompt, asked));
      expect((await runOf(given(), quickPrompt, asked)).finished.outputTokens).toBe(LONG_TOKENS);
      expect((await seen(slow)).text).toBe((await runOf(given(), slowPrompt, asked)).text);
    });

    it("fit the output to the context", async () => {
      const { contextTokens } = given().card;
      let prompt = prose("nearly full", 5);
      while ((await tokensOf(given(), prompt)) < contextTokens - 120) prompt += " and more";
      const { finished } = await runOf(given(), prompt, { maxTokens: 1e9 });
      expect(finished.promptTokens + finished.outputTokens).toBeLessThanOrEqual(contextTokens);
      expect(["stop", "length"]).toContain(finished.reason);
    });
  });
}

function describeRefusals(given: () => Engine): void {
  describe("a refusal", () => {
    it("of a prompt that leaves no room says how long it is, before it runs and when it does", async () => {
      const { contextTokens } = given().card;
      let prompt = prose("too long", 200);
      while ((await tokensOf(given(), prompt)) < contextTokens) prompt += prompt;
      const refusal = { type: "refused", reason: "context_length_exceeded", contextTokens, exact: true };
      const promptTokens = await tokensOf(given(), prompt);
      expect(await given().prepare(request(prompt))).toMatchObject({ ...refusal, promptTokens });
      expect(await given().run(request(prompt))).toMatchObject({ ...refusal, promptTokens });
    });

    it("of a token that the model does not have names it", async () => {
      const tokens = [1, 2, 0x7fff_ffff, 3];
      expect(await given().run(request("", { tokens }))).toMatchObject({ type: "refused", reason: "unknown_token", index: 2 });
    });

    it("of an id that runs already leaves the run alone", async () => {
      const asked = request(prose("twice", 10));
      const run = await accepted(given(), asked);
      expect(await given().run(asked)).toMatchObject({ type: "refused", reason: "unavailable" });
      expect((await seen(run)).finished.reason).toMatch(/stop|length/);
    });

    it("of a schema that can't be held has a sentence", async () => {
      const schema = { type: "array", items: { not: {} } };
      const grammar = { type: "json_schema" as const, schema, strict: true };
      const refusal = await given().run(request("x", { grammar }));
      expect(refusal).toMatchObject({ type: "refused", reason: "grammar" });
      expect("message" in refusal && refusal.message).toMatch(/\w/);
    });

    it("leaves nothing behind", async () => {
      expect(given().load()).toEqual(IDLE);
      expect((await runOf(given(), "after all refusals")).text).not.toBe("");
    });
  });
}

/** The last: nothing runs on it afterwards. */
function describeClosed(given: () => Engine): void {
  it("once closed it ends what runs with an error and refuses the rest as unavailable", async () => {
    const engine = given();
    const [prompt = ""] = await talkativePrompts(engine, 1, LONG_TOKENS);
    const run = await accepted(engine, request(prompt, { maxTokens: LONG_TOKENS * 4 }));
    const events = run.events[Symbol.asyncIterator]();
    await until(events, "delta");
    await engine.close();
    expect(await until(events, "finished")).toMatchObject({ reason: "error", message: expect.stringMatching(/\w/) });
    const unavailable = { type: "refused", reason: "unavailable" };
    expect(await engine.prepare(request("too late"))).toMatchObject(unavailable);
    expect(await engine.run(request("too late"))).toMatchObject(unavailable);
    expect(await engine.count("too late")).toMatchObject(unavailable);
    expect(engine.load()).toEqual(IDLE);
    await engine.close();
  });
}
