import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { edgeProblem } from "../../gpu-backend/edge-probe.ts";

let server: Server;
let port: number;
beforeAll(async () => {
  server = createServer((request, response) => response.writeHead(request.url?.endsWith("/broken") === true ? 503 : 200).end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => server.close());

it.each<[string, () => string, () => string]>([
  [
    "does not speak TLS",
    () => `wss://127.0.0.1:${port}/announce/p`,
    () => `The edge at 127.0.0.1:${port} can't be reached (it does not speak TLS there)`,
  ],
  ["is no edge", () => `ws://127.0.0.1:${port}/announce/p`, () => `What answers at 127.0.0.1:${port} is no Warmpath edge (status 200)`],
  [
    "fails",
    () => `ws://127.0.0.1:${port}/announce/broken`,
    () => `The edge at 127.0.0.1:${port} fails (status 503): its own log says why.`,
  ],
  ["is not there", () => "ws://127.0.0.1:9/announce/p", () => "The edge at 127.0.0.1:9 can't be reached (nothing listens there)"],
])("an edge that %s is told with the cause", async (_, join, sentence) => {
  expect(await edgeProblem({ join: join(), pool: "p", name: "r", token: "wpj_secret" })).toContain(sentence());
});
