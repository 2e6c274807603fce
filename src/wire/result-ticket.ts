/**
 * A replica's right to hand one result up: `<tenant>.<expiry>.<mac>`. It is believed without asking anybody; that it is used once, the
 * result's own record sees to.
 */
import type { Mac, SameText } from "./sealed.ts";

interface ResultClaims {
  tenant: string;
  /** Of the record that the result becomes, as `resp_…`. */
  id: string;
  /** The edge's clock, whole seconds. */
  expiresAtS: number;
}

const SHAPE = /^([0-9A-Za-z]{1,32})\.([0-9]{1,12})\.([0-9A-Za-z_-]{43})$/;

const signed = ({ tenant, id, expiresAtS }: ResultClaims): string => `result:${tenant}/${id}/${expiresAtS}`;

export function encodeResultTicket(claims: ResultClaims, mac: Mac): string {
  return `${claims.tenant}.${claims.expiresAtS}.${mac(signed(claims))}`;
}

/** Whose result `id` is, by this ticket; null for a forged or expired one. */
export function readResultTicket(ticket: string, id: string, nowMs: number, mac: Mac, same: SameText): string | null {
  const [, tenant = "", expiresAtS = "", tag = ""] = SHAPE.exec(ticket) ?? [];
  if (tenant === "" || !same(tag, mac(signed({ tenant, id, expiresAtS: Number(expiresAtS) })))) return null;
  return Number(expiresAtS) * 1_000 > nowMs ? tenant : null;
}
