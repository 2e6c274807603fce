/** The pool's end of announce sockets, played by hand: just enough of RFC 6455 for short text frames and whatever a replica sends. */
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type FromPool, type FromReplica, parseFromReplica } from "../../src/wire/control.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const TEXT = 1;
const BINARY = 2;

export class PoolSocket {
  /** Control frames in their order; a residency frame is "residency". */
  readonly heard: (FromReplica | "residency")[] = [];
  readonly #server: Server = createServer();
  #socket: Duplex | null = null;
  #bytes = Buffer.alloc(0);
  #wake: () => void = () => undefined;

  async listen(): Promise<string> {
    this.#server.on("upgrade", (request, socket: Duplex) => {
      const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}${GUID}`).digest("base64");
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      socket.on("data", (bytes: Buffer) => this.#read(bytes));
      socket.on("error", () => undefined);
      this.#socket = socket;
    });
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/announce/p`;
  }

  say(frame: FromPool): void {
    const payload = Buffer.from(JSON.stringify(frame));
    // Frames of ours are shorter than 64 KiB.
    const head =
      payload.length < 126
        ? Buffer.from([0x80 | TEXT, payload.length])
        : Buffer.from([0x80 | TEXT, 126, payload.length >> 8, payload.length & 255]);
    this.#socket?.write(Buffer.concat([head, payload]));
  }

  /** The next frame of this type; those before it stay in `heard`. */
  async next<T extends FromReplica["type"]>(type: T, from = this.heard.length): Promise<Extract<FromReplica, { type: T }>> {
    for (let at = from; ; at++) {
      while (at >= this.heard.length) await new Promise<void>((resolve) => (this.#wake = resolve));
      const frame = this.heard[at];
      if (frame !== undefined && frame !== "residency" && frame.type === type) return frame as Extract<FromReplica, { type: T }>;
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }

  #read(more: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, more]);
    for (let frame = this.#shift(); frame !== null; frame = this.#shift()) {
      if (frame.opcode === BINARY) this.heard.push("residency");
      if (frame.opcode !== TEXT) continue;
      const parsed = parseFromReplica(frame.payload.toString());
      if (!parsed.ok) throw new Error(parsed.why);
      this.heard.push(parsed.value);
    }
    this.#wake();
  }

  /** A client's frames are masked. */
  #shift(): { opcode: number; payload: Buffer } | null {
    const bytes = this.#bytes;
    if (bytes.length < 2) return null;
    const short = (bytes[1] ?? 0) & 127;
    const from = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (bytes.length < from + 4) return null;
    const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
    if (bytes.length < from + 4 + length) return null;
    const payload = Buffer.from(bytes.subarray(from + 4, from + 4 + length));
    for (let at = 0; at < length; at++) payload[at] = (payload[at] ?? 0) ^ (bytes[from + (at % 4)] ?? 0);
    this.#bytes = bytes.subarray(from + 4 + length);
    return { opcode: (bytes[0] ?? 0) & 15, payload };
  }
}
