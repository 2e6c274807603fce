/**
 * The five calls of the S3 API that the store tier needs, with a time limit each and a limit on what is read. Objects are addressed by
 * path (`<endpoint>/<bucket>/<name>`), which R2, MinIO, Ceph and AWS understand. Signatures: aws4fetch, without its retries (a block
 * is recomputed sooner than a store answers twice). Payloads are not signed: blocks carry a checksum of their own.
 */
import { AwsClient } from "aws4fetch";

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

export interface S3Object {
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

  async get(name: string, limitBytes: number, signal: AbortSignal): Promise<{ type: "ok"; bytes: Uint8Array } | S3Failure> {
    return this.#call({ method: "GET", path: `/${name}`, limitBytes, signal });
  }

  async head(name: string, signal: AbortSignal): Promise<{ type: "ok"; contentLength: number } | S3Failure> {
    return this.#call({ method: "HEAD", path: `/${name}`, limitBytes: 0, signal });
  }

  async put(name: string, bytes: Uint8Array, signal: AbortSignal): Promise<{ type: "ok" } | S3Failure> {
    return this.#call({ method: "PUT", path: `/${name}`, limitBytes: PAGE_LIMIT_BYTES, signal, body: bytes });
  }

  /** What was not there counts as deleted. */
  async delete(name: string, signal: AbortSignal): Promise<{ type: "ok" } | S3Failure> {
    const answer = await this.#call({ method: "DELETE", path: `/${name}`, limitBytes: PAGE_LIMIT_BYTES, signal });
    return answer.type === "absent" ? { type: "ok" } : answer;
  }

  /** One page, in the order of names, after the name `after`. For names that XML does not escape. */
  async list(prefix: string, after: string, signal: AbortSignal): Promise<{ type: "ok"; objects: S3Object[]; more: boolean } | S3Failure> {
    const query = new URLSearchParams({ "list-type": "2", prefix, ...(after === "" ? {} : { "start-after": after }) });
    const answer = await this.#call({ method: "GET", path: `/?${query.toString()}`, limitBytes: PAGE_LIMIT_BYTES, signal });
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

  async #call(call: {
    method: string;
    path: string;
    limitBytes: number;
    signal: AbortSignal;
    body?: Uint8Array;
  }): Promise<{ type: "ok"; bytes: Uint8Array; contentLength: number } | S3Failure> {
    const { method, path, limitBytes, signal, body } = call;
    try {
      const init = { method, signal: AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]), redirect: "error" as const };
      const response = await this.#client.fetch(this.#base + path, body === undefined ? init : { ...init, body });
      if (!response.ok) {
        await response.body?.cancel();
        if (response.status === 404) return { type: "absent" };
        return response.status === INSUFFICIENT_STORAGE
          ? { type: "full" }
          : { type: "failed", message: `${method} answered ${response.status}` };
      }
      const bytes = await readAtMost(response, limitBytes);
      const contentLength = Number(response.headers.get("content-length") ?? -1);
      return bytes === null ? { type: "oversized" } : { type: "ok", bytes, contentLength };
    } catch (error) {
      if (signal.aborted) return { type: "cancelled" };
      return { type: "failed", message: error instanceof Error ? error.message : String(error) };
    }
  }
}

/** Null when there is more. */
async function readAtMost(response: Response, limitBytes: number): Promise<Uint8Array | null> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop cancels the rest.
  for await (const piece of response.body ?? []) {
    length += piece.length;
    if (length > limitBytes) return null;
    pieces.push(piece);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
