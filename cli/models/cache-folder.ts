/** The user's cache: what is fetched once for every start and every state directory. */
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/** `$XDG_CACHE_HOME/warmpath`, else `~/.cache/warmpath`. The XDG Base Directory Specification takes no relative path. */
export function cacheFolder(environment: NodeJS.ProcessEnv): string {
  const given = environment["XDG_CACHE_HOME"] ?? "";
  return join(isAbsolute(given) ? given : join(homedir(), ".cache"), "warmpath");
}
