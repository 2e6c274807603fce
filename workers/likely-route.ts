/** What a caller with a wrong base URL meant: `/chat/completions`, `/v1/v1/messages` and `/v1//models` each end like a path that is here. */

interface RouteLine {
  method: string;
  /** As it was registered: `/v1/responses/:id`. */
  path: string;
}

const PREFIX = "/v1/";
/** Longer paths are nobody's typing error. */
const MOST_CHARACTERS = 512;

/** `POST /v1/chat/completions`, with the caller's own method where the path has it; null when no path under /v1 ends like this one. */
export function likelyRoute(routes: readonly RouteLine[], method: string, path: string): string | null {
  if (path.length > MOST_CHARACTERS) return null;
  const asked = path.split("/").filter((segment) => segment !== "");
  let best: { tail: readonly string[]; named: number; methods: string[] } | null = null;
  for (const route of routes) {
    if (!route.path.startsWith(PREFIX) || route.method === "ALL") continue;
    const wanted = route.path.slice(PREFIX.length).split("/");
    const tail = tailLike(wanted, asked);
    if (tail === null) continue;
    const named = wanted.filter((segment) => !segment.startsWith(":")).length;
    if (best === null || named > best.named) best = { tail, named, methods: [route.method] };
    else if (named === best.named && tail.length === best.tail.length) best.methods.push(route.method);
  }
  if (best === null) return null;
  const wanted = method === "HEAD" ? "GET" : method;
  const said = best.methods.includes(wanted) ? method : (best.methods[0] ?? method);
  return `${said} ${PREFIX}${best.tail.join("/")}`;
}

/** The end of `asked` that `wanted` matches; `:name` takes one segment, `:name{.+}` all that are left. */
function tailLike(wanted: readonly string[], asked: readonly string[]): readonly string[] | null {
  const takesRest = wanted.at(-1)?.endsWith("{.+}") === true;
  const first = takesRest ? 0 : asked.length - wanted.length;
  for (let from = Math.max(0, first); from + wanted.length <= asked.length; from += 1) {
    if (wanted.every((segment, index) => segment.startsWith(":") || segment === asked[from + index])) return asked.slice(from);
  }
  return null;
}
