import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createStoreTier, type StoreTier, type StoreTierOptions } from "../../gpu-backend/blocks/store-tier.ts";
import { damagedIn } from "../../gpu-backend/blocks/tier.ts";
import { Clock, keyOf, kvSpace, sealedOf } from "../conformance/tier-blocks.ts";
import { startStore, storeAt, type StartedStore } from "../conformance/tier-store.ts";

const SIZE = sealedOf("a").bytes.length;
const clock = new Clock();
let store: StartedStore;
/** What the stand-in answers now. */
let answer: RequestListener = () => {};
let standIn: Server;
let asked = 0;

beforeAll(async () => {
  store = await startStore();
  standIn = createServer((request, response) => {
    asked++;
    answer(request, response);
  });
  await new Promise<void>((resolve) => standIn.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  standIn.closeAllConnections();
  standIn.close();
  await store.close();
});

function bad(more: Partial<StoreTierOptions> = {}): StoreTier {
  asked = 0;
  const endpoint = `http://127.0.0.1:${(standIn.address() as AddressInfo).port}`;
  return createStoreTier({ ...storeAt(endpoint), prefix: "", kvSpace, budgetBytes: 100 * SIZE, now: clock.now, ...more });
}

function listing(names: readonly string[], more: boolean): string {
  const entry = (name: string): string =>
    `<Contents><Key>${name}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>${SIZE}</Size></Contents>`;
  return `<ListBucketResult><IsTruncated>${more}</IsTruncated>${names.map(entry).join("")}</ListBucketResult>`;
}

it("finds again what it wrote, and what another replica wrote", async () => {
  const options = store.options(clock.now, 100 * SIZE);
  const one = createStoreTier(options);
  const other = createStoreTier(options);
  for (const block of [sealedOf("a"), sealedOf("b", "a")]) await one.put(block);
  expect(other.has(keyOf("a"))).toBe(false);
  expect(await other.get(keyOf("b"))).toEqual(sealedOf("b", "a"));
  expect(other.has(keyOf("b"))).toBe(true);
  expect(await other.put(sealedOf("a"))).toBe("present");
  const third = createStoreTier(options);
  expect(await third.refresh()).toBe(true);
  expect([...third.keys()].toSorted()).toEqual([keyOf("a"), keyOf("b")].toSorted());
  expect(third.usedBytes).toBe(2 * SIZE);
  await one.forget(keyOf("a"));
  await third.refresh();
  expect([...third.keys()]).toEqual([keyOf("b")]);
  expect(await createStoreTier({ ...options, kvSpace: "0".repeat(64) }).get(keyOf("b"))).toBeNull();
});

it("knows no more than it may, and lists page after page", async () => {
  const options = store.options(clock.now, 2_000 * SIZE);
  const writer = createStoreTier(options);
  await Promise.all(Array.from({ length: 30 }, (_, n) => writer.put(sealedOf(`x${n}`))));
  const reader = createStoreTier({ ...options, maxKnown: 10 });
  await reader.refresh();
  expect([...reader.keys()]).toHaveLength(10);
  expect((await reader.get(keyOf("x3")))?.key).toBe(keyOf("x3"));
  expect([...reader.keys()]).toHaveLength(10);
  const poor = createStoreTier({ ...options, budgetBytes: 5 * SIZE });
  await poor.refresh();
  expect(poor.usedBytes).toBe(5 * SIZE);
  const full = createStoreTier(options);
  await full.refresh();
  expect([...full.keys()]).toHaveLength(30);
});

it("reads a listing of several pages", async () => {
  const folder = `${kvSpace.slice(0, 16)}/`;
  const names = Array.from({ length: 25 }, (_, n) => folder + keyOf(`${n}`)).toSorted();
  const tier = bad();
  answer = (request, response) => {
    const after = new URL(request.url ?? "", "http://x").searchParams.get("start-after") ?? "";
    const page = names.filter((name) => name > after).slice(0, 10);
    response.end(listing([`${folder}0-readme`, ...page], page.at(-1) !== names.at(-1)));
  };
  expect(await tier.refresh()).toBe(true);
  expect([...tier.keys()]).toHaveLength(25);
  expect(asked).toBe(3);
});

it("does without a store that is down, asks it rarely, and lists it when it is back", async () => {
  let up = false;
  answer = (request, response) => {
    response.statusCode = up ? 200 : 503;
    if (request.url?.includes("list-type") === true) response.end(listing([`${kvSpace.slice(0, 16)}/${keyOf("far")}`], false));
    else response.end(request.method === "GET" ? sealedOf("a").bytes : undefined);
  };
  const tier = bad();
  for (let n = 0; n < 10; n++) expect(await tier.put(sealedOf(`x${n}`))).toBe("refused");
  expect([asked, tier.down]).toEqual([3, true]);
  expect(await tier.get(keyOf("a"))).toBeNull();
  expect(await tier.refresh()).toBe(false);
  expect(asked).toBe(3);
  expect(tier.counters).toMatchObject({ refused: 10, errors: 3, misses: 1 });
  clock.ms += 5_001;
  await Promise.all([tier.get(keyOf("a")), tier.get(keyOf("a")), tier.get(keyOf("a"))]);
  expect(asked).toBe(4);
  up = true;
  clock.ms += 5_001;
  expect((await tier.get(keyOf("a")))?.key).toBe(keyOf("a"));
  expect(tier.down).toBe(false);
  await tier.refresh();
  expect(tier.has(keyOf("far"))).toBe(true);
});

it("gives up on a store that does not answer, at once when the caller does", async () => {
  answer = () => {};
  const tier = bad({ timeoutMs: 30 });
  expect(await tier.get(keyOf("a"))).toBeNull();
  expect(await tier.put(sealedOf("a"))).toBe("refused");
  expect(tier.counters.errors).toBe(2);
  const patient = bad({ timeoutMs: 60_000 });
  const cancel = new AbortController();
  answer = () => cancel.abort();
  expect(await patient.get(keyOf("a"), cancel.signal)).toBeNull();
  expect([patient.down, patient.counters.errors]).toEqual([false, 0]);
  answer = () => {};
  const got = patient.get(keyOf("a"));
  await patient.close();
  expect(await got).toBeNull();
});

it("takes no garbage: wrong, cut, swapped or endless bodies", async () => {
  const bodies: [string, RequestListener][] = [
    ["page", (_, response) => void response.end("<html>Welcome to our wifi</html>".repeat(20))],
    ["empty", (_, response) => void response.end()],
    ["cut", (_, response) => void response.end(sealedOf("a").bytes.subarray(0, 150))],
    ["another block", (_, response) => void response.end(sealedOf("b").bytes)],
    ["broken off", (_, response) => void response.writeHead(200, { "content-length": SIZE }).write("WPKV", () => response.destroy())],
    ["redirect", (_, response) => void response.writeHead(302, { location: "http://127.0.0.1:1/" }).end()],
    ["endless", endless],
  ];
  for (const [name, body] of bodies) {
    const tier = bad();
    answer = (request, response) => (request.method === "GET" ? body(request, response) : void response.end());
    expect(await tier.get(keyOf("a")), name).toBeNull();
    expect(tier.has(keyOf("a"))).toBe(false);
    expect(Math.min(1, damagedIn(tier.counters)) + tier.counters.errors, name).toBe(1);
  }
  answer = (_, response) => void response.end("<html>");
  expect(await bad().refresh()).toBe(false);
});

const endless: RequestListener = (_, response) => {
  const piece = Buffer.alloc(1 << 20, 1);
  const more = (): void => void (response.destroyed || response.write(piece, more));
  more();
};

it("does not believe an object of another length to be its block", async () => {
  const methods: string[] = [];
  answer = (request, response) => {
    methods.push(request.method ?? "");
    request.resume();
    response.writeHead(200, request.method === "HEAD" ? { "content-length": 7 } : {}).end();
  };
  expect(await bad().put(sealedOf("a"))).toBe("stored");
  expect(methods).toEqual(["HEAD", "PUT"]);
});

it("reads a damaged block again before it deletes what belongs to all", async () => {
  const good = sealedOf("a").bytes;
  const methods: string[] = [];
  let bad1 = 1;
  answer = (request, response) => {
    methods.push(request.method ?? "");
    request.resume();
    if (request.method !== "GET") return void response.writeHead(204).end();
    response.end(bad1-- > 0 ? good.subarray(0, 100) : good);
  };
  const once1 = bad();
  expect((await once1.get(keyOf("a")))?.bytes).toEqual(good);
  expect(once1.counters.damaged).toMatchObject({ length: 1 });
  expect(methods).toEqual(["GET", "GET"]);
  bad1 = 2;
  expect(await bad().get(keyOf("a"))).toBeNull();
  expect(methods.slice(2)).toEqual(["GET", "GET", "DELETE"]);
});

it("lists anew when an object that it knew is gone, not for each", async () => {
  const names = ["a", "b", "c"];
  let lists = 0;
  let left = names;
  answer = (request, response) => {
    request.resume();
    if (request.url?.includes("list-type") === true) {
      lists++;
      return void response.end(
        listing(
          left.map((name) => `${kvSpace.slice(0, 16)}/${keyOf(name)}`),
          false,
        ),
      );
    }
    response.writeHead(404).end();
  };
  const tier = bad();
  await tier.refresh();
  expect([...tier.keys()]).toHaveLength(3);
  left = ["c"];
  clock.ms += 20_000;
  for (const name of ["a", "b"]) expect(await tier.get(keyOf(name))).toBeNull();
  await tier.refresh();
  expect([...tier.keys()]).toEqual([keyOf("c")]);
  expect(lists).toBeLessThanOrEqual(3);
  // Of an object that nobody knew, nothing is learnt.
  const before = lists;
  clock.ms += 20_000;
  expect(await tier.get(keyOf("never"))).toBeNull();
  await tier.close();
  expect(lists).toBe(before);
});

it("ends a call at its time limit when the store falls silent, whatever the garbage collector does meanwhile", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (const begin of [false, true]) {
    answer = (request, response) => {
      request.resume();
      if (begin) response.writeHead(200, { "content-length": SIZE }).write("WPKV");
    };
    const tier = bad({ timeoutMs: 100 });
    const collecting = setInterval(collect, 10);
    // Four calls, after which the store counts as down.
    const got = await Promise.all(Array.from({ length: 4 }, (_, n) => tier.get(keyOf(`x${n}`))));
    clearInterval(collecting);
    expect(got).toEqual([null, null, null, null]);
    expect(tier.counters.errors).toBe(4);
  }
});
