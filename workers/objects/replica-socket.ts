/** One replica's socket as the pool object handles it: what is written on it, what is said over it, and what a hello must bring. */
import { type FrameBudgets, kindOfText } from "../../src/pool/frame-budget.ts";
import { type Replica, traitsOf } from "../../src/pool/replica.ts";
import { RETRY_MS } from "../../src/pool/way-back.ts";
import { HASH_SPEC_VERSIONS, type HashSpec, scheduleProblem, specFingerprint } from "../../src/prefix/segment.ts";
import type { Introduction, PoolEffect } from "../../src/router/pool.ts";
import {
  CLOSE,
  type FromPool,
  type FromReplica,
  type Hello,
  parseFromReplica,
  PROTOCOL_VERSION,
  type RefusalReason,
} from "../../src/wire/control.ts";
import { HEADER } from "../../src/wire/headers.ts";
import type { Config } from "../env.ts";
import { replicaUrl, replicaUrlProblem } from "../replica-url.ts";
import type { AdmissionKeys, EpochKey } from "./admission-keys.ts";

const HELLO_PATIENCE_MS = 5_000;
/** The most that a replica's clock may be ahead of the edge's. An epoch far in the future would block its name for good. */
const MOST_EPOCH_AHEAD_MS = 60_000;
/** Characters of a hello: it names at most 2,048 running requests, of some 130 characters each. */
const HELLO_LENGTH = 512 * 1024;
const IS_HELLO = /"type"\s*:\s*"hello"/;
/** As JSON has it. */
const NAME = /"replica"\s*:\s*("(?:[^"\\]|\\.){1,512}")/;
const TOKEN = /"token"\s*:\s*"([0-9A-Za-z_-]{1,128})"/;
const FRAMES_PER_SECOND = 600;
/** Of a name as a header has it, percent-encoded. */
const MOST_NAME_LENGTH = 256;

const notOurs = ({ tokenPerReplica }: Config): string =>
  tokenPerReplica ? "The join token is not this replica's in this pool." : "The join token is not this pool's.";

