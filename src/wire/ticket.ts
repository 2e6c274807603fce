/**
 * The right to fetch KV blocks from a replica once: minted by the pool under the key of the replica that sends them, as its admissions
 * are, carried by the edge to the replica that receives them, checked and spent by the sender.
 */
import { z } from "zod";
import { type Mac, type SameText, seal, unseal } from "./sealed.ts";

/** Of a header that carries a source; longer ones are none. */
const MOST_SOURCE_CHARACTERS = 4_096;

const name = z.string().regex(/^[0-9A-Za-z._-]{1,64}$/);

const url = z.url({ protocol: /^https?$/ }).max(512);

const Ticket = z.object({
  /** As the sender reports the lease: of a remote prefill `<request id>~prefill`, of a pull the request's own (no lease, nothing to report). */
  id: z.string().max(128),
  attempt: z.number().int().min(1).max(64),
  salt: z.string().max(64),
  /** The sender's URL. */
  from: url,
  /** Last hash of the request's chain in hex; empty for a prompt shorter than one segment. */
  chainTip: z.string().max(16),
  /** Pool clock. */
  expiresAtMs: z.number(),
  kind: z.enum(["prefill", "pull"]),
  /** Of a prefill: the forwarded body that it may be asked with (`forwardedDigest`). */
  digest: z.string().max(64),
});
export type Ticket = z.infer<typeof Ticket>;

export function encodeTicket(ticket: Ticket, mac: Mac): string {
  return seal(ticket, ofTickets(mac));
}

/** The ticket, or in words why it is none. Expiry and single use are the caller's to check: it has the clock and the memory. */
export function decodeTicket(text: string, mac: Mac, same: SameText): { ok: true; ticket: Ticket } | { ok: false; why: string } {
  const unsealed = unseal(text, ofTickets(mac), same, Ticket);
  return unsealed.ok ? { ok: true, ticket: unsealed.value } : unsealed;
}

/** Admissions are signed under the same key: neither can stand for the other. */
function ofTickets(mac: Mac): Mac {
  return (payload) => mac(`ticket ${payload}`);
}

/** Where a replica gets blocks from, as the headers `x-warmpath-prefill` and `x-warmpath-pull` say it. */
const Source = z.object({
  replica: name,
  url,
  ticket: z.string().min(1).max(2_048),
  /** Only of a pull: how many tokens more than the receiver its sender holds, as the pool sees it. */
  tokens: z.number().int().nonnegative().optional(),
});
export type Source = z.infer<typeof Source>;

/** JSON in printable ASCII, as a header must be. */
export function encodeSource(source: Source): string {
  return JSON.stringify(source).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Null when it is none; the edge writes these headers and no client does. */
export function parseSource(text: string): Source | null {
  if (text.length > MOST_SOURCE_CHARACTERS) return null;
  try {
    return Source.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
