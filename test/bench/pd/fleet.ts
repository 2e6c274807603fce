/** Pinned replicas and the requests that reach them without an edge: the bench signs admissions and tickets as a pool would. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { join } from "node:path";
import xxhash from "xxhash-wasm";
import { sha256 } from "../../../gpu-backend/sha256.ts";
import { chainOf, chainRoot } from "../../../src/prefix/chain.ts";
import { PromptEncoder } from "../../../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../../../src/prefix/segment.ts";
import { encodeAdmission, forwardedDigest } from "../../../src/wire/admission.ts";
import { HEADER } from "../../../src/wire/headers.ts";
import { parseChatRequest } from "../../../src/wire/openai.ts";
import { encodeSource, encodeTicket } from "../../../src/wire/ticket.ts";
import type { ReplicaOrder, ReplicaSaid } from "./replica.ts";

const SPEC: HashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" };
const PATH = "/v1/chat/completions";
const SALT = "bench";
const EXPIRES_MS = 600_000;
const xxh = await xxhash();
const hash64 = (bytes: Uint8Array, seed: bigint): bigint => xxh.h64Raw(bytes, seed);
const encoder = new PromptEncoder(hash64);
let serial = 0;

export interface PinnedReplica {
  name: string;
  url: string;
  model: string;
  key: Buffer;
  child: ChildProcess;
}

/** `cores`: as taskset writes them. */
export async function startPinned(cores: string, order: Omit<ReplicaOrder, "key">): Promise<PinnedReplica> {
  const key = randomBytes(32);
  const child = spawn("taskset", ["-c", cores, process.execPath, join(import.meta.dirname, "replica.ts")], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  child.send({ ...order, key: key.toString("base64url") } satisfies ReplicaOrder);
  const said = await new Promise<ReplicaSaid>((resolve) => {
    child.once("message", (message) => resolve(message as ReplicaSaid));
    child.once("exit", (code) => resolve({ type: "failed", message: `the replica ended with ${code}` }));
  });
  if (said.type === "failed") throw new Error(said.message);
  return { name: order.name, url: said.url, model: said.model, key, child };
}

const macOf =
  (key: Buffer) =>
  (text: string): string =>
    createHmac("sha256", key).update(text).digest("base64url");

export interface Streamed {
  /** From sending to the first content, ms. */
  ttftMs: number;
  /** When each later piece came, ms after the one before, and on this process's clock. */
  gaps: { ms: number; atMs: number }[];
}

/** Streams a chat from `replica`; its prompt is computed by `prefill` where one is given. */
export async function chat(
  replica: PinnedReplica,
  text: string,
  maxTokens: number,
  prefill: PinnedReplica | null,
  signal?: AbortSignal,
): Promise<Streamed> {
  const body = JSON.stringify({
    model: replica.model,
    messages: [{ role: "user", content: text }],
    stream: true,
    temperature: 0,
    max_tokens: maxTokens,
  });
  const parsed = parseChatRequest(JSON.parse(body));
  if (!parsed.ok) throw new Error(parsed.error.message);
  const root = chainRoot(hash64, { spec: SPEC, model: replica.model, adapter: null, salt: SALT });
  const chain = chainOf(hash64, root, encoder.encode(parsed.request.prompt, SPEC.order), SPEC.schedule);
  const id = `req_bench_${serial++}`;
  const chainTip = chain.hashes.at(-1)?.toString(16) ?? "";
  const expiresAtMs = Date.now() + EXPIRES_MS;
  const digest = forwardedDigest(sha256, 0, sha256(body));
  const admission = { id, attempt: 1, salt: SALT, path: PATH, bodyBytes: Buffer.byteLength(body), digest, chainTip, expiresAtMs };
  const headers: Record<string, string> = {
    "content-type": "application/json",
    [HEADER.admission]: encodeAdmission(admission, macOf(replica.key)),
  };
  if (prefill !== null) {
    const ticket = {
      id: `${id}~prefill`,
      attempt: 1,
      salt: SALT,
      from: prefill.url,
      chainTip,
      expiresAtMs,
      kind: "prefill" as const,
      digest,
    };
    headers[HEADER.prefill] = encodeSource({ replica: prefill.name, url: prefill.url, ticket: encodeTicket(ticket, macOf(prefill.key)) });
  }
  const sentMs = performance.now();
  const response = await fetch(`${replica.url}${PATH}`, {
    method: "POST",
    headers,
    body,
    ...(signal === undefined ? {} : { signal }),
  });
  if (response.status !== 200 || response.body === null) throw new Error(`${response.status} ${await response.text()}`);
  return follow(response.body, sentMs);
}

async function follow(body: ReadableStream<Uint8Array>, sentMs: number): Promise<Streamed> {
  const told: Streamed = { ttftMs: Number.NaN, gaps: [] };
  let lastMs = Number.NaN;
  try {
    for await (const chunk of body) {
      if (!Buffer.from(chunk).includes('"content":"')) continue;
      const atMs = performance.now();
      if (Number.isNaN(lastMs)) told.ttftMs = atMs - sentMs;
      else told.gaps.push({ ms: atMs - lastMs, atMs });
      lastMs = atMs;
    }
  } catch (error) {
    // The bench ends streams by their signal.
    if (!(error instanceof Error && error.name === "AbortError")) throw error;
  }
  return told;
}
