import { describe, expect, it } from "vitest";
import { Terminal } from "../../../cli/terminal.ts";

function terminal(
  isTTY: boolean,
  environment: NodeJS.ProcessEnv = {},
): { said: () => string; terminal: Terminal; pass: (ms: number) => void } {
  let [text, nowMs] = ["", 0];
  const stream = { isTTY, write: (part: string) => void (text += part) };
  return {
    said: () => text,
    terminal: new Terminal({ stdout: stream, stderr: stream }, environment, () => nowMs),
    pass: (ms) => void (nowMs += ms),
  };
}

const ESCAPES = /\x1b|\r/; // oxlint-disable-line no-control-regex -- what only a terminal understands is what is looked for

describe("on a terminal", () => {
  it("a bar moves in its line, no faster than the eye, and news stand above it", () => {
    const { said, terminal: screen, pass } = terminal(true);
    screen.bar("file", 0, "0 of 4 MB");
    screen.bar("file", 0.25, "1 of 4 MB");
    pass(100);
    screen.bar("file", 0.5, "2 of 4 MB");
    screen.news("replica-1 died.");
    for (const _ of [1, 2]) screen.bar("file", 1, "4 of 4 MB");
    screen.progress("next");
    const lines = said()
      .split("\n")
      .map((line) => line.slice(line.lastIndexOf("\r") + 1).replaceAll("\x1b[2K", ""));
    expect(said()).not.toContain("1 of 4 MB");
    expect(said()).toContain(`\r\x1b[2K  file [${"#".repeat(12)}${".".repeat(12)}] 2 of 4 MB`);
    expect(lines).toEqual(["replica-1 died.", `  file [${"#".repeat(24)}] 4 of 4 MB`, "next", ""]);
  });

  it("bad news are red, unless NO_COLOR is set", () => {
    const [plain, coloured] = [terminal(true, { NO_COLOR: "1" }), terminal(true)];
    for (const each of [plain, coloured]) each.terminal.news("gone", "bad");
    expect([plain.said(), coloured.said()]).toEqual(["gone\n", "\x1b[31mgone\x1b[0m\n"]);
  });
});

describe("elsewhere", () => {
  it.each([
    ["in a file", false, {}],
    ["on a terminal that can't go back", true, { TERM: "dumb" }],
  ])("%s all is plain lines, and a bar is a line at each quarter", (_, isTTY, environment) => {
    const { said, terminal: screen } = terminal(isTTY, environment);
    for (const part of [0, 0.1, 0.26, 0.3, 0.8, 1, 1, 1]) screen.bar("file", part, `${part * 100} %`);
    screen.news("gone", "bad");
    screen.progress("\x1b[31mothers' words\x1b[0m");
    expect(said()).toBe("  file: 26 %\n  file: 80 %\n  file: 100 %\ngone\nothers' words\n");
    expect(said()).not.toMatch(ESCAPES);
  });
});
