/** Server-sent events of another server: read however they are cut, and bounded. */
import { expect, test } from "vitest";
import { eventStream, type StreamItem } from "../../gpu-backend/engine/openai/event-stream.ts";

test("of an endless line no more is read than its bound", async () => {
  let read = 0;
  const endless = (async function* () {
    for (;;) {
      read += 65_536;
      yield await Promise.resolve(new Uint8Array(65_536).fill(0x78));
    }
  })();
  const items: StreamItem[] = [];
  for await (const item of eventStream(endless)) items.push(item);
  expect([items, read]).toEqual([[{ type: "too-long" }], 1024 * 1024 + 65_536]);
});

test("events that are cut anywhere, and comments between them, are read alike", async () => {
  const whole = Buffer.from('data: {"a":"ä🙂"}\n\n: comment\r\n\r\nevent: x\ndata:second\r\n\r\ndata: [DONE]\n\ndata: not whole');
  for (let size = 1; size < whole.length; size += 3) {
    const cut = (async function* () {
      for (let at = 0; at < whole.length; at += size) yield await Promise.resolve(whole.subarray(at, at + size));
    })();
    const found: string[] = [];
    for await (const item of eventStream(cut)) if (item.type === "data") found.push(item.data);
    expect(found).toEqual(['{"a":"ä🙂"}', "second", "[DONE]"]);
  }
});
