/** What the tests of all clients share: a product, and what they ask of it. */
import { beforeAll, expect, inject } from "vitest";
import { z } from "zod";
import { metric, runningAt, until } from "../started.ts";
import type { SharedProduct } from "./shared-products.ts";

/** The product of this file's worker, of two replicas. Nothing runs there when the file's tests begin. */
export function productOfWorker(): SharedProduct {
  const product = inject("products")[Number(process.env.VITEST_POOL_ID) - 1];
  if (product === undefined) throw new Error("This worker has no product.");
  beforeAll(() => nothingRuns(product));
  return product;
}

export async function runningEverywhere({ replicas }: SharedProduct): Promise<number> {
  return (await Promise.all(replicas.map(runningAt))).reduce((sum, running) => sum + running, 0);
}

/** Sooner than what was left could have come to its end: 4,000 tokens take 6 s. For streams and resets: a whole answer that is left by a FIN is noticed later (decision 0019). */
const LEFT_MS = 3_000;

export async function nothingRuns(product: SharedProduct): Promise<void> {
  await until("no replica runs anything", async () => (await runningEverywhere(product)) === 0, LEFT_MS);
  await until("no lease is left", async () => (await metric(product, "warmpath_leases")) === 0, LEFT_MS);
}

/** Greedy, the demo model goes on with this for as many tokens as it may. */
export const LONG = "Tell me everything.";

/** What `promise` was rejected with. */
export async function thrownBy(promise: PromiseLike<unknown>): Promise<unknown> {
  let answer: unknown;
  try {
    answer = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`Nothing was thrown, but this was answered: ${JSON.stringify(answer)}`);
}

/** The same, of one class. */
export async function thrown<T extends Error>(type: abstract new (...args: never[]) => T, promise: PromiseLike<unknown>): Promise<T> {
  const error = await thrownBy(promise);
  if (error instanceof type) return error;
  throw new Error(`Thrown was not ${type.name}.`, { cause: error });
}

/** A tool that even a random model calls well, when it must: few short values. */
export const weather = z.strictObject({ city: z.enum(["Oslo", "Rome"]), unit: z.enum(["c", "f"]) });
export const weatherSchema = {
  type: "object" as const,
  properties: { city: { type: "string", enum: ["Oslo", "Rome"] }, unit: { type: "string", enum: ["c", "f"] } },
  required: ["city", "unit"],
  additionalProperties: false as const,
};
export const WEATHER_ABOUT = "The weather of a city now.";

/** Long enough for the pool to know where it is warm: shorter ones go where there is room. */
export const LONG_QUESTION = `How is the weather in Oslo? ${"And what of the northern path? ".repeat(24)}`;

export const anyNumber = expect.any(Number) as number;
export const anyString = expect.any(String) as string;

export const keysOf = (value: object): string[] => Object.keys(value).toSorted();

export const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
