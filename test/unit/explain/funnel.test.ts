import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emptyFunnel, type Funnel, Funnels, funnelFor, funnelOf, MAX_FUNNELS, MAX_UNSETTLED } from "../../../src/explain/funnel.ts";
import { type Job, ModelPool, type ModelReplica } from "../router/model-pool.ts";
import { recordOf } from "./records.ts";
import { anyRequest, anyView, candidate, request, viewOf } from "../decision/views.ts";

const steps = ({ promptTokens, everComputedTokens, heldTokens, chosenTokens, reusedTokens }: Funnel): number[] => [
  promptTokens,
  everComputedTokens,
  heldTokens,
  chosenTokens,
  reusedTokens,
];

describe("the funnel of one decision", () => {
  it("says at which step reuse was lost", () => {
    const busy = { inFlight: 6, contextTokens: 60_000, queuedPrefillMs: 900 };
    const view = viewOf([candidate(0, { cachedTokens: 600, ...busy }), candidate(1, { cachedTokens: 400 })]);
    const outcome = { promptTokens: 1_000, cachedTokens: 384, outputTokens: 5 };
    const record = recordOf(view, request(1_000), outcome, { seenTokens: 900 });
    expect(steps(funnelOf(record) ?? emptyFunnel())).toEqual([1_000, 900, 600, 400, 384]);
  });

  it("is unknown until the replica has said what it reused, and there is none of counts and prewarms", () => {
    const view = viewOf([candidate(0)]);
    const outcome = { promptTokens: 100, cachedTokens: 0, outputTokens: 5 };
    expect(funnelOf(recordOf(view, request(100)))).toBeNull();
    expect(funnelOf(recordOf(view, request(100, { counts: true }), outcome))).toBeNull();
    expect(funnelOf(recordOf(view, request(100), { ...outcome, outputTokens: 0 }))).toBeNull();
    expect(funnelOf(recordOf(view, request(100), outcome))).toMatchObject({ requests: 1 });
  });

  it("never widens, whatever was predicted and reported", () => {
    const tokens = fc.nat(100_000);
    fc.assert(
      fc.property(anyView, anyRequest, tokens, tokens, tokens, (view, asked, promptTokens, cachedTokens, seenTokens) => {
        const record = recordOf(view, asked, { promptTokens, cachedTokens, outputTokens: 1 }, { seenTokens });
        const funnel = funnelOf(record);
        expect(funnel === null).toBe(asked.counts === true);
        if (funnel === null) return;
        const down = steps(funnel);
        expect(down).toEqual(down.toSorted((a, b) => b - a));
        expect(funnel.reusedTokens).toBe(Math.min(promptTokens, cachedTokens));
      }),
      { seed: 61, numRuns: 300 },
    );
  });
});

describe("the book of funnels", () => {
  const sight = { seenTokens: 90, heldTokens: 80, chosenTokens: 70 };
  const said = { promptTokens: 100, cachedTokens: 60, outputTokens: 5 };

  it("counts a request once, by its last attempt, for its tenant and the pool", () => {
    const book = new Funnels();
    book.placed({ id: "a", attempt: 1 }, "ann", sight);
    book.placed({ id: "a", attempt: 2 }, "ann", { ...sight, chosenTokens: 50 });
    book.placed({ id: "b", attempt: 1 }, "bob", sight);
    book.settled({ id: "a", attempt: 1 }, said);
    expect(book.pool).toEqual(emptyFunnel());
    for (let again = 0; again < 2; again++) book.settled({ id: "a", attempt: 2 }, said);
    book.settled({ id: "b", attempt: 1 }, said);
    book.settled({ id: "c", attempt: 1 }, said);
    expect(book.of("ann")).toEqual(funnelFor({ ...sight, chosenTokens: 50 }, 100, 60));
    expect(steps(book.of("bob"))).toEqual([100, 90, 80, 70, 60]);
    expect(book.pool).toMatchObject({ requests: 2, promptTokens: 200, reusedTokens: 120 });
    expect(book.of("nobody")).toEqual(emptyFunnel());
  });

  it("does not count what wrote nothing", () => {
    const book = new Funnels();
    book.placed({ id: "prewarm", attempt: 1 }, "ann", sight);
    book.settled({ id: "prewarm", attempt: 1 }, { ...said, outputTokens: 0 });
    expect([book.pool.requests, book.unsettled]).toEqual([0, 0]);
  });

  it("is bounded, and forgets who was not heard of for longest", () => {
    const book = new Funnels();
    for (let n = 0; n < MAX_UNSETTLED + 100; n++) book.placed({ id: `r${n}`, attempt: 1 }, "ann", sight);
    expect(book.unsettled).toBe(MAX_UNSETTLED);
    for (let n = 0; n < MAX_FUNNELS + 1; n++) {
      book.placed({ id: `t${n}`, attempt: 1 }, `tenant-${n}`, sight);
      book.settled({ id: `t${n}`, attempt: 1 }, said);
    }
    expect([book.of("tenant-0").requests, book.of("tenant-1").requests]).toEqual([0, 1]);
    expect(book.pool.requests).toBe(MAX_FUNNELS + 1);
  });
});

describe("a pool's funnel", () => {
  const model: ModelReplica = { name: "r0", prefillMsPerToken: 0.1, decodeMsPerToken: 5 };
  const chain = BigUint64Array.of(11n, 12n, 13n, 14n);

  it("knows what came by before, though nobody holds it, and leaves counts out", () => {
    const pool = new ModelPool([model]);
    const job = (id: string, more: Job["more"] = {}): Job => ({ id, promptTokens: 400, outputTokens: 3, more: { chain, ...more } });
    const jobs = [
      job("count", { counts: true }),
      job("first"),
      job("second"),
      job("half", { chain: BigUint64Array.of(11n, 12n, 93n, 94n), tenant: "u" }),
    ];
    for (const one of jobs) {
      pool.ask(one);
      pool.pass(1_000);
    }
    const { ring, funnels } = pool.state;
    expect(jobs.map(({ id }) => ring.get(id)?.seenTokens)).toEqual([undefined, 0, 400, 200]);
    expect(funnels.pool).toMatchObject({ requests: 3, promptTokens: 1_200, everComputedTokens: 600, reusedTokens: 0 });
    expect(funnels.of("u")).toMatchObject({ requests: 1, everComputedTokens: 200 });
  });

  it("does not take a retry for a second coming", () => {
    const pool = new ModelPool([model, { ...model, name: "r1" }]);
    const job: Job = { id: "a", promptTokens: 400, outputTokens: 3, more: { chain } };
    pool.ask(job);
    const first = job.answer?.type === "replica" ? job.answer.replica : "";
    pool.kill(first);
    const again: Job = { ...job, more: { chain, failed: [{ replica: first, attempt: 1 }] } };
    delete again.answer;
    pool.ask(again);
    pool.pass(2_000);
    expect(again.answer).toMatchObject({ type: "replica", attempt: 2 });
    expect(pool.state.ring.get("a")?.seenTokens).toBe(0);
    expect(pool.state.funnels.pool).toMatchObject({ requests: 1, everComputedTokens: 0 });
  });
});
