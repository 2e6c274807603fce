/** Bodies as clients bring them: whole, broken off, or most of one and then nothing. */
import { expect, it } from "vitest";
import { readBody } from "../../workers/read-body.ts";
import { UnfinishedBodies } from "../../workers/unfinished-bodies.ts";

const LIMIT = 8 * 1024 * 1024;

interface Bringing {
  read: ReturnType<typeof readBody>;
  end: () => void;
  break: () => void;
}

/** A body that has brought `part` and goes on only when it is told to. */
function bring(part: Uint8Array): Bringing {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({
    start(own) {
      controller = own;
      own.enqueue(part);
    },
  });
  const read = readBody(new Request("https://edge.test/", { method: "POST", body }), LIMIT);
  return { read, end: () => controller?.close(), break: () => controller?.error(new Error("Network connection lost.")) };
}

it("a client that goes while it sends is no bug of ours", async () => {
  const client = bring(new Uint8Array(10));
  client.break();
  expect(await client.read).toBe("gone");
});

it("when unfinished bodies hold 64 MiB, the one that has brought nothing for longest is given up, and the newest is read", async () => {
  const part = new Uint8Array(LIMIT - 1);
  const clients = Array.from({ length: 10 }, () => bring(part));
  const [oldest, second, ...others] = clients;
  expect(await oldest?.read).toBe("late");
  expect(await second?.read).toBe("late");
  for (const { end } of others) end();
  for (const { read } of others) expect(await read).toHaveLength(LIMIT - 1);
  // What has ended holds nothing.
  const later = Array.from({ length: 8 }, () => bring(part));
  for (const { end } of later) end();
  for (const { read } of later) expect(await read).toHaveLength(LIMIT - 1);
});

it("bodies give way in the order of their last 16 KiB, and small ones never", () => {
  const given: string[] = [];
  const bodies = new UnfinishedBodies(300_000, 1_000);
  const begin = (name: string) => bodies.begin(() => given.push(name));
  const [small, first, trickles, goesOn] = [begin("small"), begin("first"), begin("trickles"), begin("goes on")];
  bodies.grow(small, 1_000);
  for (const body of [goesOn, trickles, first]) bodies.grow(body, 50_000);
  bodies.grow(goesOn, 20_000);
  bodies.grow(trickles, 1);
  const large = begin("large");
  bodies.grow(large, 200_000);
  expect(given).toEqual(["trickles", "first"]);
  // A part of it was on its way.
  bodies.grow(first, 200_000);
  expect(given).toEqual(["trickles", "first"]);
  bodies.end(large);
  bodies.grow(begin("next"), 200_000);
  expect(given).toEqual(["trickles", "first"]);
  bodies.grow(begin("more than all"), 400_000);
  expect(given).toEqual(["trickles", "first", "goes on", "next", "more than all"]);
});
