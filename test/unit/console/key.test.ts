import { expect, it } from "vitest";
import { keepKey, keyOfFragment, type KeyPlaces, takeKey } from "../../../workers/console/page/key.ts";

/** A tab at this address. */
function tabAt(hash: string) {
  const kept = new Map<string, string>();
  const shown: string[] = [];
  const places: KeyPlaces = {
    location: { hash, pathname: "/", search: "?a=b" },
    history: { replaceState: (_state, _unused, url) => void shown.push(url) },
    sessionStorage: {
      getItem: (name) => kept.get(name) ?? null,
      setItem: (name, value) => void kept.set(name, value),
      clear: () => kept.clear(),
    },
  };
  return { places, shown, kept };
}

it("the fragment's key is kept for the tab and leaves the address", () => {
  const { places, shown } = tabAt("#key=wp_one");
  expect(takeKey(places)).toBe("wp_one");
  expect(shown).toEqual(["/?a=b"]);
  expect(takeKey({ ...places, location: { ...places.location, hash: "" } })).toBe("wp_one");
});

it("the same key leaves what the tab has kept, another one and none forget it", () => {
  const { places, kept } = tabAt("#key=two");
  keepKey("two", places);
  kept.set("conversation", "of two");
  expect(takeKey(places)).toBe("two");
  expect(kept.get("conversation")).toBe("of two");
  expect(takeKey({ ...places, location: { ...places.location, hash: "#key=three" } })).toBe("three");
  expect([...kept.values()]).toEqual(["three"]);
  kept.set("conversation", "of three");
  keepKey(null, places);
  expect(kept.size).toBe(0);
});

it("a fragment without a key has none", () => {
  expect(["", "#", "#key=", "#chat"].map(keyOfFragment)).toEqual([null, null, null, null]);
});
