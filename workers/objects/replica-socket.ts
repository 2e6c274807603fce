/** One replica's socket as the pool object handles it: what is written on it, what is said over it, and what a hello must bring. */
import type { ReplicaHello } from "../../src/pool/replica.ts";
import { HASH_SPEC_VERSIONS, scheduleProblem, specFingerprint } from "../../src/prefix/segment.ts";
import type { ResyncNeed } from "../../src/routing/resync.ts";
import { CLOSE, type FromPool, type Hello, PROTOCOL_VERSION, type RefusalReason } from "../../src/wire/control.ts";
import { type Config, sameText } from "../env.ts";
import type { EpochKey } from "./admission-keys.ts";

const HELLO_PATIENCE_MS = 5_000;
/** Characters of a hello: it names at most 2,048 running requests, of some 130 characters each. */
const HELLO_LENGTH = 512 * 1024;
const IS_HELLO = /"type"\s*:\s*"hello"/;
const TOKEN = /"token"\s*:\s*"([0-9A-Za-z_-]{1,128})"/;
const FRAMES_PER_SECOND = 600;

const NOT_OURS = "The join token is not this pool's.";

/** What survives on a socket while the object is out of memory. */
export interface Attachment {
  connection: number;
  openedAtMs: number;
  /** Null until the hello was accepted. */
  slot: number | null;
  epoch: number;
  /** Of the replica that speaks over it; null until it was welcomed. */
  key: EpochKey | null;
  /** It was welcomed once, and this object has lost its memory since: what is under way may be any frame. */
  rejoins?: boolean;
}

export function attach(socket: WebSocket, value: Attachment): void {
  socket.serializeAttachment(value);
}

/** A socket that is no replica's yet; `rejoins`: that was one's before this object lost its memory. */
export function attachStranger(socket: WebSocket, connection: number, openedAtMs: number, rejoins = false): void {
  attach(socket, { connection, openedAtMs, slot: null, epoch: 0, key: null, rejoins });
}

export function attachment(socket: WebSocket): Attachment {
  return socket.deserializeAttachment() as Attachment;
}

export function say(socket: WebSocket, frame: FromPool): void {
  // A socket that is closing takes nothing more; its close event follows.
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}

export function ask(socket: WebSocket, need: ResyncNeed): void {
  if (need !== null) say(socket, { type: "resync", afterSeq: need.afterSeq });
}

export function refuse(socket: WebSocket, reason: RefusalReason, message: string): void {
  say(socket, { type: "refused", reason, message });
  closeSaying(socket, CLOSE.refused, message);
}

/** Least time between two frames of a replica, ms: all together send so many a second, and each gets its share. */
export function intervalMs(sockets: number): number {
  return Math.max(1, Math.ceil((1_000 * Math.max(1, sockets)) / FRAMES_PER_SECOND));
}

/** A hello as membership takes it. */
export function introductionOf({ replica: name, epoch, url, roles, model, hashSpec, capacity, transfers, machine }: Hello): ReplicaHello {
  const fingerprint = specFingerprint({ ...hashSpec, version: 1 });
  return { name, epoch, url, roles, model, specFingerprint: fingerprint, capacity, transfers, machine };
}

/** A close reason holds 123 bytes, and names in it may be in any script. */
export function closeSaying(socket: WebSocket | undefined, code: number, reason: string): void {
  socket?.close(code, reason.replace(/[^ -~]/g, "?").slice(0, 120));
}

/** Closes those that have not said hello for 5 s; how many may still. */
export function strangersLeft(sockets: readonly WebSocket[], nowMs: number): number {
  let left = 0;
  for (const socket of sockets) {
    const at = attachment(socket);
    if (at.slot !== null || socket.readyState !== WebSocket.OPEN) continue;
    if (nowMs - at.openedAtMs > HELLO_PATIENCE_MS) closeSaying(socket, CLOSE.silent, "no hello within 5 s");
    else left++;
  }
  return left;
}

/** Of membership's words, by how they begin: the names in them are the replica's own. */
export function refusalOf(words: string): RefusalReason {
  if (words.startsWith("the pool is full")) return "pool_full";
  if (words.startsWith("a newer epoch")) return "older_epoch";
  return words.startsWith("the pool's hash spec") ? "hash_spec" : "model";
}

/**
 * Whether a frame over a socket that has no replica yet may be parsed: it is a hello of bounded length with the pool's token in it. Else
 * the socket is closed and the frame stays unread, as schemas take time and everybody waits for it.
 */
export function isAllowed(socket: WebSocket, at: Attachment, message: string | ArrayBuffer, token: string): boolean {
  if (typeof message !== "string" || message.length > HELLO_LENGTH || !IS_HELLO.test(message)) {
    if (at.rejoins !== true) refuse(socket, "malformed", "The first frame must be a hello of at most 512 KB.");
    return false;
  }
  const isMember = sameText(TOKEN.exec(message)?.[1] ?? "", token);
  if (!isMember) refuse(socket, "bad_token", NOT_OURS);
  return isMember;
}

/** Why this hello is refused before membership looks at it; null when it is not. */
export function helloProblem(hello: Hello, pool: string, config: Config): [RefusalReason, string] | null {
  if (!sameText(hello.token, config.joinToken(pool))) return ["bad_token", NOT_OURS];
  if (hello.pool !== pool) return ["wrong_pool", `This is pool ${pool}, the replica asked for ${hello.pool}.`];
  if (hello.protocol !== PROTOCOL_VERSION) {
    return ["protocol", `This pool speaks protocol ${PROTOCOL_VERSION}, the replica ${hello.protocol}. Run the same release on both.`];
  }
  if (!(HASH_SPEC_VERSIONS as readonly number[]).includes(hello.hashSpec.version)) {
    const known = HASH_SPEC_VERSIONS.join(", ");
    return ["hash_spec", `Hash spec version ${hello.hashSpec.version} is not known here; known: ${known}. Run the same release on both.`];
  }
  const problem = scheduleProblem(hello.hashSpec.schedule);
  if (problem !== null) return ["hash_spec", `The segment schedule is none: ${problem}.`];
  return null;
}
