/** The keys under which a pool signs: one per replica epoch, known to this object and that replica only. */
import { createHmac } from "node:crypto";
import type { Replica } from "../../src/pool/replica.ts";
import type { AdmissionClaims, TicketClaims } from "../../src/routing/dispatcher.ts";
import { encodeAdmission } from "../../src/wire/admission.ts";
import type { Mac } from "../../src/wire/sealed.ts";
import { encodeTicket } from "../../src/wire/ticket.ts";

export class AdmissionKeys {
  readonly #keys = new Map<number, Uint8Array>();

  /** A new key for the slot, base64url. */
  renew(slot: number): string {
    const key = crypto.getRandomValues(new Uint8Array(32));
    this.#keys.set(slot, key);
    return Buffer.from(key).toString("base64url");
  }

  forget(slot: number): void {
    this.#keys.delete(slot);
  }

  mint(replica: Replica, claims: AdmissionClaims): string | null {
    const mac = this.#macOf(replica);
    return mac === null ? null : encodeAdmission(claims, mac);
  }

  /** Of the replica that sends. */
  mintTicket(sender: Replica, claims: TicketClaims): string | null {
    const mac = this.#macOf(sender);
    return mac === null ? null : encodeTicket(claims, mac);
  }

  #macOf({ slot }: Replica): Mac | null {
    const key = this.#keys.get(slot);
    return key === undefined ? null : (text) => createHmac("sha256", key).update(text).digest("base64url");
  }
}
