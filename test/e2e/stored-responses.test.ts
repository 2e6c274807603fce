/** Stored responses on the disk of a self-hosted edge: bare workerd, sent as a replica sends them, its files and system calls counted from outside. */
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bundleEdge } from "../../cli/bundle.ts";
import { startWorkerd } from "../../cli/edge.ts";
import { loadSecrets, type Secrets } from "../../cli/secrets.ts";
import { placeOfDay } from "../../src/records/record-day.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { encodeResultTicket } from "../../src/wire/result-ticket.ts";

const TENANT = "dev";
const KIB = 1024;

let state: string;
let origin: string;
let secrets: Secrets;
let end: () => void;

beforeAll(async () => {
  state = mkdtempSync(join(tmpdir(), "warmpath-stored-"));
  secrets = loadSecrets(state);
  const variables = { WARMPATH_SECRET: secrets.deployment, WARMPATH_POOLS: "default" };
  const edge = await startWorkerd({ port: 0, stateDirectory: state, variables }, await bundleEdge(state));
  if (edge.type === "failed") throw new Error(edge.message);
  origin = `http://127.0.0.1:${edge.port}`;
  end = () => void edge.process.kill("SIGKILL");
});
afterAll(() => {
  end();
  rmSync(state, { recursive: true, force: true, maxRetries: 5 });
});

const hmac = (text: string) => createHmac("sha256", secrets.deployment).update(text);

/** As the edge mints them. */
function minted(): { id: string; ticket: string } {
  const chance = Buffer.from([placeOfDay(Date.now()), ...randomBytes(9)]).toString("hex");
  const tag = hmac(`request:${TENANT}:default:${chance}`).digest("hex").slice(0, 12);
  const id = `resp_default_${chance}${tag}`;
  const expiresAtS = Math.floor(Date.now() / 1_000) + 3_600;
  return { id, ticket: encodeResultTicket({ tenant: TENANT, id, expiresAtS }, (text) => hmac(text).digest("base64url")) };
}

const pad = "x".repeat(4 * KIB);
async function store(): Promise<string> {
  const { id, ticket } = minted();
  const body = JSON.stringify({ response: { id, pad }, inputItems: [], messages: [{ role: "user", content: pad }] });
  const answer = await fetch(`${origin}/internal/results/${id}`, {
    method: "PUT",
    body,
    headers: { "content-type": "application/json", [HEADER.resultTicket]: ticket },
  });
  expect([answer.status, await answer.text()]).toEqual([204, ""]);
  return id;
}

const asked = (method: string, id: string): Promise<Response> =>
  fetch(`${origin}/v1/responses/${id}`, { method, headers: { authorization: `Bearer ${secrets.apiKey}` } });

/** Of all objects' files. */
function kept(): { files: number; bytes: number } {
  const names = readdirSync(join(state, "objects"), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return { files: names.length, bytes: names.reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0) };
}

async function all<T>(inputs: readonly T[], atOnce: number, work: (input: T) => Promise<void>): Promise<void> {
  const left = [...inputs];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let input = left.pop(); input !== undefined; input = left.pop()) await work(input);
    }),
  );
}

it("300 stored and deleted leave few files and no more bytes than there were", { timeout: 120_000 }, async () => {
  const before = kept();
  const ids: string[] = [];
  await all(
    Array.from({ length: 300 }, (_, n) => n),
    32,
    async () => void ids.push(await store()),
  );
  const stored = kept();
  expect(stored.bytes - before.bytes).toBeGreaterThan(300 * 8 * KIB);
  expect(stored.files - before.files).toBeLessThan(20);
  const [first = ""] = ids;
  const answer = await asked("GET", first);
  expect(await answer.json()).toMatchObject({ id: first });
  await all(ids, 32, async (id) => expect((await asked("DELETE", id)).status).toBe(200));
  const deleted = kept();
  expect(deleted.files - before.files).toBeLessThan(20);
  expect(deleted.bytes - before.bytes).toBeLessThan(300 * KIB);
  expect((await asked("GET", first)).status).toBe(404);
});
