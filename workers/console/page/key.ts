/** The API key of this visit: it comes in the address's fragment, which no server sees, or is typed. */
const KEPT_AS = "warmpath-key";

/** Of `#key=…`; null where there is none. */
export function keyOfFragment(fragment: string): string | null {
  return new URLSearchParams(fragment.replace(/^#/, "")).get("key")?.trim() || null;
}

/** What of the browser the key passes through. */
export interface KeyPlaces {
  location: { hash: string; pathname: string; search: string };
  history: { replaceState(state: null, unused: string, url: string): void };
  sessionStorage: { getItem(name: string): string | null; setItem(name: string, value: string): void; clear(): void };
}

/**
 * Takes the key out of the address, so that neither the bar nor the history shows it. An address without one leaves the kept key. With another
 * key the tab begins anew: what the last one left there is forgotten.
 */
export function takeKey({ location, history, sessionStorage }: KeyPlaces): string | null {
  const given = keyOfFragment(location.hash);
  if (given === null) return sessionStorage.getItem(KEPT_AS);
  history.replaceState(null, "", location.pathname + location.search);
  if (given !== sessionStorage.getItem(KEPT_AS)) sessionStorage.clear();
  sessionStorage.setItem(KEPT_AS, given);
  return given;
}

/** Null forgets it, and all else that the tab has kept. */
export function keepKey(key: string | null, { sessionStorage }: Pick<KeyPlaces, "sessionStorage">): void {
  if (key === null) sessionStorage.clear();
  else sessionStorage.setItem(KEPT_AS, key);
}
