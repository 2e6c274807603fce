/** Lets in what the pool admitted, once. */
import { createHmac, timingSafeEqual } from "node:crypto";
import { type Admission, decodeAdmission } from "../src/wire/admission.ts";

const MOST_SPENT = 65_536;

function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

export class AdmissionGate {
  #key: Buffer | null = null;
  /** Pool clock minus ours. */
  #offsetMs = 0;
  /** id and attempt → when it expires; what has expired needs no memory. */
  readonly #spent = new Map<string, number>();

  welcome(admissionKey: string, poolNowMs: number, nowMs: number): void {
    this.#key = Buffer.from(admissionKey, "base64url");
    this.#offsetMs = poolNowMs - nowMs;
  }

  /** The admission, now spent, or why the request is not let in. */
  spend(text: string | undefined, bodyBytes: number, nowMs: number): { ok: true; admission: Admission } | { ok: false; why: string } {
    const key = this.#key;
    if (key === null) return { ok: false, why: "this replica has not joined a pool" };
    if (text === undefined) return { ok: false, why: "it is missing; requests come through the edge" };
    const decoded = decodeAdmission(text, (payload) => createHmac("sha256", key).update(payload).digest("base64url"), sameText);
    if (!decoded.ok) return decoded;
    const { admission } = decoded;
    const poolNowMs = nowMs + this.#offsetMs;
    if (admission.expiresAtMs < poolNowMs) return { ok: false, why: "it has expired" };
    if (admission.bodyBytes !== bodyBytes) return { ok: false, why: "it was given for another body" };
    const name = `${admission.id}/${admission.attempt}`;
    if (this.#spent.has(name)) return { ok: false, why: "it was used before" };
    this.#forgetExpired(poolNowMs);
    if (this.#spent.size >= MOST_SPENT) return { ok: false, why: "too many are in use" };
    this.#spent.set(name, admission.expiresAtMs);
    return decoded;
  }

  /** Insertion order is nearly expiry order: stop at the first that lives. */
  #forgetExpired(poolNowMs: number): void {
    for (const [name, expiresAtMs] of this.#spent) {
      if (expiresAtMs >= poolNowMs) return;
      this.#spent.delete(name);
    }
  }
}
