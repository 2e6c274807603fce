/** Every request that a replica answers, whichever API it came through, as a call that the edge answers. */
import type { Context, Handler } from "hono";
import { type AppEnv, background, errorResponse } from "../context.ts";
import { answerCall } from "../inference/answer.ts";
import { askedOf } from "../inference/asked.ts";
import { Client, type Here, InferenceCall } from "../inference/call.ts";
import { type ReadJson, readJson, refusalHeaders } from "../read-json.ts";

/** As long as its connection stands. */
export function clientOf({ signal }: Request): Client {
  const client = new Client();
  if (signal.aborted) client.left();
  else signal.addEventListener("abort", () => client.left());
  return client;
}

export const hereOf = (c: Context<AppEnv>): Here => ({
  env: c.env,
  config: c.get("config"),
  view: c.get("edge"),
  background: background(c),
});

export const inference: Handler<AppEnv> = async (c) => {
  const arrivedAtMs = Date.now();
  const read = await readJson(c.req.raw);
  return "code" in read ? errorResponse(c, read, refusalHeaders(c.req.raw.headers, read)) : infer(c, read, arrivedAtMs);
};

/** `read`: its body. `arrivedAtMs`: when the request came, before its body. */
export async function infer(c: Context<AppEnv>, read: ReadJson, arrivedAtMs: number): Promise<Response> {
  const here = hereOf(c);
  const asked = await askedOf(here.env, { tenant: c.get("tenant"), path: c.req.path, header: (name) => c.req.header(name), read });
  if ("code" in asked) return errorResponse(c, asked);
  const call = new InferenceCall(here, asked, clientOf(c.req.raw), arrivedAtMs);
  const answer = await answerCall(call);
  if (call.id !== null) c.set("requestId", call.id);
  return answer instanceof Response ? answer : errorResponse(c, answer);
}
