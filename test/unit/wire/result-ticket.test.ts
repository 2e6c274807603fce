import { createHmac } from "node:crypto";
import { expect, it } from "vitest";
import { encodeResultTicket, readResultTicket } from "../../../src/wire/result-ticket.ts";

const mac = (text: string): string => createHmac("sha256", "deployment").update(text).digest("base64url");
const same = (a: string, b: string): boolean => a === b;
const claims = { tenant: "acme", id: "resp_default_1", expiresAtS: 1_000 };
const ticket = encodeResultTicket(claims, mac);

it("a ticket is its tenant's, for one response, until it expires", () => {
  expect(readResultTicket(ticket, claims.id, 999_999, mac, same)).toBe("acme");
  expect(readResultTicket(ticket, claims.id, 1_000_000, mac, same)).toBeNull();
  expect(readResultTicket(ticket, "resp_default_2", 0, mac, same)).toBeNull();
});

it("a ticket with another tenant, a later expiry or another's signature is none", () => {
  const [, , tag = ""] = ticket.split(".");
  for (const forged of [`other.1000.${tag}`, `acme.9999.${tag}`, `acme.01000.${"x".repeat(43)}`, `acme.1000.`, "", "acme", `${ticket}x`])
    expect(readResultTicket(forged, claims.id, 0, mac, same), forged).toBeNull();
});
