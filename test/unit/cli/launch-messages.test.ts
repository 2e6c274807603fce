import { describe, expect, it } from "vitest";
import { endOf, LaunchMessages } from "../../../cli/launch-messages.ts";

function heard(): { messages: LaunchMessages; progress: string[]; news: string[]; log: string[] } {
  const [progress, news, log]: [string[], string[], string[]] = [[], [], []];
  const outputs = {
    progress: (line: string) => void progress.push(line),
    news: (line: string) => void news.push(line),
    bar: (what: string, part: number, detail: string) => void progress.push(`${what} ${part} ${detail}`),
    endBar: () => undefined,
  };
  return { messages: new LaunchMessages(outputs, (line) => void log.push(line)), progress, news, log };
}

describe("the launcher", () => {
  it("says each step until all is ready", () => {
    const { messages, progress, news } = heard();
    messages.begins("http://127.0.0.1:8787", 2, ".warmpath");
    messages.making("the tiny model");
    messages.fetching("a model");
    messages.moved("a model", 25e6, 100e6);
    // A wheel may be longer than it was expected to be.
    messages.moved("a model", 101e6, 100e6);
    messages.step("the edge listens");
    messages.joined("replica-2", 1, 2);
    messages.joined("replica-1", 2, 2);
    messages.ready();
    messages.step("never said");
    expect([progress, news]).toEqual([
      [
        "Warmpath starts: the edge at http://127.0.0.1:8787 and 2 replicas. State in .warmpath.",
        "  making the tiny model, once",
        "  fetching a model, once",
        "a model 0.25 25 of 100 MB",
        "a model 1 100 of 100 MB",
        "  the edge listens",
        "  replica-2 is here (1 of 2)",
        "  replica-1 is here (2 of 2)",
      ],
      [],
    ]);
  });

  it("shows how far models are loaded, all together, where that takes a while", () => {
    let nowMs = 0;
    const bars: string[] = [];
    const ignore = (): void => undefined;
    const outputs = {
      progress: ignore,
      news: ignore,
      endBar: ignore,
      bar: (what: string, part: number, detail: string) => void bars.push(`${what} ${part} ${detail}`),
    };
    const messages = new LaunchMessages(outputs, ignore, () => nowMs);
    messages.loading("replica-1", 0.5);
    nowMs = 1_000;
    messages.loading("replica-2", 0.5);
    messages.loading("replica-1", 1);
    messages.ready();
    messages.loading("replica-1", 0.5);
    expect(bars).toEqual(["loading the model 0.5 50 %", "loading the model 0.75 75 %"]);
  });

  it("says afterwards who ended, and who is back: only of those that had ended", () => {
    const { messages, news, log } = heard();
    messages.died("replica-1", "code 1");
    messages.ready();
    messages.died("replica-2", "SIGKILL");
    // As after a restart of the edge.
    messages.joined("replica-1", 1, 2);
    messages.joined("replica-2", 2, 2);
    messages.joined("replica-2", 2, 2);
    expect(news).toEqual(["replica-2 died (SIGKILL), starting again.", "replica-2 is back."]);
    expect(log).toEqual(["replica-1 died (code 1).", "Ready.", ...news]);
  });
});

it("an end is a signal's name, or a code", () => {
  expect([endOf(null, "SIGTERM"), endOf(3, null)]).toEqual(["SIGTERM", "code 3"]);
});
