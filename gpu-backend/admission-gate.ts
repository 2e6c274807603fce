/** Lets in what the pool admitted, once. */
import { createHmac, timingSafeEqual } from "node:crypto";
import { signNonce } from "../src/wire/way-back.ts";
import { type Admission, decodeAdmission, forwardedDigest } from "../src/wire/admission.ts";
import { sha256 } from "./sha256.ts";

const MAX_SPENT = 65_536;

/** What came with a request. */
export interface Presented {
  admission: string | undefined;
  /** The life of this replica that the pool decided for; undefined: not named. */
  epoch: string | undefined;
  path: string;
  /** As its content-length says; null: it has none. */
  bodyBytes: number | null;
}

/** `replaced`: it was for a life of this replica that is over; the pool decides again. */
type Spent = { ok: true; admission: Admission } | { ok: false; why: string; replaced: boolean };

function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

export class AdmissionGate {
  #epoch = 0;
  #key: Buffer | null = null;
  /** Pool clock minus ours. */
  #offsetMs = 0;
  /** id and attempt → when it expires; what has expired needs no memory. */
  readonly #spent = new Map<string, number>();

  /** A life of the replica begins: nothing is let in before its welcome, and nothing that was meant for the life before. */
  begin(epoch: number): void {
    this.#epoch = epoch;
    this.#key = null;
  }

  welcome(admissionKey: string, poolNowMs: number, nowMs: number): void {
    this.#key = Buffer.from(admissionKey, "base64url");
    this.follow(poolNowMs, nowMs);
  }

  /** The pool's clock now. */
  follow(poolNowMs: number, nowMs: number): void {
    this.#offsetMs = poolNowMs - nowMs;
  }

  /** The nonce signed with this epoch's key, by which the pool knows who answers here; null before the welcome. */
  prove(nonce: string): string | null {
    const key = this.#key;
    return key === null ? null : signNonce(nonce, (text) => createHmac("sha256", key).update(text).digest("base64url"));
  }

  /** The admission, now spent, or why the request is not let in. Needs the headers only; whether the body is the one that was admitted, `isAdmitted` says. */
  spend({ admission: text, epoch, path, bodyBytes }: Presented, nowMs: number): Spent {
    if (epoch !== undefined && epoch !== String(this.#epoch)) {
      return { ok: false, why: "this replica has begun a new epoch since", replaced: true };
    }
    const refused = (why: string): Spent => ({ ok: false, why, replaced: false });
    const key = this.#key;
    if (key === null) return refused("this replica has not joined a pool");
    if (text === undefined) return refused("it is missing; requests come through the edge");
    const decoded = decodeAdmission(text, (payload) => createHmac("sha256", key).update(payload).digest("base64url"), sameText);
    if (!decoded.ok) return refused(decoded.why);
    const { admission } = decoded;
    const poolNowMs = nowMs + this.#offsetMs;
    if (admission.expiresAtMs < poolNowMs) return refused("it has expired");
    if (admission.path !== path) return refused("it was given for another path");
    if (bodyBytes !== null && admission.bodyBytes !== bodyBytes) return refused("it was given for another body");
    const name = `${admission.id}/${admission.attempt}`;
    if (this.#spent.has(name)) return refused("it was used before");
    this.#forgetExpired(poolNowMs);
    if (this.#spent.size >= MAX_SPENT) return refused("too many are in use");
    this.#spent.set(name, admission.expiresAtMs);
    return decoded;
  }

  /** Whether this is the body that the admission was given for. */
  isAdmitted({ bodyBytes, digest }: Admission, body: Uint8Array, historyBytes: number): boolean {
    return body.byteLength === bodyBytes && sameText(forwardedDigest(sha256, historyBytes, sha256(body)), digest);
  }

  /** Insertion order is nearly expiry order: stop at the first that lives. */
  #forgetExpired(poolNowMs: number): void {
    for (const [name, expiresAtMs] of this.#spent) {
      if (expiresAtMs >= poolNowMs) return;
      this.#spent.delete(name);
    }
  }
}
