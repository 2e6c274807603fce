/** The edge from outside, and the HTTP side of its replicas in the test's hand. */
import { exports } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { afterEach, beforeEach, vi } from "vitest";
import { formatKey } from "../../src/tenancy/key.ts";

const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
const key = formatKey({ tenant: "acme", keyId: "1" }, "0123456789abcdef", mac);

export const ask = (path: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  exports.default.fetch(
    new Request(`https://edge.test${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    }),
  );

export interface Sent {
  url: string;
  headers: Headers;
  body: Uint8Array;
}

/** What came to replicas, last one last; they answer by `answer`. */
export class Replicas {
  sent: Sent[] = [];
  answer: (sent: Sent) => Response | Promise<Response> = () => new Response(null, { status: 500 });

  constructor() {
    beforeEach(() => {
      this.sent = [];
      vi.stubGlobal("fetch", (url: string, { headers, body, signal }: RequestInit & { body: Uint8Array }) => {
        const sent = { url, headers: new Headers(headers as HeadersInit), body };
        this.sent.push(sent);
        const aborted = new Promise<never>((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
        return Promise.race([Promise.resolve(this.answer(sent)), aborted]);
      });
    });
    afterEach(() => {
      vi.unstubAllGlobals();
    });
  }

  get lastId(): string {
    return this.sent.at(-1)?.headers.get("x-request-id") ?? "";
  }
}

/** An answer that comes bit by bit. */
export class SlowAnswer {
  readonly response: Response;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;

  constructor(headers: Record<string, string>, status = 200) {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (this.#controller = controller) });
    this.response = new Response(body, { status, headers });
  }

  write(text: string): void {
    this.#controller?.enqueue(new TextEncoder().encode(text));
  }

  end(text = ""): void {
    if (text !== "") this.write(text);
    this.#controller?.close();
  }

  cut(): void {
    this.#controller?.error(new Error("cut"));
  }
}
