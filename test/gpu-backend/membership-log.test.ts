/** What a replica says of its place: a line at each change, repeats at most once a minute. */
import { describe, expect, it } from "vitest";
import { ChangeLines } from "../../gpu-backend/change-lines.ts";
import { MembershipLog } from "../../gpu-backend/membership-log.ts";

/** A clock that is moved. */
function clock(): { nowMs: () => number; later: (ms: number, run: () => void) => void; pass: (ms: number) => void } {
  let nowMs = 0;
  let waiting: { atMs: number; run: () => void }[] = [];
  return {
    nowMs: () => nowMs,
    later: (ms, run) => void waiting.push({ atMs: nowMs + ms, run }),
    pass(ms) {
      nowMs += ms;
      const due = waiting.filter(({ atMs }) => atMs <= nowMs);
      waiting = waiting.filter(({ atMs }) => atMs > nowMs);
      for (const { run } of due) run();
    },
  };
}

describe("lines about a state", () => {
  it("come once a minute while it stays the same, whatever numbers are in them", () => {
    const [said, time] = [[] as string[], clock()];
    const lines = new ChangeLines<null>((line) => said.push(line), time);
    for (let second = 0; second < 150; second++) {
      lines.now(`not within ${second} s`, null);
      time.pass(1_000);
    }
    expect(said).toEqual(["not within 0 s", "not within 60 s", "not within 120 s"]);
  });

  it("come at each change at once; when it changes too fast, the last word comes when the minute is over", () => {
    const [said, time] = [[] as string[], clock()];
    const lines = new ChangeLines<null>((line) => said.push(line), time);
    for (let turn = 0; turn < 10; turn++) {
      lines.now("joined", null);
      lines.now("lost", null);
      time.pass(1_000);
    }
    expect(said).toEqual(["joined", "lost", "joined", "lost", "joined", "lost"]);
    lines.now("joined", null);
    expect(said).toHaveLength(6);
    time.pass(60_000);
    expect(said.slice(6)).toEqual(["joined"]);
  });
});

describe("the membership log of a replica", () => {
  const place = { join: "wss://edge.example/announce/large", joinToken: "wpj_secret", name: "gpu-1", pool: "large" };

  function heard(answers: (string | null)[] = []) {
    const [said, time] = [[] as string[], clock()];
    let asked = 0;
    const log = new MembershipLog(
      place,
      "https://gpu-1.example",
      (line) => void said.push(line),
      time,
      () => Promise.resolve(answers[Math.min(asked++, answers.length - 1)] ?? null),
    );
    return { said, time, log, asked: () => asked };
  }

  it("has a line when the pool takes the replica and when the replica loses the edge", () => {
    const { said, log } = heard();
    log.joined();
    log.socket("lost");
    log.joined();
    expect(said).toEqual([
      "gpu-1 has joined pool large at edge.example, which reaches it at https://gpu-1.example.",
      "gpu-1 lost the edge at edge.example. It tries to join again.",
      "gpu-1 has joined pool large at edge.example, which reaches it at https://gpu-1.example.",
    ]);
  });

  it("says why the replica cannot join once the edge had time to start, and again when the cause changes", async () => {
    const { said, time, log, asked } = heard([
      "The edge can't be reached.",
      "The edge can't be reached.",
      "The edge refuses the join token.",
    ]);
    for (let tries = 0; tries < 20; tries++) {
      log.socket("failed");
      await Promise.resolve();
      await Promise.resolve();
      time.pass(1_000);
    }
    expect(said).toEqual(["gpu-1 can't join: The edge can't be reached.", "gpu-1 can't join: The edge refuses the join token."]);
    expect(asked()).toBe(4);
    log.socket("open");
    log.socket("failed");
    await Promise.resolve();
    expect(asked()).toBe(4);
  });

  it("never shows the join token", () => {
    const { said, log } = heard();
    log.refused("This pool has another model.");
    log.unreached("no answer within 2 s");
    log.leftOut("Its last 3 requests came to nothing.");
    expect(said.join("\n")).toMatch(/was refused by its pool: This[^]*has no way back: no answer[^]*is left out by its pool: Its last 3/);
    expect(said.join("\n")).not.toContain("wpj_");
  });
});
