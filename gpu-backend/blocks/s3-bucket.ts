/**
 * The five calls of the S3 API that the store tier needs, with a time limit each and a limit on what is read. Objects are addressed by
 * path (`<endpoint>/<bucket>/<name>`), which R2, MinIO, Ceph and AWS understand. Signatures: aws4fetch, without its retries (a block
 * is recomputed sooner than a store answers twice). Payloads are not signed: blocks carry a checksum of their own.
 */
import { AwsClient } from "aws4fetch";
import { withinLimit } from "../time-limit.ts";

export interface S3Location {
  /** Without bucket: "https://<account>.r2.cloudflarestorage.com". */
  endpoint: string;
  bucket: string;
  /** "auto" for R2. */
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
}

export type S3Failure =
  | { type: "absent" }
  /** More than the limit; it was not read to its end. */
  | { type: "oversized" }
  /** It has no room for what was written; otherwise it works. */
  | { type: "full" }
  /** The caller's signal ended it. */
  | { type: "cancelled" }
  /** Down, too slow, or it refuses us. */
  | { type: "failed"; message: string };

interface S3Object {
  name: string;
  bytes: number;
  modifiedAtMs: number;
}

/** What MinIO, Ceph and others answer when a disk or a quota is used up. */
const INSUFFICIENT_STORAGE = 507;
const PAGE_LIMIT_BYTES = 4 * 1024 * 1024;

export class S3Bucket {
  readonly #client: AwsClient;
  readonly #base: string;
  readonly #timeoutMs: number;

  constructor(location: S3Location, timeoutMs: number) {
    const { endpoint, bucket, region, accessKeyId, secretAccessKey } = location;
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3", retries: 0 });
    this.#base = `${endpoint.replace(/\/+$/, "")}/${encodeURIComponent(bucket)}`;
    this.#timeoutMs = timeoutMs;
  }

  /** `ends`: signals that end it. */
  async get(
    name: string,
    limitBytes: number,
    ends: readonly (AbortSignal | undefined)[],
  ): Promise<{ type: "ok"; bytes: Uint8Array } | S3Failure> {
    return this.#call({ method: "GET", path: `/${name}`, limitBytes }, ends);
  }

  async head(name: string, signal: AbortSignal): Promise<{ type: "ok"; contentLength: number } | S3Failure> {
    return this.#call({ method: "HEAD", path: `/${name}`, limitBytes: 0 }, [signal]);
  }

  async put(name: string, bytes: Uint8Array, signal: AbortSignal): Promise<{ type: "ok" } | S3Failure> {
    return this.#call({ method: "PUT", path: `/${name}`, limitBytes: PAGE_LIMIT_BYTES, body: bytes }, [signal]);
  }

  /** What was not there counts as deleted. */
  async delete(name: string, signal: AbortSignal): Promise<{ type: "ok" } | S3Failure> {
    const answer = await this.#call({ method: "DELETE", path: `/${name}`, limitBytes: PAGE_LIMIT_BYTES }, [signal]);
    return answer.type === "absent" ? { type: "ok" } : answer;
  }

  /** One page, in the order of names, after the name `after`. For names that XML does not escape. */
  async list(prefix: string, after: string, signal: AbortSignal): Promise<{ type: "ok"; objects: S3Object[]; more: boolean } | S3Failure> {
    const query = new URLSearchParams({ "list-type": "2", prefix, ...(after === "" ? {} : { "start-after": after }) });
    const answer = await this.#call({ method: "GET", path: `/?${query.toString()}`, limitBytes: PAGE_LIMIT_BYTES }, [signal]);
    if (answer.type !== "ok") return answer;
    const xml = new TextDecoder().decode(answer.bytes);
    if (!xml.includes("<ListBucketResult")) return { type: "failed", message: "not a listing" };
    const objects: S3Object[] = [];
    for (const [, entry = ""] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
      const field = (name: string): string => entry.match(new RegExp(`<${name}>([^<]*)</${name}>`))?.[1] ?? "";
      objects.push({ name: field("Key"), bytes: Number(field("Size")), modifiedAtMs: Date.parse(field("LastModified")) });
    }
    return { type: "ok", objects, more: xml.includes("<IsTruncated>true</IsTruncated>") };
  }

  async #call(call: Call, signals: readonly (AbortSignal | undefined)[]): Promise<Answered | S3Failure> {
    try {
      const limited = await withinLimit({ ms: this.#timeoutMs, signals }, (signal) => this.#ask(call, signal));
      if (limited.type === "done") return limited.result;
      return limited.type === "aborted" ? { type: "cancelled" } : { type: "failed", message: `no answer within ${this.#timeoutMs} ms` };
    } catch (error) {
      if (signals.some((signal) => signal?.aborted === true)) return { type: "cancelled" };
      return { type: "failed", message: error instanceof Error ? error.message : String(error) };
    }
  }

  async #ask({ method, path, limitBytes, body }: Call, signal: AbortSignal): Promise<Answered | S3Failure> {
    const init = { method, signal, redirect: "error" as const };
    const response = await this.#client.fetch(this.#base + path, body === undefined ? init : { ...init, body });
    if (!response.ok) {
      await response.body?.cancel();
      if (response.status === 404) return { type: "absent" };
      return response.status === INSUFFICIENT_STORAGE
        ? { type: "full" }
        : { type: "failed", message: `${method} answered ${response.status}` };
    }
    const bytes = await readAtMost(response, limitBytes, signal);
    const contentLength = Number(response.headers.get("content-length") ?? -1);
    return bytes === null ? { type: "oversized" } : { type: "ok", bytes, contentLength };
  }
}

interface Call {
  method: string;
  path: string;
  limitBytes: number;
  body?: Uint8Array;
}

interface Answered {
  type: "ok";
  bytes: Uint8Array;
  contentLength: number;
}

/** Null when there is more. Rejects when the signal ends it. */
async function readAtMost(response: Response, limitBytes: number, signal: AbortSignal): Promise<Uint8Array | null> {
  const reader = response.body?.getReader();
  if (reader === undefined) return new Uint8Array(0);
  const pieces: Uint8Array[] = [];
  let length = 0;
  const cancel = (): void => void reader.cancel().catch(() => undefined);
  // Of its own: fetch may have forgotten the signal by now.
  signal.addEventListener("abort", cancel);
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      length += read.value.length;
      if (length > limitBytes) return null;
      pieces.push(read.value);
    }
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
