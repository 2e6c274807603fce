/** What a socket may say before it is a replica's. */
import { exports } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { expect, it, vi } from "vitest";
import { MockReplica } from "./mock-replica.ts";
import { TestPool, useClock } from "./support.ts";

useClock();

const upgrade = (headers: Record<string, string>): Promise<Response> =>
  exports.default.fetch(new Request("https://edge.test/announce/default", { headers: { upgrade: "websocket", ...headers } }));

it("without the join token no socket is opened, and none for a page of a browser", async () => {
  // Refusals beyond four a second wait.
  vi.useRealTimers();
  for (const headers of [{}, { authorization: "Bearer wpj_nonsense" }, { authorization: "wpj_nonsense" }] as Record<string, string>[]) {
    const answer = await upgrade(headers);
    expect([answer.status, answer.webSocket, await answer.json()]).toMatchObject([401, null, { error: { code: "invalid_join_token" } }]);
  }
  expect((await upgrade({ origin: "https://evil.test" })).status).toBe(403);
});

const HUGE = JSON.stringify({ type: "heartbeat", seq: 1, running: Array.from({ length: 5_000 }, (_, n) => ({ id: `r${n}` })) });

it.each([
  ["a frame that is no hello", HUGE, "malformed"],
  ["a binary frame", new Uint8Array(16), "malformed"],
  ["a hello that is too long", `{"type":"hello","token":"x","pad":"${"x".repeat(600_000)}"}`, "malformed"],
  ["a hello with a wrong token", `{"type":"hello","token":"wpj_nonsense","seq":[`, "bad_token"],
  ["a hello without one", `{"type":"hello",`, "bad_token"],
])("%s closes a socket that has no replica, unread", async (what, frame, reason) => {
  const pool = new TestPool(`stranger-${what.replaceAll(" ", "-")}`);
  const stranger = new MockReplica(pool.name);
  await stranger.open();
  const parse = vi.spyOn(JSON, "parse");
  try {
    if (typeof frame === "string") stranger.sendText(frame);
    else stranger.transmit(frame);
    expect(await stranger.next("refused")).toMatchObject({ reason });
    expect(parse.mock.calls.filter(([text]) => text === frame)).toEqual([]);
  } finally {
    parse.mockRestore();
  }
  expect((await stranger.closing()).code).toBe(4000);
});

it("what a replica sent before it heard that the pool lost its memory closes nothing", async () => {
  const pool = new TestPool("stranger-rejoins");
  const replica = await MockReplica.join(pool.name);
  replica.answersRejoin = false;
  await pool.evict();
  await pool.metric("leases");
  replica.heartbeat();
  replica.transmit(new Uint8Array(16));
  await pool.metric("leases");
  expect(replica.closed).toBeNull();
  replica.hello();
  await replica.next("welcome");
  await pool.until("replicas_ready", 1);
  expect(await runInDurableObject(pool.stub, (_object, state) => state.getWebSockets().length)).toBe(1);
  replica.close();
});
