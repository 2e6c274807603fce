/** Where the edge's JavaScript spends its time: V8's sampling profiler over workerd's inspector. Native work shows as "(program)". */
import { WebSocket } from "undici";
import { type Edge, restartEdge, startEdge } from "./arms.ts";
import { round } from "./cpu.ts";
import { HELD_BY_ONE, startFullPool } from "./decide.ts";
import { holdPrefixes, joinReplicas, type Load, measure, startMock } from "./setup.ts";

export interface ProfileRow {
  name: string;
  share: number;
}

interface ProfileNode {
  id: number;
  hitCount?: number;
  children?: number[];
  callFrame: { functionName: string; url: string; lineNumber: number };
}

const MOST_ROWS = 60;
type Send = (method: string, params?: object) => Promise<unknown>;

async function connect(port: number): Promise<{ send: Send; close: () => void }> {
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as { id: string; webSocketDebuggerUrl?: string }[];
  const target = targets.find(({ id }) => id.includes("edge")) ?? targets[0];
  if (target === undefined) throw new Error("the inspector lists no target");
  const socket = new WebSocket(target.webSocketDebuggerUrl ?? `ws://127.0.0.1:${port}/${target.id}`);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error("the inspector refused")));
  });
  const waiting = new Map<number, (result: unknown) => void>();
  socket.addEventListener("message", (message) => {
    const { id, result } = JSON.parse(String(message.data)) as { id?: number; result?: unknown };
    if (id !== undefined) waiting.get(id)?.(result);
  });
  let next = 1;
  const send: Send = (method, params = {}) =>
    new Promise((resolve) => {
      const id = next++;
      waiting.set(id, resolve);
      socket.send(JSON.stringify({ id, method, params }));
    });
  return { send, close: () => socket.close() };
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const file = url.split("/").at(-1) ?? "";
  return `${functionName || "(anonymous)"}${file === "" ? "" : ` ${file}:${lineNumber + 1}`}`;
}

/** Self time, and the time of a function with all it called; both as shares of what was not idle. */
function rowsOf(nodes: readonly ProfileNode[]): { self: ProfileRow[]; inclusive: ProfileRow[] } {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const self = new Map<string, number>();
  const inclusive = new Map<string, number>();
  let all = 0;
  const walk = (node: ProfileNode, open: ReadonlySet<string>, caller: string): number => {
    const name = nameOf(node);
    if (name === "(idle)") return 0;
    let hits = node.hitCount ?? 0;
    all += hits;
    const selfName = name.includes(":") || name.startsWith("(") ? name : `${name} ← ${caller}`;
    self.set(selfName, (self.get(selfName) ?? 0) + hits);
    const inside = new Set(open).add(name);
    for (const child of node.children ?? []) {
      const found = byId.get(child);
      if (found !== undefined) hits += walk(found, inside, name);
    }
    if (!open.has(name)) inclusive.set(name, (inclusive.get(name) ?? 0) + hits);
    return hits;
  };
  const root = nodes[0];
  if (root !== undefined) walk(root, new Set(), "");
  const top = (hits: Map<string, number>): ProfileRow[] =>
    [...hits]
      .toSorted((a, b) => b[1] - a[1])
      .slice(0, MOST_ROWS)
      .map(([name, count]) => ({ name, share: round(count / all) }));
  return { self: top(self), inclusive: top(inclusive) };
}

type Profile = ReturnType<typeof rowsOf>;

function print(what: string, profile: Profile): void {
  for (const [kind, list] of Object.entries(profile)) {
    process.stdout.write(`profile of ${what}, ${kind} time:\n`);
    for (const { name, share } of list) process.stdout.write(`  ${(share * 100).toFixed(1).padStart(5)} %  ${name}\n`);
  }
}

/** `work` under the profiler; printed. */
async function profiled({ send }: { send: Send }, what: string, work: () => Promise<unknown>): Promise<Profile> {
  await send("Profiler.start");
  await work();
  const { profile: taken } = (await send("Profiler.stop")) as { profile: { nodes: ProfileNode[] } };
  const rows = rowsOf(taken.nodes);
  print(what, rows);
  return rows;
}

async function profiler(edge: Edge): ReturnType<typeof connect> {
  const inspector = await connect(edge.ports["inspector"] ?? 0);
  await inspector.send("Profiler.enable");
  await inspector.send("Profiler.setSamplingInterval", { interval: 200 });
  return inspector;
}

async function profileRequests(load: Load, quick: boolean): Promise<Record<string, Profile>> {
  const edge = await restartEdge(await startEdge(), { inspector: true });
  const { mock, ports } = await startMock(2);
  const sizes = [2_048, 220 * 1_024];
  const told: Record<string, Profile> = {};
  try {
    await joinReplicas(edge, mock, ports, 2);
    await holdPrefixes(edge, mock, sizes, 2);
    const inspector = await profiler(edge);
    for (const promptBytes of sizes) {
      const requests = Math.ceil((promptBytes > 10_000 ? 900 : 5_000) / (quick ? 3 : 1));
      const flow = { promptBytes, stream: false, concurrency: 16 };
      await measure(load, edge, { ...flow, requests: Math.ceil(requests / 4), warmup: 16 });
      const what = `${promptBytes / 1_024} KB`;
      told[what] = await profiled(inspector, what, () => measure(load, edge, { ...flow, requests, warmup: 0 }));
    }
    inspector.close();
  } finally {
    mock.end();
    await edge.end();
  }
  return told;
}

async function profileDecisions(quick: boolean): Promise<Profile> {
  const pool = await startFullPool({ inspector: true });
  try {
    const inspector = await profiler(pool.edge);
    const rows = await profiled(inspector, "decisions", () => pool.decisions(HELD_BY_ONE, quick ? 3_000 : 10_000, 64));
    inspector.close();
    return rows;
  } finally {
    await pool.end();
  }
}

export async function profile(load: Load, quick: boolean): Promise<Record<string, Profile>> {
  return { ...(await profileRequests(load, quick)), decisions: await profileDecisions(quick) };
}
