import { expect, it } from "vitest";
import { parsePin, pinOfMessages } from "../../../src/wire/pin.ts";

it.each([
  ["1s", 1_000],
  ["90s", 90_000],
  [" 15m ", 900_000],
  ["60m", 3_600_000],
  ["1h", 3_600_000],
  [undefined, null],
])("a pin of %j is %j ms", (text, pinMs) => {
  expect(parsePin(text)).toEqual({ ok: true, pinMs });
});

it.each(["", "0s", "61m", "2h", "15", "m", "1.5m", "-1m", "15 m", "15min", "1d", "9999999s"])("%j is no pin", (text) => {
  const parsed = parsePin(text);
  expect(parsed).toMatchObject({ ok: false, error: { status: 400, param: "x-warmpath-pin" } });
});

const marked = (ttl?: unknown) => ({
  type: "text",
  text: "x",
  cache_control: { type: "ephemeral", ...(ttl === undefined ? {} : { ttl }) },
});

it.each([
  [{ messages: [{ role: "user", content: "Hi" }] }, null],
  [{ system: [marked()], messages: [] }, null],
  [{ system: [marked("5m")], messages: [] }, 300_000],
  [{ tools: [marked("5m")], messages: [{ role: "user", content: [marked("1h"), marked("5m")] }] }, 3_600_000],
  [{ messages: [{ role: "user", content: [{ type: "tool_result", content: [marked("5m")] }] }] }, 300_000],
  [{ cache_control: { type: "ephemeral", ttl: "1h" }, messages: [] }, 3_600_000],
  [{ system: [marked("2d"), marked(5), null, "x"], messages: [null, 3] }, null],
  [null, null],
])("the pin of %j is %j", (body, pinMs) => {
  expect(pinOfMessages(body)).toBe(pinMs);
});