/** What survives on a socket while the object is out of memory. */
export interface Attachment {
  connection: number;
  /** As its opener called itself; empty: it did not say. */
  name: string;
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
export function attachStranger(
  socket: WebSocket,
  { connection, name, openedAtMs, rejoins = false }: Pick<Attachment, "connection" | "name" | "openedAtMs" | "rejoins">,
): void {
  attach(socket, { connection, name, openedAtMs, slot: null, epoch: 0, key: null, rejoins });
}

export function attachment(socket: WebSocket): Attachment {
  return socket.deserializeAttachment() as Attachment;
}

export function say(socket: WebSocket, frame: FromPool): void {
  // A socket that is closing takes nothing more; its close event follows.
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}

/** The replica speaks over this socket from now on; another one that it had is closed. `sockets`: of all replicas, by slot. */
export function welcome(
  socket: WebSocket,
  { slot, epoch, admitted }: Replica,
  { sockets, admissionKey, poolNowMs }: { sockets: Map<number, WebSocket>; admissionKey: string; poolNowMs: number },
): void {
  const old = sockets.get(slot);
  if (old !== socket) closeSaying(old, CLOSE.replaced, "another socket speaks for this replica now");
  sockets.set(slot, socket);
  const pace = { intervalMs: intervalMs(sockets.size) };
  say(socket, { type: "welcome", slot, epoch, admissionKey, poolNowMs, ...pace });
  // In the same epoch its way back is open still.
  if (admitted) say(socket, { type: "reached" });
  for (const other of sockets.values()) if (other !== socket) say(other, { type: "pace", ...pace });
}

type Said = Extract<PoolEffect, { kind: "cancel" | "resync" | "reached" | "unreached" | "leftOut" }>;

/** Says it to its replica; `socket`: of that one, undefined while it has none. */
export function sayEffect(socket: WebSocket | undefined, effect: Said): void {
  if (socket !== undefined) say(socket, frameFor(effect));
}

function frameFor(effect: Said): FromPool {
  switch (effect.kind) {
    case "cancel":
      return { type: "cancel", ...effect.key };
    case "resync":
      return { type: "resync", afterSeq: effect.afterSeq };
    case "reached":
      return { type: "reached" };
    case "unreached": {
      const where = `The pool can't reach it at ${effect.url}: ${effect.reason}.`;
      return { type: "unreached", message: `${where} It gets no requests; it is tried again in ${RETRY_MS / 1_000} s.` };
    }
    case "leftOut": {
      const { failures, pauseMs } = effect;
      const message = `Its last ${failures} requests came to nothing. It gets none for ${pauseMs / 1_000} s, then one that tries it.`;
      return { type: "left_out", message };
    }
  }
}

export function refuse(socket: WebSocket, reason: RefusalReason, message: string): void {
  say(socket, { type: "refused", reason, message });
  closeSaying(socket, CLOSE.refused, message);
}

/** Least time between two frames of a replica, ms: all together send so many a second, and each gets its share. */
function intervalMs(sockets: number): number {
  return Math.max(1, Math.ceil((1_000 * Math.max(1, sockets)) / FRAMES_PER_SECOND));
}

/** A hello as the pool takes it. */
export function introductionOf(hello: Hello): Omit<Introduction, "connection" | "admitted"> {
  const { replica: name, epoch, url, model, capacity, running, seq } = hello;
  const hashSpec: HashSpec = { ...hello.hashSpec, version: 1 };
  const identity = { name, epoch, url: replicaUrl(url), model, capacity, ...traitsOf(hello) };
  return { hello: { ...identity, specFingerprint: specFingerprint(hashSpec) }, hashSpec, running, seq };
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

/**
 * Whether a frame over a socket that has no replica yet may be parsed: it is a hello of bounded length with a token that may join. Else
 * the socket is closed and the frame stays unread, as schemas take time and everybody waits for it.
 */
export function isAllowed(socket: WebSocket, at: Attachment, message: string | ArrayBuffer, pool: string, config: Config): boolean {
  if (typeof message !== "string" || message.length > HELLO_LENGTH || !IS_HELLO.test(message)) {
    if (at.rejoins !== true) refuse(socket, "malformed", "The first frame must be a hello of at most 512 KB.");
    return false;
  }
  const isMember = config.isJoinToken(TOKEN.exec(message)?.[1] ?? "", pool, nameIn(message));
  if (!isMember) refuse(socket, "bad_token", notOurs(config));
  return isMember;
}

/**
 * Whether a frame may be read: there are not more of its kind, nor longer ones, than a replica has reason to send. Else the socket is closed, and the frame stays
 * unread. Budgets go by the name that the token was shown for when the socket was opened.
 */
export function isInBudget(
  socket: WebSocket,
  { name, connection }: Pick<Attachment, "name" | "connection">,
  message: string | ArrayBuffer,
  budgets: FrameBudgets,
  nowMs: number,
): boolean {
  const [kind, length] = typeof message === "string" ? [kindOfText(message), message.length] : ["residency" as const, message.byteLength];
  // Whoever says no name has a budget for each socket.
  if (budgets.frame(name === "" ? `socket ${connection}` : name, kind, length, nowMs)) return true;
  refuse(socket, "too_fast", `It sends more ${kind} frames, or longer ones, than a replica has reason to.`);
  return false;
}

/** Null: the frame is none of a replica's, and its socket is closed. */
export function frameOf(socket: WebSocket, message: string): FromReplica | null {
  const parsed = parseFromReplica(message);
  const kind = kindOfText(message);
  if (!parsed.ok) refuse(socket, "malformed", `This frame is not understood: ${parsed.why}.`);
  // It would be counted as the one and read as the other.
  else if (kind !== "other" && kind !== parsed.value.type) refuse(socket, "malformed", "This frame names two types.");
  else return parsed.value;
  return null;
}

/** How the opener of a socket calls itself, "" when it does not say; null: it may open none now. */
export function openerOf(request: Request, budgets: FrameBudgets, isMember: (name: string) => boolean, nowMs: number): string | null {
  const name = (request.headers.get(HEADER.replica) ?? "").slice(0, MOST_NAME_LENGTH);
  return budgets.socket(name, request.headers.get("cf-connecting-ip"), isMember(name), nowMs) ? name : null;
}

/** Sockets that are open while the object has lost its memory: all are to say hello again. The next connection's number. */
export function rejoinAll(sockets: readonly WebSocket[], keys: Pick<AdmissionKeys, "restore">, connections: number, nowMs: number): number {
  for (const socket of sockets) {
    const { key, rejoins, name } = attachment(socket);
    if (key !== null) keys.restore(key);
    attachStranger(socket, { connection: connections++, name, openedAtMs: nowMs, rejoins: rejoins === true || key !== null });
    say(socket, { type: "rejoin" });
  }
  return connections;
}

/** Empty: none that can be read. */
function nameIn(hello: string): string {
  try {
    return String(JSON.parse(NAME.exec(hello)?.[1] ?? '""'));
  } catch {
    return "";
  }
}

/** Why this hello is refused before membership looks at it; null when it is not. `wallMs`: the edge's clock, as epochs are read off the replica's. */
export function helloProblem(hello: Hello, pool: string, config: Config, wallMs: number): [RefusalReason, string] | null {
  if (!config.isJoinToken(hello.token, pool, hello.replica)) return ["bad_token", notOurs(config)];
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
  const badUrl = replicaUrlProblem(hello.url, config.replicaAddresses);
  if (badUrl !== null) return ["url", badUrl];
  const aheadMs = hello.epoch - wallMs;
  if (aheadMs > MOST_EPOCH_AHEAD_MS) {
    return ["epoch_ahead", `The replica's epoch lies ${Math.round(aheadMs / 1_000)} s ahead of the edge's clock. Set the replica's clock.`];
  }
  return null;
}
