/** The mock replicas as processes: joined, killed with -9, started again with a new epoch. */
import { until } from "../../e2e/started.ts";
import { type Child, startChild } from "../edge/child.ts";
import { round } from "../tiers/figures.ts";
import { POOL, type SoakEdge } from "./edge-process.ts";
import type { MockCommand, MockReply } from "./mock-replica.ts";
import { FLEET_TRUTH, mockName } from "./truth.ts";
import type { Relay } from "./relay.ts";

const JOIN_MS = 30_000;

type Mock = Child<MockCommand, MockReply>;

export class MockFleet {
  readonly #edge: SoakEdge;
  readonly #relay: Relay;
  readonly #mocks: (Mock | null)[] = FLEET_TRUTH.map(() => null);
  readonly #startedAtMs: number[] = FLEET_TRUTH.map(() => 0);
  /** A child answers one command at a time. */
  readonly #asking: Promise<unknown>[] = FLEET_TRUTH.map(() => Promise.resolve());
  #seed: number;
  #deaths = 0;

  constructor(edge: SoakEdge, relay: Relay, seed: number) {
    this.#edge = edge;
    this.#relay = relay;
    this.#seed = seed;
  }

  get deaths(): number {
    return this.#deaths;
  }

  /** ms since its process or its engine was started, or was given an archive, whose announcing makes it slower than its truth; 0 while it is dead. */
  undisturbedMs(index: number): number {
    return this.#mocks[index] == null ? 0 : performance.now() - (this.#startedAtMs[index] ?? 0);
  }

  async startAll(): Promise<void> {
    await Promise.all(FLEET_TRUTH.map((_, index) => this.start(index)));
  }

  /** Resolves when the pool has welcomed it. */
  async start(index: number): Promise<void> {
    const mock: Mock = startChild("../soak/mock-replica.ts");
    this.#mocks[index] = mock;
    this.#startedAtMs[index] = performance.now();
    const join = `ws://127.0.0.1:${this.#relay.port}/announce/${POOL}`;
    const token = this.#edge.secrets.joinToken(POOL);
    const truth = FLEET_TRUTH[index] ?? { slowness: 1, noise: 0.3 };
    await this.#ask(index, { type: "join", join, token, pool: POOL, name: mockName(index), seed: this.#seed++, truth });
    await until(`${mockName(index)} has joined`, async () => (await this.#ask(index, { type: "state" }))?.joined, JOIN_MS);
    this.#startedAtMs[index] = performance.now();
  }

  /** kill -9. */
  kill(index: number): void {
    this.#mocks[index]?.end();
    this.#mocks[index] = null;
    this.#deaths++;
  }

  killAll(): void {
    for (const index of this.#mocks.keys()) if (this.#mocks[index] !== null) this.kill(index);
  }

  /** Its engine dies and begins a new epoch; its process lives. */
  async restartEngine(index: number): Promise<void> {
    this.#deaths++;
    this.#startedAtMs[index] = performance.now();
    await this.#ask(index, { type: "restart" });
  }

  /** It goes on announcing them for a while. */
  async archive(index: number, segments: number): Promise<void> {
    await this.#ask(index, { type: "archive", segments });
    this.#startedAtMs[index] = performance.now();
  }

  async states(): Promise<(MockReply | null)[]> {
    return Promise.all(this.#mocks.map((_, index) => this.#ask(index, { type: "state" })));
  }

  /** How many times as long as they should the steps of those alive took since this was asked last. */
  async lag(): Promise<number> {
    const told = (await Promise.all(this.#mocks.map((_, index) => this.#ask(index, { type: "lag" })))).flatMap((state) => state ?? []);
    const wantedMs = told.reduce((sum, { steps }) => sum + steps.wantedMs, 0);
    return wantedMs === 0 ? 1 : round(told.reduce((sum, { steps }) => sum + steps.tookMs, 0) / wantedMs, 3);
  }

  /** Null: it is dead, or died of it. */
  #ask(index: number, command: MockCommand): Promise<MockReply | null> {
    const asked = (this.#asking[index] ?? Promise.resolve()).then(() => this.#mocks[index]?.ask(command).catch(() => null) ?? null);
    this.#asking[index] = asked;
    return asked;
  }
}
