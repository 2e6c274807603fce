/** Bodies as clients bring them: whole, broken off, or most of one and then nothing. */
import { expect, it } from "vitest";
import { readBody } from "../../workers/read-body.ts";
import { UnfinishedBodies } from "../../workers/unfinished-bodies.ts";

const LIMIT = 8 * 1024 * 1024;

interface Bringing {
  read: ReturnType<typeof readBody>;
  /** Its part has been read. */
  brought: Promise<void>;
  end: () => void;
  break: () => void;
}

/** A body that brings `part` and goes on only when it is told to. */
function bring(part: Uint8Array): Bringing {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  // Whoever is given up is read no more.
  const ignore = (written: Promise<void>): Promise<void> => written.catch(() => undefined);
  return {
    brought: ignore(writer.write(part)),
    read: readBody(new Request("https://edge.test/", { method: "POST", body: readable }), LIMIT),
    end: () => void ignore(writer.close()),
    break: () => void ignore(writer.abort(new Error("Network connection lost."))),
  };
}

it("a client that goes while it sends is no bug of ours", async () => {
  const client = bring(new Uint8Array(10));
  client.break();
  expect(await client.read).toBe("gone");
});

it("when unfinished bodies hold 64 MiB, the one that has brought nothing for longest is given up, and the newest is read", async () => {
  const part = new Uint8Array(LIMIT - 1);
  const bringInTurn = async (count: number): Promise<Bringing[]> => {
    const clients: Bringing[] = [];
    for (let n = 0; n < count; n++) {
      const client = bring(part);
      await client.brought;
      clients.push(client);
    }
    return clients;
  };
  const clients = await bringInTurn(10);
  const [oldest, second, ...others] = clients;
  expect(await oldest?.read).toBe("late");
  expect(await second?.read).toBe("late");
  for (const { end } of others) end();
  for (const { read } of others) expect(await read).toHaveLength(LIMIT - 1);
  // What has ended holds nothing.
  const later = await bringInTurn(8);
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

/** As the platform brings bodies: what was written, in parts of any size, with the length in the headers or without. */
function inParts(whole: Uint8Array, sizes: readonly number[], { declared = true } = {}): Request {
  const { readable, writable } = new FixedLengthStream(whole.length);
  const writing = async (): Promise<void> => {
    const writer = writable.getWriter();
    for (let at = 0, n = 0; at < whole.length; n++) {
      const size = sizes[n % sizes.length] ?? 1;
      await writer.write(whole.slice(at, at + size));
      at += size;
    }
    await writer.close();
  };
  // Whoever has heard enough reads no more.
  void writing().catch(() => undefined);
  const headers: Record<string, string> = declared ? { "content-length": String(whole.length) } : {};
  return new Request("https://edge.test/", { method: "POST", body: readable, headers });
}

const mixed = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8) * 7) & 0xff);

it.each([[[1]], [[4_095]], [[4_096]], [[4_097]], [[65_536]], [[300_000]], [[4_096, 16_384, 65_536, 3, 65_537]]])(
  "a body in parts of %j bytes is its bytes in their order, and up to the limit and no longer",
  async (sizes) => {
    const limit = sizes[0] === 1 ? 300 : 200_000;
    for (const declared of [true, false]) {
      for (const length of [1, limit - 1, limit]) {
        const whole = mixed(length);
        const read = await readBody(inParts(whole, sizes, { declared }), limit);
        expect(read instanceof Uint8Array && Buffer.compare(read, whole) === 0, `${length} bytes`).toBe(true);
      }
      // Taken in all the same, that the client hears of it.
      for (const length of [limit + 1, limit * 3]) expect(await readBody(inParts(mixed(length), sizes, { declared }), limit)).toBeNull();
    }
  },
);

it("an empty body is none, and one that is cut after any of its parts is gone", async () => {
  expect(await readBody(inParts(new Uint8Array(), [1]), LIMIT)).toHaveLength(0);
  for (const length of [1, 4_096, 20_480, 86_016, 200_000]) {
    const client = bring(mixed(length));
    await client.brought;
    client.break();
    expect(await client.read).toBe("gone");
  }
});
