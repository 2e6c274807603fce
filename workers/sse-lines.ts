/** The lines of an event stream, without their ends. */
const MOST_LINE = 4 * 1024 * 1024;

export class SseLines implements AsyncIterable<string> {
  readonly #body: ReadableStream<Uint8Array>;

  constructor(body: ReadableStream<Uint8Array>) {
    this.#body = body;
  }

  /** Throws where a line is longer than any event of ours. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    const reader = this.#body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        text += decoder.decode(value, { stream: true });
        const lines = text.split("\n");
        text = lines.pop() ?? "";
        if (text.length > MOST_LINE) throw new Error("a line of an event stream is too long");
        for (const line of lines) if (line !== "") yield line;
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
  }
}
