import { afterEach, expect, test } from "vitest";
import { announce, type Announcer } from "../../gpu-backend/announce.ts";
import { DEFAULT_SCHEDULE } from "../../src/prefix/segment.ts";
import { PROTOCOL_VERSION } from "../../src/wire/control.ts";
import { PoolSocket } from "./pool-socket.ts";

let pool: PoolSocket;
let announcer: Announcer;
afterEach(() => {
  announcer.close();
  pool.close();
});

/** `life.epoch` is what the next hello says. */
async function joining(): Promise<{ life: { epoch: number }; keys: string[]; times: number[]; states: (boolean | string)[] }> {
  pool = new PoolSocket();
  const [life, keys, times, states] = [{ epoch: 1 }, [] as string[], [] as number[], [] as (boolean | string)[]];
  announcer = announce({
    join: await pool.listen(),
    hello: () => ({
      protocol: PROTOCOL_VERSION,
      pool: "p",
      replica: "r0",
      epoch: life.epoch,
      url: "http://r0.test",
      roles: ["prefill", "decode"],
      model: "demo",
      hashSpec: { version: 1, schedule: [...DEFAULT_SCHEDULE], order: "system-then-tools" },
      anchors: "exact",
      capacity: { sequences: 1, kvTokens: 1_000, blockTokens: 16, contextTokens: 1_000, queueLimit: 1 },
      token: "t",
    }),
    running: () => [],
    load: () => ({ usedKvTokens: 0 }),
    entries: () => [],
    entryCount: () => 0,
    onWelcome: ({ admissionKey }) => keys.push(admissionKey),
    onTime: (poolNowMs) => times.push(poolNowMs),
    onCancel: () => undefined,
    onRefused: () => undefined,
    onUnreached: (message) => states.push(message),
    onLeftOut: (message) => states.push(message),
    onState: (ready) => states.push(ready),
  });
  return { life, keys, times, states };
}

const welcome = (epoch: number, admissionKey: string) =>
  ({ type: "welcome", slot: 0, epoch, admissionKey, poolNowMs: 5, intervalMs: 10 }) as const;

test("a welcome is answered by a heartbeat at once, by which the pool knows that the key is here", async () => {
  const { keys, times } = await joining();
  await pool.next("hello", 0);
  expect(pool.heard.map((frame) => (frame === "residency" ? frame : frame.type))).toEqual(["hello"]);
  pool.say(welcome(1, "key-1"));
  await pool.next("heartbeat", 0);
  expect(keys).toEqual(["key-1"]);
  pool.say({ type: "time", poolNowMs: 77 });
  await pool.next("heartbeat");
  expect(times).toEqual([77]);
});

test("an engine that starts anew before the welcome says hello again, and the first hello's key is not taken", async () => {
  const { life, keys } = await joining();
  await pool.next("hello", 0);
  life.epoch = 2;
  announcer.restart([]);
  expect((await pool.next("hello", 1)).epoch).toBe(2);
  pool.say(welcome(1, "key-1"));
  pool.say(welcome(2, "key-2"));
  await pool.next("heartbeat", 0);
  expect(keys).toEqual(["key-2"]);
});

test("nothing of a new life is said before its hello, nor before its welcome", async () => {
  const { life } = await joining();
  await pool.next("hello", 0);
  pool.say(welcome(1, "key-1"));
  await pool.next("heartbeat", 0);
  const from = pool.heard.length;
  life.epoch = 2;
  announcer.restart([{ hash: 9n, tokens: 16, tierBits: 2 }]);
  expect((await pool.next("hello", from)).seq).toBe(1);
  pool.say(welcome(2, "key-2"));
  await pool.next("heartbeat", from);
  const said = pool.heard.slice(from).map((frame) => (frame === "residency" ? frame : frame.type));
  expect(said.slice(0, 2)).toEqual(["hello", "heartbeat"]);
});

test("a replica is ready when its pool has reached it, and says why it is not", async () => {
  const { states, times } = await joining();
  await pool.next("hello", 0);
  pool.say(welcome(1, "key-1"));
  await pool.next("heartbeat", 0);
  expect(states).toEqual([]);
  pool.say({ type: "unreached", message: "no connection" });
  pool.say({ type: "reached" });
  pool.say({ type: "reached" });
  pool.say({ type: "unreached", message: "it answered 404" });
  pool.say({ type: "time", poolNowMs: 78 });
  while (times.length === 0) await pool.next("heartbeat");
  expect(states).toEqual(["no connection", true, false, "it answered 404"]);
});
