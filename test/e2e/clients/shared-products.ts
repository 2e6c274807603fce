/**
 * The products that the tests of clients ask: started once, one for each worker. A file has its worker's to itself while it runs, and finds
 * nothing running there; answers of other files may be in its caches.
 */
import type { TestProject } from "vitest/node";
import { type Started, startProduct } from "../started.ts";

/** What of a product can be handed to a worker. */
export type SharedProduct = Pick<Started, "url" | "apiKey" | "model" | "replicas" | "headers" | "stateDirectory">;

declare module "vitest" {
  interface ProvidedContext {
    /** By worker, `VITEST_POOL_ID` from 1. */
    products: SharedProduct[];
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const workers = project.vitest.config.maxWorkers;
  const products = await Promise.all(
    Array.from({ length: workers }, () => startProduct({ replicas: 2, sequences: 4, contextTokens: 8_192 })),
  );
  project.provide(
    "products",
    products.map(({ url, apiKey, model, replicas, headers, stateDirectory }) => ({
      url,
      apiKey,
      model,
      replicas,
      headers,
      stateDirectory,
    })),
  );
  return async () => {
    await Promise.all(products.map((product) => product.stop()));
  };
}
