import { expect, it } from "vitest";
import { HEADER } from "../../../src/wire/headers.ts";
import { parseUrgency } from "../../../src/wire/urgency.ts";

const parse = (headers: Record<string, string>, body: unknown = {}) => parseUrgency((name) => headers[name], body);

it.each([
  [{}, {}, { priority: "normal", withinMs: null, tpotMs: null }],
  [{}, null, { priority: "normal", withinMs: null, tpotMs: null }],
  [{}, { service_tier: "flex" }, { priority: "low", withinMs: null, tpotMs: null }],
  [{}, { service_tier: "priority" }, { priority: "high", withinMs: null, tpotMs: null }],
  [{}, { service_tier: "auto" }, { priority: "normal", withinMs: null, tpotMs: null }],
  [{ [HEADER.priority]: "low" }, { service_tier: "priority" }, { priority: "low", withinMs: null, tpotMs: null }],
  [{ [HEADER.priority]: "high", [HEADER.deadlineMs]: " 1500 " }, {}, { priority: "high", withinMs: 1_500, tpotMs: null }],
  [{ [HEADER.tpotMs]: "50" }, {}, { priority: "normal", withinMs: null, tpotMs: 50 }],
])("headers %j and the body %j mean %j", (headers, body, urgency) => {
  expect(parse(headers, body)).toEqual({ ok: true, urgency });
});

it.each([
  [{ [HEADER.priority]: "urgent" }, HEADER.priority],
  [{ [HEADER.deadlineMs]: "soon" }, HEADER.deadlineMs],
  [{ [HEADER.tpotMs]: "0" }, HEADER.tpotMs],
  [{ [HEADER.tpotMs]: "60001" }, HEADER.tpotMs],
  [{ [HEADER.deadlineMs]: "0" }, HEADER.deadlineMs],
  [{ [HEADER.deadlineMs]: "600001" }, HEADER.deadlineMs],
  [{ [HEADER.deadlineMs]: "1.5" }, HEADER.deadlineMs],
])("headers %j are refused", (headers, param) => {
  expect(parse(headers)).toMatchObject({ ok: false, error: { code: "invalid_request", param } });
});
