/** Environments for child processes. */

/** Without what is meant for this program alone: its variables hold join tokens, keys of stores and the deployment's secret. */
export function withoutOurs(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("WARMPATH_")));
}
