/** Environment variables: those this process reads, and those that its child processes get. */
import type { z } from "zod";

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** `message`: the first variable that is wrong, and what is wrong with it. */
export type EnvironmentRead<T> = { ok: true; values: T } | { ok: false; message: string };

export function readEnvironment<T>(schema: z.ZodType<T>, environment: Environment): EnvironmentRead<T> {
  const parsed = schema.safeParse(environment);
  if (parsed.success) return { ok: true, values: parsed.data };
  const issue = parsed.error.issues[0];
  return { ok: false, message: `${issue?.path.join(".") ?? "environment"}: ${issue?.message ?? "not understood"}` };
}

/** Without what is meant for this program alone: its variables hold join tokens, keys of stores and the deployment's secret. */
export function withoutOurs(environment: Environment): Environment {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("WARMPATH_")));
}
