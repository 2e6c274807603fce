import { describe, expect, it } from "vitest";
import { EdgeOutput, firstWords } from "../../../cli/edge-output.ts";
import { refusedLine, servedLine } from "../../../cli/request-line.ts";

describe("what the edge's process writes", () => {
  it("goes to the log; requests have lines of their own, and an unexpected error is reported once a minute", () => {
    let nowMs = 0;
    const [log, requests, problems]: [string[], string[], number[]] = [[], [], []];
    const ears = {
      log: (line: string) => void log.push(line),
      request: (line: string) => void requests.push(line),
      problem: () => void problems.push(nowMs),
    };
    const output = new EdgeOutput(ears, () => nowMs);
    output.line('warmpath-request {"method":"POST","path":"/v1/messages","status":401,"ms":2}');
    output.line("workerd/server/server.c++:1: error: something");
    for (nowMs of [10, 20_000, 60_010]) output.line("unexpected: Error: no");
    expect(requests).toEqual(["POST /v1/messages 401: answered by the edge in 2 ms"]);
    expect(log).toHaveLength(4);
    expect(problems).toEqual([10, 60_010]);
  });

  it.each([
    [
      "*** Fatal uncaught kj::Exception: kj/async-io-unix.c++:945: failed: ::bind(sockfd, &addr.generic, addrlen): Address already in use; toString() = 127.0.0.1:1\nstack: 55 66",
      "::bind(sockfd, &addr.generic, addrlen): Address already in use; toString() = 127.0.0.1:1",
    ],
    ["\nworkerd/server/workerd.c++:12: error: no such module; stack: 1 2 3", "no such module"],
    ["config.capnp:3:1: error: Parse error.", "config.capnp:3:1: error: Parse error."],
    ["", ""],
  ])("of %j the first words are %j", (errors, words) => {
    expect(firstWords(errors)).toBe(words);
  });
});

describe("a request's line", () => {
  const served = {
    method: "POST",
    path: "/v1/chat/completions",
    status: 200,
    model: "smollm2",
    promptTokens: 1_012,
    cachedTokens: 928,
    outputTokens: 96,
    ttftMs: 1_100,
    ms: 4_230,
  };

  it("has the method, the model, the replica, the tokens, the times and the status", () => {
    expect(servedLine("replica-2", served)).toBe(
      "POST /v1/chat/completions 200 smollm2 replica-2: 928 of 1,012 prompt tokens cached, first token after 1.1 s, 96 tokens in 4.2 s",
    );
  });

  it("leaves out what there was not", () => {
    const nothing = { ...served, status: 400, model: "", promptTokens: null, cachedTokens: null, outputTokens: 0, ttftMs: null, ms: 3 };
    expect(servedLine("replica-2", nothing)).toBe("POST /v1/chat/completions 400 replica-2: 3 ms");
  });

  it("is not made of a line that only looks like it", () => {
    expect([refusedLine("something else"), refusedLine("warmpath-request {no")]).toEqual([null, null]);
  });
});
