/** Lets a receiver fetch what the pool gave it a ticket for: once, and once more after a cut. */
import { createHmac, timingSafeEqual } from "node:crypto";
import { decodeTicket, type Ticket } from "../../src/wire/ticket.ts";

const MAX_SPENT = 65_536;

/** `untilMs`: when it expires, on our clock. */
type SpentTicket = { ok: true; ticket: Ticket; untilMs: number } | { ok: false; why: string };

function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

export class TicketGate {
  #key: Buffer | null = null;
  /** Pool clock minus ours. */
  #offsetMs = 0;
  /** kind, id, attempt and trial → when it expires; what has expired needs no memory. */
  readonly #spent = new Map<string, number>();

  /** A life of the replica begins: no ticket of the life before is good any more. */
  begin(): void {
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

  spend(text: string | undefined, kind: Ticket["kind"], trial: string | undefined, nowMs: number): SpentTicket {
    const key = this.#key;
    if (key === null) return { ok: false, why: "this replica has not joined a pool" };
    if (text === undefined) return { ok: false, why: "it is missing" };
    if (trial !== "1" && trial !== "2") return { ok: false, why: "a ticket is good for trial 1 and 2" };
    const decoded = decodeTicket(text, (payload) => createHmac("sha256", key).update(payload).digest("base64url"), sameText);
    if (!decoded.ok) return decoded;
    const { ticket } = decoded;
    if (ticket.kind !== kind) return { ok: false, why: "it was given for another kind of transfer" };
    const untilMs = ticket.expiresAtMs - this.#offsetMs;
    if (untilMs < nowMs) return { ok: false, why: "it has expired" };
    const name = `${kind}/${ticket.id}/${ticket.attempt}/${trial}`;
    if (this.#spent.has(name)) return { ok: false, why: "it was used before" };
    this.#forgetExpired(nowMs);
    if (this.#spent.size >= MAX_SPENT) return { ok: false, why: "too many are in use" };
    this.#spent.set(name, untilMs);
    return { ok: true, ticket, untilMs };
  }

  /** Insertion order is nearly expiry order: stop at the first that lives. */
  #forgetExpired(nowMs: number): void {
    for (const [name, untilMs] of this.#spent) {
      if (untilMs >= nowMs) return;
      this.#spent.delete(name);
    }
  }
}
