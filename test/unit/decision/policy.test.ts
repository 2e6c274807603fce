import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decide } from "../../../src/decision/decide.ts";
import { drawsFrom } from "../../../src/decision/draws.ts";
import { DEFAULT_PROFILE, LOWEST_COST, PICKS, PROFILE_NAMES, PROFILES } from "../../../src/decision/profiles.ts";
import { candidate, dice, request, viewOf } from "./views.ts";

const root = join(import.meta.dirname, "../../..");

describe("a policy that is logic", () => {
  const three = [candidate(0), candidate(1, { inFlight: 16 }), candidate(2)];

  it("is asked for the open replicas only", () => {
    const taken = [0, 1, 2, 3].map((turn) => decide(viewOf(three), request(100), PROFILES["round-robin"], 0, turn).chosen);
    expect(taken).toEqual([0, 2, 0, 2]);
    expect([0, 0.49, 0.5, 0.99].map((draw) => decide(viewOf(three), request(100), PROFILES.random, draw, 0).chosen)).toEqual([0, 0, 2, 2]);
  });

  it("is not asked where none is open", () => {
    const full = candidate(0, { inFlight: 16 });
    expect(decide(viewOf([full]), request(100), PROFILES["round-robin"], 0, 1)).toMatchObject({ chosen: null, outcome: "all-full" });
  });

  it("is named by the records of its decisions, and those of a policy that is gone are decided by cost", () => {
    expect(PROFILES.random).toMatchObject({ name: "random", pick: "random" });
    expect(PICKS).toEqual([LOWEST_COST, "round-robin", "random"]);
    const gone = { ...PROFILES["least-loaded"], name: "gone", pick: "gone" };
    expect(decide(viewOf([candidate(0, { inFlight: 3 }), candidate(1)]), request(100), gone, 0, 0).chosen).toBe(1);
  });
});

describe("the draws of a policy", () => {
  it("begin with the one that the record keeps, are the same again, and are even", () => {
    const roll = dice(5);
    const shares = Array.from({ length: 10 }, () => 0);
    for (let record = 0; record < 2_000; record++) {
      const draw = roll();
      const [draws, again] = [drawsFrom(draw), drawsFrom(draw)];
      const drawn = Array.from({ length: 5 }, draws);
      expect(drawn[0]).toBe(draw);
      expect(Array.from({ length: 5 }, again)).toEqual(drawn);
      for (const one of drawn.slice(1)) shares.splice(Math.floor(one * 10), 1, (shares[Math.floor(one * 10)] ?? 0) + 1);
    }
    // 800 each; six standard deviations are 161.
    for (const share of shares) expect(Math.abs(share - 800)).toBeLessThan(161);
  });
});

it("each policy's name stands in profiles.ts and nowhere else in the product", () => {
  const files = ["src", "workers", "cli", "gpu-backend"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
  );
  // The report has colours for the simulator's peers, some of which have the same names.
  const product = [...files.filter((file) => file.endsWith(".ts") && file !== "cli/report/palette.ts"), "wrangler.toml"];
  for (const name of PROFILE_NAMES) {
    const named = product.filter((file) => new RegExp(`"warmpath:${name}"|"${name}"`).test(readFileSync(join(root, file), "utf8")));
    expect([name, named]).toEqual([name, /^[a-z]+$/.test(name) ? [] : ["src/decision/profiles.ts"]]);
  }
  expect(PROFILE_NAMES).toContain(DEFAULT_PROFILE);
});
