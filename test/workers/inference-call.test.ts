/** A call that no HTTP request stands behind, as those who keep requests will make it. */
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { EdgeView } from "../../src/edge/edge-view.ts";
import { configOf } from "../../workers/env.ts";
import { answerCall } from "../../workers/inference/answer.ts";
import { askedOf } from "../../workers/inference/asked.ts";
import { Client, InferenceCall } from "../../workers/inference/call.ts";
import { isRequestOf } from "../../workers/request-id.ts";
import { Replicas } from "./edge.ts";
import { MockReplica } from "./mock-replica.ts";

const JSON_TYPE = { "content-type": "application/json" };
const replicas = new Replicas();
await MockReplica.join("default", "r1");

const works: Promise<unknown>[] = [];
async function callOf(value: object, client = new Client()): Promise<InferenceCall> {
  const read = { value, bytes: new TextEncoder().encode(JSON.stringify(value)) };
  const asked = await askedOf(env, { tenant: "acme", path: "/v1/chat/completions", header: () => undefined, read });
  if ("code" in asked) throw new Error(asked.message);
  const here = { env, config: configOf(env), view: new EdgeView(), background: (work: Promise<unknown>) => void works.push(work) };
  return new InferenceCall(here, asked, client, Date.now());
}

const chat = { model: "demo", messages: [{ role: "user", content: "Hi" }] };

it("is answered like one that came over HTTP", async () => {
  const answer = JSON.stringify({ id: "chatcmpl-1", choices: [] });
  replicas.answer = () => new Response(answer, { headers: { ...JSON_TYPE, "content-length": String(answer.length) } });
  const call = await callOf(chat);
  expect(call.id).toBeNull();
  const served = await answerCall(call);
  if (!(served instanceof Response)) throw new Error(served.message);
  expect([served.status, served.headers.get("x-warmpath-replica"), await served.text()]).toEqual([200, "r1", answer]);
  expect([call.id, isRequestOf(configOf(env), "acme", call.id ?? "")]).toEqual([replicas.lastId, true]);
});

it("has its error as a value", async () => {
  expect(await answerCall(await callOf({ ...chat, model: "another" }))).toMatchObject({ code: "model_not_found", param: "model" });
});

it("asks no replica once whoever waits for it has left", async () => {
  const client = new Client();
  const call = await callOf(chat, client);
  client.left();
  expect(await answerCall(call)).toMatchObject({ code: "replica_lost" });
  expect(replicas.sent).toEqual([]);
});

it("tells its replica to stop when whoever waits for it leaves", async () => {
  const client = new Client();
  replicas.answer = () => {
    queueMicrotask(() => client.left());
    return new Promise(() => undefined);
  };
  expect(await answerCall(await callOf(chat, client))).toMatchObject({ code: "replica_lost" });
  expect(replicas.sent).toHaveLength(1);
  await Promise.all(works);
});
