/** A hop between the replicas' announce sockets and the edge, so that all of them can be cut at once as a network cuts them. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(edgePort: number) {
    this.#server = createServer((near) => {
      const far = connect(edgePort, "127.0.0.1");
      this.#join(near, far);
      this.#join(far, near);
    });
  }

  static async start(edgePort: number): Promise<Relay> {
    const relay = new Relay(edgePort);
    await new Promise<void>((resolve) => relay.#server.listen(0, "127.0.0.1", resolve));
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Every socket, without a goodbye. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  end(): void {
    this.#server.close();
    this.cut();
  }

  #join(from: Socket, to: Socket): void {
    from.setNoDelay(true);
    this.#sockets.add(from);
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
