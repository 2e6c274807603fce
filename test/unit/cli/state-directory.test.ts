import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { devFile, removeDevFile, writeDevFile } from "../../../cli/dev-file.ts";
import { loadSecrets, secretsOf } from "../../../cli/secrets.ts";
import { claimStateDirectory, openStateDirectory, writePrivately } from "../../../cli/state-directory.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "warmpath-state-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const modeOf = (...path: string[]): string => (statSync(join(folder, ...path)).mode & 0o777).toString(8);

/** Opening one waits until somebody writes to it. */
const fifo = (name: string): void => void execFileSync("mkfifo", [join(folder, name)]);

describe("a state directory", () => {
  it("is made where there is none, this user's alone", () => {
    expect(openStateDirectory(join(folder, "a/b"))).toEqual({ ok: true });
    expect(modeOf("a/b")).toBe("700");
  });

  it("of 0755 has what is ours in it made 0600 and 0700, and others' files left as they are", () => {
    chmodSync(folder, 0o755);
    for (const name of ["objects", "blocks", "edge-0123456789abcdef", "theirs"]) mkdirSync(join(folder, name), { mode: 0o755 });
    for (const name of ["secret", "dev.json", "dev.vars", "notes.txt"]) writeFileSync(join(folder, name), "x", { mode: 0o644 });
    for (const name of ["objects", "blocks", "edge-0123456789abcdef", "theirs"]) chmodSync(join(folder, name), 0o755);
    for (const name of ["secret", "dev.json", "dev.vars", "notes.txt"]) chmodSync(join(folder, name), 0o644);
    expect(openStateDirectory(folder)).toEqual({ ok: true });
    expect(["objects", "blocks", "edge-0123456789abcdef"].map((name) => modeOf(name))).toEqual(["700", "700", "700"]);
    expect(["secret", "dev.json", "dev.vars"].map((name) => modeOf(name))).toEqual(["600", "600", "600"]);
    expect([modeOf("theirs"), modeOf("notes.txt"), modeOf(".")]).toEqual(["755", "644", "755"]);
  });

  it("that is a file is refused in one line", () => {
    writeFileSync(join(folder, "file"), "");
    const said = `can't be used: it is no directory. Choose another with --state.`;
    for (const path of ["file", "file/below"]) {
      expect(openStateDirectory(join(folder, path))).toEqual({ ok: false, message: `The state directory ${join(folder, path)} ${said}` });
    }
  });

  it("where nothing can be made is refused, and not tried for ever", () => {
    expect(openStateDirectory("/proc/warmpath/state")).toMatchObject({ ok: false, message: expect.stringContaining("it can't be made") });
  });

  it("has one holder, whatever path leads to it, until that gives it up", async () => {
    symlinkSync(folder, `${folder}-link`);
    try {
      fifo("launcher.json");
      const first = await claimStateDirectory(folder);
      if (!first.ok) throw new Error("It is free.");
      expect(existsSync(join(folder, "launcher.json"))).toBe(false);
      fifo("launcher.json");
      expect(await claimStateDirectory(`${folder}-link`)).toEqual({ ok: false, holder: null });
      first.hold({ pid: 17, url: "http://127.0.0.1:1" });
      expect(await claimStateDirectory(`${folder}-link`)).toEqual({ ok: false, holder: { pid: 17, url: "http://127.0.0.1:1" } });
      first.release();
      expect(existsSync(join(folder, "launcher.json"))).toBe(false);
    } finally {
      rmSync(`${folder}-link`);
    }
  });
});

describe("a file that is written privately", () => {
  it("follows no link, whoever put it there, under any umask", () => {
    const target = join(folder, "target");
    writeFileSync(target, "theirs");
    symlinkSync(target, join(folder, "dev.json"));
    symlinkSync(target, join(folder, "dev.json.new"));
    const before = process.umask(0);
    try {
      writePrivately(join(folder, "dev.json"), "ours");
    } finally {
      process.umask(before);
    }
    expect([readFileSync(target, "utf8"), readFileSync(join(folder, "dev.json"), "utf8"), modeOf("dev.json")]).toEqual([
      "theirs",
      "ours",
      "600",
    ]);
  });
});

describe("a FIFO", () => {
  it("in place of dev.json is no launcher's, and removed by the next start", () => {
    fifo("dev.json");
    removeDevFile(devFile(folder), 17);
    expect(statSync(devFile(folder)).isFIFO()).toBe(true);
    removeDevFile(devFile(folder), null);
    expect(existsSync(devFile(folder))).toBe(false);
  });

  it("in place of the secret is said", () => {
    fifo("secret");
    expect(() => loadSecrets(folder)).toThrow(/secret is no file/);
  });
});

describe("the secret", () => {
  it("is made once, and anew where its file is empty", () => {
    const first = loadSecrets(folder);
    expect(first.deployment).toHaveLength(43);
    expect(loadSecrets(folder).deployment).toBe(first.deployment);
    for (const empty of ["", "\n", "  \n"]) {
      writeFileSync(join(folder, "secret"), empty);
      const again = loadSecrets(folder);
      expect(again.deployment).toHaveLength(43);
      expect([again.apiKey === first.apiKey, modeOf("secret")]).toEqual([false, "600"]);
      expect(loadSecrets(folder).deployment).toBe(again.deployment);
    }
  });

  it("that is too short is refused, and not replaced", () => {
    writeFileSync(join(folder, "secret"), "short\n");
    expect(() => loadSecrets(folder)).toThrow(/is too short: it needs 16 characters/);
    expect(readFileSync(join(folder, "secret"), "utf8")).toBe("short\n");
  });

  it("gives each replica a token of its own", () => {
    const secrets = secretsOf("0123456789abcdef");
    const whose = [["a"], ["b"], ["a", "r1"], ["a", "r2"], ["b", "r1"]] as const;
    expect(new Set(whose.map(([pool, replica]) => secrets.joinToken(pool, replica))).size).toBe(5);
  });
});

describe("dev.json", () => {
  const facts = { url: "http://127.0.0.1:1", apiKey: "k", model: "m", launcher: { pid: 17 }, edge: { pid: 2 }, replicas: [] };
  it("is removed by its own launcher's watchdog only", () => {
    writeDevFile(folder, facts);
    removeDevFile(devFile(folder), 16);
    expect(existsSync(devFile(folder))).toBe(true);
    removeDevFile(devFile(folder), 17);
    expect(existsSync(devFile(folder))).toBe(false);
    expect(() => removeDevFile(devFile(folder), 17)).not.toThrow();
  });
});
