/**
 * Generated bodies over all endpoints that take one: never a 5xx, never a hang, the API's own envelope, the right field blamed.
 * 500 here; `WARMPATH_FUZZ=20000` for the long run, which leaves its figures; `WARMPATH_FUZZ_ONLY=INDEX` plays one again, `WARMPATH_FUZZ_SEED` makes others.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeResult } from "../bench/result.ts";
import { ENDPOINTS, caseOf } from "./fuzz/cases.ts";
import { Random } from "./fuzz/random.ts";
import { type Account, type Failure, runCases, upTo } from "./fuzz/run.ts";
import { metric, runningAt, type Started, startProduct, until } from "./started.ts";

const USUAL = 500;
const total = Number(process.env["WARMPATH_FUZZ"] ?? USUAL);
const only = process.env["WARMPATH_FUZZ_ONLY"];
const seed = Number(process.env["WARMPATH_FUZZ_SEED"] ?? 20_261_124);
const LIMIT_MS = 60_000 + total * 100;

let product: Started;
beforeAll(async () => {
  product = await startProduct({ replicas: 2, sequences: 8, contextTokens: 2_048 });
});
afterAll(() => product?.stop());

async function post(path: string, body: unknown): Promise<Response> {
  const signal = AbortSignal.timeout(20_000);
  return fetch(product.url + path, { method: "POST", headers: product.headers, body: JSON.stringify(body), signal });
}

async function storedId(): Promise<string> {
  const answer = await post("/v1/responses", { model: product.model, input: "Remember the path.", max_output_tokens: 1 });
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { id: string }).id;
}

async function expectAsWellAsBefore(known: { model: string; storedId: string }): Promise<void> {
  for (const { path, body } of ENDPOINTS) {
    const answer = await post(path, body(new Random(1), known));
    expect(answer.status, `${path}: ${await answer.text()}`).toBe(200);
  }
  for (const replica of product.replicas) await until(`${replica.name} runs nothing`, async () => (await runningAt(replica)) === 0);
  await until("no lease is left", async () => (await metric(product, "warmpath_leases")) === 0);
}

it(
  `${total} generated bodies never get a 500`,
  async () => {
    const known = { model: product.model, storedId: await storedId() };
    const indexes = only === undefined ? upTo(total) : [Number(only)];
    const { accounts, failures, seconds } = await runCases(product, { seed, indexes, total, known });
    if (only !== undefined) process.stdout.write(`${caseOf(seed, Number(only), known).bytes.toString("latin1").slice(0, 20_000)}\n`);
    if (total !== USUAL && only === undefined) {
      const parameters = { seed, total, atOnce: 8, seconds: Math.round(seconds), perSecond: Math.round(total / seconds) };
      process.stdout.write(`${writeResult<Account | Failure>("fuzz", parameters, [...accounts, ...failures])}\n`);
    }
    const shown = failures.slice(0, 20).map((failure) => JSON.stringify(failure, null, 2));
    expect(failures.length, shown.join("\n")).toBe(0);
    // Both kinds occur, or the generators are no good.
    if (only === undefined) {
      for (const { endpoint, requests, statuses } of accounts) {
        expect(statuses["200"] ?? 0, endpoint).toBeGreaterThan(requests * 0.15);
        expect(statuses["400"] ?? 0, endpoint).toBeGreaterThan(requests * 0.4);
      }
    }
    await expectAsWellAsBefore(known);
  },
  LIMIT_MS,
);
