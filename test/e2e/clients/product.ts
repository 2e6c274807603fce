/** What the tests of all clients share: one started product a file, and what they ask of it. */
import { afterAll, beforeAll, expect } from "vitest";
import { z } from "zod";
import { metric, runningAt, type Started, type StartedOptions, startProduct, until } from "../started.ts";

export interface Product {
  /** Of the edge, without `/v1`. */
  readonly url: string;
  readonly apiKey: string;
  readonly model: string;
  readonly headers: Record<string, string>;
  readonly started: Started;
}

/** Started before the file's first test, stopped after its last; its fields can be read from then on only. */
export function productOfFile(options: StartedOptions = {}): Product {
  let started: Started | null = null;
  const get = (): Started => {
    if (started === null) throw new Error("The product is not started yet.");
    return started;
  };
  beforeAll(async () => {
    started = await startProduct({ replicas: 2, sequences: 4, contextTokens: 8192, ...options });
  });
  afterAll(() => started?.stop());
  return {
    get url() {
      return get().url;
    },
    get apiKey() {
      return get().apiKey;
    },
    get model() {
      return get().model;
    },
    get headers() {
      return get().headers;
    },
    get started() {
      return get();
    },
  };
}

export async function runningEverywhere({ started }: Product): Promise<number> {
  return (await Promise.all(started.replicas.map(runningAt))).reduce((sum, running) => sum + running, 0);
}

/** Sooner than what was left could have come to its end: 4,000 tokens take 6 s. For streams and resets: a whole answer that is left by a FIN is noticed later (decision 0019). */
const LEFT_MS = 3_000;

export async function nothingRuns(product: Product): Promise<void> {
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
