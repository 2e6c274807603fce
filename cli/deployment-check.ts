/** Whether WARMPATH_MODELS fits the replicas of this start: asked before anything is started. */
import { DeploymentModels } from "../src/wire/deployment-models.ts";

/** `pools`: those that a replica of this start joins; empty: replicas come from elsewhere. Null: it fits; else one line with the place. */
export function deploymentProblem(text: string, pools: readonly string[]): string | null {
  const read = DeploymentModels.safeParse(text);
  if (!read.success) {
    const [issue] = read.error.issues;
    return `${["WARMPATH_MODELS", ...(issue?.path ?? [])].join(".")}: ${(issue?.message ?? "it is not understood").split("\n", 1)[0]}`;
  }
  if (pools.length === 0) return null;
  const named = new Map(
    Object.entries(read.data.models).flatMap(([model, { pools: placed }]) =>
      placed.map(({ pool }, index) => [pool, `WARMPATH_MODELS.models.${model}.pools.${index}.pool`] as const),
    ),
  );
  const joined = pools.join(", ");
  for (const [pool, place] of named)
    if (!pools.includes(pool))
      return `${place}: no replica of this start joins ${pool}; they join ${joined}. Give --pools a higher number, or take it out.`;
  const unnamed = pools.find((pool) => !named.has(pool));
  if (unnamed === undefined) return null;
  return `WARMPATH_MODELS.models: no model has the pool ${unnamed}, which replicas of this start join. Name it there, or give --pools a lower number.`;
}
