import { describe, expect, it } from "vitest";
import { endOf, Voice } from "../../../cli/voice.ts";

function heard(): { voice: Voice; progress: string[]; news: string[] } {
  const [progress, news]: [string[], string[]] = [[], []];
  return { voice: new Voice({ progress: (line) => progress.push(line), news: (line) => news.push(line) }), progress, news };
}

describe("the launcher", () => {
  it("says each step until all is ready", () => {
    const { voice, progress, news } = heard();
    voice.begins("http://127.0.0.1:8787", 2, ".warmpath");
    voice.making("the demo model");
    voice.step("the edge listens");
    voice.joined("replica-2", 1, 2);
    voice.joined("replica-1", 2, 2);
    voice.ready();
    voice.step("never said");
    expect([progress, news]).toEqual([
      [
        "Warmpath starts: the edge at http://127.0.0.1:8787 and 2 replicas. State in .warmpath.",
        "  making the demo model, once",
        "  the edge listens",
        "  replica-2 is here (1 of 2)",
        "  replica-1 is here (2 of 2)",
      ],
      [],
    ]);
  });

  it("says afterwards who ended, and who is back: only of those that had ended", () => {
    const { voice, news } = heard();
    voice.died("replica-1", "code 1");
    voice.ready();
    voice.died("replica-2", "SIGKILL");
    // As after a restart of the edge.
    voice.joined("replica-1", 1, 2);
    voice.joined("replica-2", 2, 2);
    voice.joined("replica-2", 2, 2);
    expect(news).toEqual(["replica-2 ended (SIGKILL). It is started again.", "replica-2 is back."]);
  });
});

it("an end is a signal's name, or a code", () => {
  expect([endOf(null, "SIGTERM"), endOf(3, null)]).toEqual(["SIGTERM", "code 3"]);
});
