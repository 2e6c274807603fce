/** GET /v1/decisions: a tenant's own, of one pool or of several, as it takes to decide them again. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { decodeRecord, type EncodedRecord, replay } from "../../src/explain/record.ts";
import type { Funnel } from "../../src/explain/funnel.ts";
import { formatKey } from "../../src/tenancy/key.ts";
import { ChatStream } from "../../src/wire/chat-answer.ts";
import { CompletionStream } from "../../src/wire/completion-answer.ts";
import { MessageStream } from "../../src/wire/messages-answer.ts";
import { itemId, responseId } from "../../src/wire/response-object.ts";
import { createApp } from "../../workers/app.ts";
import { configOf, type Env } from "../../workers/env.ts";
import { mintPlacedRequestId } from "../../workers/request-id.ts";
import { MockReplica } from "./mock-replica.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
const app = createApp();
const two: Env = { ...env, WARMPATH_POOLS: "one,other" };
const only: Env = { ...env, WARMPATH_POOLS: "one" };

async function list(query: string, { tenant = "acme", bindings = only }: { tenant?: string; bindings?: Env } = {}): Promise<Response> {
  const authorization = `Bearer ${formatKey({ tenant, keyId: "1" }, "0123456789abcdef", mac)}`;
  const context = createExecutionContext();
  const request = new Request(`https://edge.test/v1/decisions${query}`, { headers: { authorization } });
  const response = await app.fetch(request, bindings, context);
  await waitOnExecutionContext(context);
  return response;
}

interface Listed {
  object: string;
  pool: string | null;
  pools: string[];
  funnel: Funnel;
  hindsight: { known: number };
  data: (EncodedRecord & { pool: string })[];
}
const listed = async (...asked: Parameters<typeof list>): Promise<Listed> => (await list(...asked)).json<Listed>();
const idIn = (event: string): string => /"id":"([^"]+)"/.exec(event)?.[1] ?? "";
const idsOf = ({ data }: Listed): string[] => data.map(({ id }) => id);

/** Placed, run to its end, and reported. */
async function served(pool: TestPool, replica: MockReplica, id: string, tenant = "acme"): Promise<void> {
  const before = await pool.metric("leases_settled_total");
  await pool.place(id, chainOf(7, 4), { tenant });
  replica.report({ event: "decoding", id, attempt: 1, promptTokens: 100, cachedTokens: 60, prefillMs: 10 });
  replica.settle(id);
  await pool.until("leases_settled_total", before + 1);
  // Decisions of one millisecond have no turn.
  await pool.pass(1);
}

