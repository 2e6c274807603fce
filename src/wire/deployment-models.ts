/** WARMPATH_MODELS: which pools in which regions serve which model, and what aliases there are. */
import { z } from "zod";

/** Cards of all pools are kept in one object and in each isolate. */
export const MOST_POOLS = 256;

/** As request ids have it: no underscore. */
const PoolName = z.string().regex(/^[0-9A-Za-z.-]{1,64}$/, "a pool's name has 1 to 64 letters, digits, dots and hyphens");
const ModelName = z.string().regex(/^[ -~]{1,128}$/, "a model's name has 1 to 128 printable ASCII characters");
const Placed = z.strictObject({
  pool: PoolName,
  region: z
    .string()
    .regex(/^[0-9a-z-]{1,32}$/, "a region has 1 to 32 lower case letters, digits and hyphens")
    .default(""),
});
const Weighted = z.strictObject({ model: ModelName, weight: z.number().min(0).max(1_000_000).default(1) });

const Models = z
  .strictObject({
    models: z.record(ModelName, z.strictObject({ pools: z.array(Placed).min(1) })),
    aliases: z.record(ModelName, z.array(Weighted).min(1).max(16)).default({}),
  })
  .superRefine(({ models, aliases }, context) => {
    const problem = (path: (string | number)[], message: string): void => context.addIssue({ code: "custom", path, message });
    const taken = new Map<string, string>();
    for (const [model, { pools }] of Object.entries(models)) {
      for (const [index, { pool }] of pools.entries()) {
        const other = taken.get(pool);
        if (other !== undefined)
          problem(["models", model, "pools", index, "pool"], `pool ${pool} serves ${other} already; a pool has one model`);
        taken.set(pool, model);
      }
    }
    if (taken.size === 0) problem(["models"], "names no model");
    if (taken.size > MOST_POOLS) problem(["models"], `names ${taken.size} pools; at most ${MOST_POOLS} are possible`);
    for (const [alias, targets] of Object.entries(aliases)) {
      if (alias in models) problem(["aliases", alias], "is a model's name; an alias needs another");
      if (targets.every(({ weight }) => weight === 0)) problem(["aliases", alias], "every weight is 0");
      for (const [index, { model }] of targets.entries()) {
        if (!(model in models)) problem(["aliases", alias, index, "model"], `there is no model ${model} in models`);
        if (targets.findIndex((target) => target.model === model) !== index)
          problem(["aliases", alias, index, "model"], `names ${model} twice`);
      }
    }
  });

const Json = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: `is no JSON: ${error instanceof Error ? error.message : "not understood"}` });
    return z.NEVER;
  }
});

/** JSON text → the models of a deployment. Each issue has its place, and a message that can follow it. */
export const DeploymentModels = Json.pipe(Models);
