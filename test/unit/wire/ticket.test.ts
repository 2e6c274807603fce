import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { decodeAdmission, encodeAdmission } from "../../../src/wire/admission.ts";
import { decodeTicket, encodeSource, encodeTicket, parseSource } from "../../../src/wire/ticket.ts";

const macOf = (key: string) => (text: string) => createHmac("sha256", key).update(text).digest("base64url");
const same = (a: string, b: string) => a === b;
const mac = macOf("key");
const ticket = {
  id: "req_p_1~prefill",
  attempt: 1,
  salt: "s",
  from: "http://r1:80",
  chainTip: "ff",
  expiresAtMs: 5,
  kind: "prefill" as const,
  digest: "",
};
const admission = {
  id: "req_p_1",
  attempt: 1,
  salt: "s",
  path: "/v1/chat/completions",
  bodyBytes: 9,
  digest: "",
  chainTip: "ff",
  expiresAtMs: 5,
};

describe("a ticket", () => {
  it("is read under the key it was made with, and no other", () => {
    const text = encodeTicket(ticket, mac);
    expect(decodeTicket(text, mac, same)).toEqual({ ok: true, ticket });
    expect(decodeTicket(text, macOf("other"), same)).toMatchObject({ ok: false });
    expect(decodeTicket(text.replace("~prefill", "~prefilk"), mac, same)).toMatchObject({ ok: false });
    expect(decodeTicket("nonsense", mac, same)).toEqual({ ok: false, why: "it has no signature" });
  });

  it("and an admission never stand for each other, whatever their fields", () => {
    expect(decodeTicket(encodeAdmission({ ...admission, ...ticket }, mac), mac, same)).toMatchObject({ ok: false });
    expect(decodeAdmission(encodeTicket({ ...ticket, ...admission }, mac), mac, same)).toMatchObject({ ok: false });
  });
});

describe("a source", () => {
  it("comes back from its header, which is ASCII", () => {
    const source = { replica: "r1", url: "http://münchen.test:80", ticket: encodeTicket(ticket, mac), tokens: 7 };
    const text = encodeSource(source);
    expect(text).toMatch(/^[ -~]+$/);
    expect(parseSource(text)).toEqual(source);
    expect(parseSource(encodeSource({ ...source, tokens: undefined }))?.tokens).toBeUndefined();
  });

  it("is refused when it is none, or too long", () => {
    for (const text of [
      "",
      "{",
      "[]",
      "{}",
      '{"replica":"r","url":"ftp://x","ticket":"t"}',
      JSON.stringify({ replica: "r", url: "http://x", ticket: "t".repeat(5_000) }),
    ])
      expect(parseSource(text)).toBeNull();
  });
});