describe("the list of decisions", () => {
  it("has the tenant's own, newest last, and they replay", async () => {
    const pool = new TestPool("one");
    const replica = await MockReplica.join("one");
    await served(pool, replica, "a");
    await served(pool, replica, "theirs", "rival");
    await served(pool, replica, "b");
    await served(pool, replica, "c");
    const all = await listed("");
    expect(all).toMatchObject({ object: "list", pool: "one", pools: ["one"], hindsight: { known: 3 } });
    expect(idsOf(all)).toEqual(["a", "b", "c"]);
    expect(all.funnel).toMatchObject({ requests: 3, promptTokens: 300 });
    expect(JSON.stringify(all)).not.toMatch(/tenant|acme|rival|theirs/);
    for (const record of all.data) expect(replay(decodeRecord(record)).reason).toBe(record.decision.reason);
    expect(all.data.map(({ seenTokens }) => (seenTokens ?? 0) > 0)).toEqual([false, true, true]);
    expect(idsOf(await listed("?limit=2"))).toEqual(["b", "c"]);
    expect(idsOf(await listed("", { tenant: "rival" }))).toEqual(["theirs"]);
    expect(await listed("", { tenant: "stranger" })).toMatchObject({ funnel: { requests: 0 }, hindsight: { known: 0 }, data: [] });
    expect(await pool.metric("funnel_requests_total")).toBe(4);
    expect(await pool.metric("funnel_prompt_tokens_total")).toBe(400);
    replica.close();
  });

  it("is joined from all pools, or of the one that is named", async () => {
    const pools = [new TestPool("one"), new TestPool("other")] as const;
    const [one, other] = await Promise.all(pools.map(({ name }) => MockReplica.join(name)));
    if (one === undefined || other === undefined) throw new Error("two replicas");
    const before = idsOf(await listed("", { bindings: two }));
    await served(pools[0], one, "d");
    await served(pools[1], other, "e");
    await served(pools[0], one, "f");
    const joined = await listed("", { bindings: two });
    expect(joined).toMatchObject({ pool: null, pools: ["one", "other"] });
    expect(joined.data.slice(before.length).map(({ id, pool }) => [id, pool])).toEqual([
      ["d", "one"],
      ["e", "other"],
      ["f", "one"],
    ]);
    const named = await listed("?pool=other", { bindings: two });
    expect([named.pool, idsOf(named), named.funnel.requests]).toEqual(["other", ["e"], 1]);
    one.close();
    other.close();
  });

  it("tells one decision in words", async () => {
    const pool = new TestPool("one");
    const replica = await MockReplica.join("one");
    await served(pool, replica, "told");
    const told = JSON.parse((await pool.stub.explain("told", "acme")) ?? "null") as { attempts: { why: string; hindsight: object }[] };
    expect(told.attempts[0]?.why).toMatch(
      /^r0 was chosen as the only one that could take it.*0 of 100 prompt tokens were reused and 10 written\./,
    );
    expect(told.attempts[0]?.hindsight).toMatchObject({ best: "r0", regretMs: 0 });
    expect(await pool.stub.explain("told", "rival")).toBeNull();
    replica.close();
  });

  it("finds one by its answer's id, whichever API gave it, for its own tenant only", async () => {
    const pool = new TestPool("one");
    const replica = await MockReplica.join("one");
    for (const bindings of [only, two]) {
      const id = mintPlacedRequestId(configOf(bindings), "acme", "one");
      await served(pool, replica, id);
      const head = { requestId: id, createdS: 0, model: "demo" };
      const shown = [
        id,
        idIn(new ChatStream(head, { includeUsage: false, n: 1 }).open()),
        idIn(new CompletionStream(head, { includeUsage: false }).event({ type: "text", choice: 0, text: "Hi", logprobs: null })),
        idIn(new MessageStream(head).open()),
        responseId(head),
        itemId(head, "text", 0),
        itemId(head, "reasoning", 1),
      ];
      expect(shown.map((each) => /^[a-z]+[_-]/.exec(each)?.[0])).toEqual(["req_", "chatcmpl-", "cmpl-", "msg_", "resp_", "msg_", "rs_"]);
      for (const each of shown) {
        const answer = await list(`/${each}`, { bindings });
        expect([each, answer.status, await answer.json()]).toEqual([each, 200, expect.objectContaining({ id, pool: "one" })]);
        expect([each, (await list(`/${each}`, { bindings, tenant: "rival" })).status]).toEqual([each, 404]);
      }
    }
    replica.close();
  });

  it.each(["0", "1001", "-1", "1.5", "ten", ""])("refuses limit=%s", async (limit) => {
    const answer = await list(`?limit=${limit}`);
    expect([answer.status, await answer.json()]).toEqual([400, { error: expect.objectContaining({ param: "limit" }) as unknown }]);
  });

  it("knows no pool that is not there, and asks for one where there are many", async () => {
    const unknown = await list("?pool=none-such");
    expect([unknown.status, await unknown.json()]).toEqual([404, { error: expect.objectContaining({ param: "pool" }) as unknown }]);
    const many: Env = { ...env, WARMPATH_POOLS: Array.from({ length: 17 }, (_, n) => `p${n}`).join(",") };
    const answer = await list("", { bindings: many });
    expect([answer.status, await answer.json()]).toEqual([400, { error: expect.objectContaining({ param: "pool" }) as unknown }]);
    expect((await list("?pool=p3", { bindings: many })).status).toBe(200);
  });
});
