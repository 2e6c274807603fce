import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { main as joinToken } from "../../../cli/join-token.ts";
import { main as key } from "../../../cli/key.ts";
import { main as replay } from "../../../cli/replay.ts";
import { loadSecrets, secretsOf } from "../../../cli/secrets.ts";

let state: string;
let printed: string[];
let refused: string[];

beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), "warmpath-key-"));
  printed = [];
  refused = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => void printed.push(line));
  vi.spyOn(console, "error").mockImplementation((line: string) => void refused.push(line));
  vi.stubEnv("WARMPATH_SECRET", "");
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(state, { recursive: true, force: true });
});

describe("warmpath key and join-token", () => {
  it("read the secret of a state directory", () => {
    const secrets = loadSecrets(state);
    expect([key(["--state", state]), joinToken(["default", "--state", state])]).toEqual([0, 0]);
    expect(printed).toEqual([secrets.apiKey, secrets.joinToken("default")]);
  });

  it("read WARMPATH_SECRET", () => {
    vi.stubEnv("WARMPATH_SECRET", "a secret of thirty-two characters");
    const secrets = secretsOf("a secret of thirty-two characters");
    expect([key([]), joinToken(["default", "gpu-1"])]).toEqual([0, 0]);
    expect(printed).toEqual([secrets.apiKey, secrets.joinToken("default", "gpu-1")]);
  });

  it("make no secret where there is none", () => {
    expect(key(["--state", state])).toBe(2);
    expect(refused[0]).toContain("There is no secret in");
    expect(existsSync(join(state, "secret"))).toBe(false);
  });

  it("refuse a short secret", () => {
    vi.stubEnv("WARMPATH_SECRET", "short");
    expect(key([])).toBe(2);
    expect(refused).toEqual(["WARMPATH_SECRET is too short: it needs 16 characters."]);
  });
});

describe("warmpath replay", () => {
  it("prints its usage when no log is named", async () => {
    expect(await replay([])).toBe(2);
    expect(refused[0]).toContain("warmpath replay");
  });
});
