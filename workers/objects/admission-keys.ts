/** The keys under which a pool signs: one per replica epoch, known to this object and that replica only. */
import { createHmac } from "node:crypto";
import type { Replica } from "../../src/pool/replica.ts";
import type { AdmissionClaims, TicketClaims } from "../../src/router/dispatcher.ts";
import { encodeAdmission } from "../../src/wire/admission.ts";
import type { Mac } from "../../src/wire/sealed.ts";
import { encodeTicket } from "../../src/wire/ticket.ts";

/** Of one life of a replica; the key is base64url. */
export interface EpochKey {
  replica: string;
  epoch: number;
  key: string;
}

/** The names are those of the pool's members, which are few. */
export class AdmissionKeys {
  readonly #keys = new Map<string, EpochKey>();

  /** The key of this epoch, a new one where there is none. One epoch keeps one key, over all its sockets: what was signed stays good. */
  of(replica: string, epoch: number): EpochKey {
    const known = this.#keys.get(replica);
    if (known?.epoch === epoch) return known;
    const made = { replica, epoch, key: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url") };
    this.#keys.set(replica, made);
    return made;
  }

  /** As a socket kept it while this object was out of memory. */
  restore(kept: EpochKey): void {
    if ((this.#keys.get(kept.replica)?.epoch ?? 0) < kept.epoch) this.#keys.set(kept.replica, kept);
  }

  forget(replica: string): void {
    this.#keys.delete(replica);
  }

  mint(replica: Replica, claims: AdmissionClaims): string | null {
    const mac = this.macOf(replica);
    return mac === null ? null : encodeAdmission(claims, mac);
  }

  /** Of the replica that sends. */
  mintTicket(sender: Replica, claims: TicketClaims): string | null {
    const mac = this.macOf(sender);
    return mac === null ? null : encodeTicket(claims, mac);
  }

  /** Under the key of this epoch; null when it has none. */
  macOf({ name, epoch }: Pick<Replica, "name" | "epoch">): Mac | null {
    const known = this.#keys.get(name);
    if (known?.epoch !== epoch) return null;
    const key = Buffer.from(known.key, "base64url");
    return (text) => createHmac("sha256", key).update(text).digest("base64url");
  }
}
