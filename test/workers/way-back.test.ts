/** A replica gets work when its pool has reached it at its URL, and while it does. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { tryWayBack } from "../../workers/objects/way-back.ts";
import { replicaUrlProblem } from "../../workers/replica-url.ts";
import { configOf } from "../../workers/env.ts";
import { MockReplica } from "./mock-replica.ts";
import { TestPool, useClock } from "./support.ts";

describe("a replica whose URL leads nowhere", () => {
  useClock();

  it("is not ready, gets the reason, and is tried again 10 s later", async () => {
    const pool = new TestPool("way-shut");
    const replica = new MockReplica(pool.name);
    replica.answersWayBack = false;
    await replica.join();
    expect((await replica.next("unreached")).message).toBe(
      `The pool can't reach it at ${replica.url}: it answered 404. It gets no requests; it is tried again in 10 s.`,
    );
    expect([await pool.metric("replicas_ready"), await pool.metric("replicas_joining")]).toEqual([0, 1]);
    await pool.passAlive(9_000, [replica]);
    expect(replica.wayTries).toBe(1);
    replica.answersWayBack = true;
    await pool.passAlive(1_500, [replica]);
    await pool.until("replicas_ready", 1);
    expect(replica.wayTries).toBe(2);
    await replica.next("reached");
  });

  it("takes no request while another is there", async () => {
    const pool = new TestPool("way-beside");
    const shut = new MockReplica(pool.name, "r0");
    shut.answersWayBack = false;
    await shut.join();
    const open = await MockReplica.join(pool.name, "r1");
    for (const id of ["one", "two", "three"]) expect(await pool.place(id)).toMatchObject({ replica: "r1", attempt: 1 });
    for (const id of ["one", "two", "three"]) open.settle(id);
    await pool.until("leases", 0);
  });
});

describe("a way that breaks later", () => {
  useClock();

  it("takes the replica out within 10 s, and back when it is open again", async () => {
    const pool = new TestPool("way-breaks");
    const replica = await MockReplica.join(pool.name);
    await pool.until("replicas_ready", 1);
    replica.answersWayBack = false;
    await pool.passAlive(9_500, [replica]);
    await pool.until("replicas_ready", 0);
    await replica.next("unreached");
    const tries = replica.wayTries;
    await pool.passAlive(9_000, [replica]);
    expect(replica.wayTries).toBeLessThanOrEqual(tries + 1);
    replica.answersWayBack = true;
    await pool.passAlive(10_500, [replica]);
    await pool.until("replicas_ready", 1);
  });
});

describe("what is no proof", () => {
  const mac = (text: string): string => `signed ${text}`;
  async function tried(answer: () => Response | Promise<Response>): Promise<unknown> {
    const before = globalThis.fetch;
    let asked: RequestInit | undefined;
    globalThis.fetch = async (_url: unknown, init?: RequestInit) => {
      asked = init;
      return answer();
    };
    const outcome = await tryWayBack({ url: "http://r.test" }, mac).finally(() => (globalThis.fetch = before));
    expect(asked?.redirect).toBe("manual");
    return outcome;
  }

  it.each<[string, () => Response | Promise<Response>, string]>([
    ["another status", () => new Response("x", { status: 503 }), "it answered 503"],
    ["a redirect", () => new Response(null, { status: 307, headers: { location: "http://169.254.169.254/" } }), "it redirects (307)"],
    ["another's signature", () => new Response("signed way-back AAAAAAAAAAAAAAAAAAAAAA"), "what answers there is not this replica"],
    ["nothing", () => new Response(null), "what answers there is not this replica"],
    ["a long answer", () => new Response("x".repeat(10_000)), "what answers there is not this replica"],
    ["no connection", () => Promise.reject(new TypeError("refused")), "no connection"],
  ])("%s", async (_what, answer, why) => {
    expect(await tried(answer)).toEqual({ reached: false, why });
  });

  it("an answer that never ends, and is not read to its end", async () => {
    let pulled = 0;
    const endless = new ReadableStream({ pull: (controller) => (pulled++, controller.enqueue(new Uint8Array(64))) });
    expect(await tried(() => new Response(endless))).toMatchObject({ reached: false });
    expect(pulled).toBeLessThan(10);
  });
});

describe("a hello is refused", () => {
  it("with an epoch more than 60 s ahead of the edge's clock, and the name stays free", async () => {
    const pool = new TestPool("epoch-ahead");
    for (const epoch of [2 ** 53 - 1, Date.now() + 70_000]) {
      const thief = new MockReplica(pool.name, "r0", epoch);
      await thief.open();
      thief.hello();
      expect(await thief.next("refused")).toMatchObject({
        reason: "epoch_ahead",
        message: expect.stringContaining("Set the replica's clock"),
      });
    }
    await MockReplica.join(pool.name, "r0", { epoch: Date.now() + 50_000 });
    expect(await pool.metric("replicas_ready")).toBe(1);
  });

  it.each(["http://user:secret@r0.test", "http://169.254.169.254", "http://r0.test/?x=", "http://[::ffff:169.254.169.254]:80"])(
    "with the URL %s",
    async (url) => {
      const pool = new TestPool(`url-${url.length}`);
      const replica = new MockReplica(pool.name);
      replica.overrides = { url };
      await replica.open();
      replica.hello();
      const { reason, message } = await replica.next("refused");
      expect(reason).toBe("url");
      expect(message).not.toContain("secret");
    },
  );
});

it("a URL's slash at its end is not doubled", async () => {
  const pool = new TestPool("url-slash");
  const replica = new MockReplica(pool.name);
  replica.overrides = { url: `${replica.url}/` };
  await replica.join();
  expect((await pool.place("req")).url).toBe(replica.url);
  replica.settle("req");
  await pool.until("leases", 0);
});

describe("where a replica may be", () => {
  const host = (text: string): string => `https://${text}`;
  it.each([host("gpu-1.example"), host("gpu-1.example:8443/base")])("%s: anywhere", (url) => {
    expect([replicaUrlProblem(url, "public"), replicaUrlProblem(url, "private")]).toEqual([null, null]);
  });
  it.each([
    "http://gpu-1.example",
    ...["10.0.0.1", "127.0.0.1", "2130706433", "0x7f.1", "1.1.1.1", "[::1]", "[fd00::1]", "localhost", "gpu", "gpu.local"].map(host),
    ...["a.localhost", "a.localhost.", "gpu.internal", "gpu.home.arpa"].map(host),
  ])("%s: only where the deployment says so", (url) => {
    expect(replicaUrlProblem(url, "public")).toMatch(/public addresses only/);
    expect(replicaUrlProblem(url, "private")).toBeNull();
  });
  it.each([
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[fe80::1]",
    "[ff02::1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "METADATA.google.internal.",
  ])("http://%s: nowhere", (text) => {
    expect(replicaUrlProblem(`http://${text}`, "private")).toMatch(/can't be a replica's address/);
  });
  it.each(["ftp://r.test", "http://", "nonsense", "http://r.test/#x", "http://r.test?"])("%s: nowhere", (url) => {
    expect(replicaUrlProblem(url, "private")).not.toBeNull();
  });
  it("a deployment that does not say takes none that is private", () => {
    const { WARMPATH_REPLICA_ADDRESSES: _left, ...rest } = { ...env };
    expect(configOf(rest as typeof env).replicaAddresses).toBe("public");
  });
});

it("with a token per replica a name takes its own token only", () => {
  const shared = configOf({ ...env });
  const own = configOf({ ...env, WARMPATH_JOIN_TOKENS: "replica" });
  const may = (config: typeof own, token: string): boolean => config.isJoinToken(token, "p", "gpu-1");
  expect([may(shared, shared.joinToken("p")), may(shared, shared.joinToken("p", "gpu-1"))]).toEqual([true, true]);
  expect([may(own, own.joinToken("p")), may(own, own.joinToken("p", "gpu-2")), may(own, own.joinToken("q", "gpu-1"))]).toEqual([
    false,
    false,
    false,
  ]);
  expect(may(own, own.joinToken("p", "gpu-1"))).toBe(true);
});
