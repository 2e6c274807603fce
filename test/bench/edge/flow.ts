/** Events a second through long streams, and memory after much unique text. */
import type { Arm } from "./arms.ts";
import { round, rssMb } from "./cpu.ts";
import { type Load, measure, type Mock } from "./setup.ts";

export interface EventRates {
  streams: number;
  eventsPerStream: number;
  arms: Record<string, { eventsPerS: number; cpuUsPerEvent: number | null }>;
  /** 1 = as many as the plain passthrough. */
  edgeToPassthrough: number;
}

const CONCURRENCY = 16;

/** The events come one write each, as fast as the replica's loop turns. */
export async function eventRates(load: Load, mock: Mock, arms: readonly Arm[], quick: boolean): Promise<EventRates[]> {
  const told: EventRates[] = [];
  // A stream's start costs the edge more than an event: short streams show it, long ones show the events.
  for (const eventsPerStream of [400, 2_000]) told.push(await eventRate(load, mock, arms, eventsPerStream, quick));
  return told;
}

async function eventRate(load: Load, mock: Mock, arms: readonly Arm[], eventsPerStream: number, quick: boolean): Promise<EventRates> {
  const requests = Math.ceil(((quick ? 1 : 2.5) * 51_200) / eventsPerStream);
  const rounds = 3;
  await mock.ask({ type: "events", count: eventsPerStream, oneByOne: true });
  const sums = new Map(arms.map((arm) => [arm, { events: 0, wallMs: 0, cpuMs: 0 }]));
  for (let turn = 0; turn < rounds; turn++) {
    for (const [arm, sum] of turn % 2 === 0 ? sums : [...sums].toReversed()) {
      const command = { promptBytes: 2_048, stream: true, concurrency: CONCURRENCY, requests: Math.ceil(requests / rounds), warmup: 0 };
      const { reply, cpuMs } = await measure(load, arm, command);
      sum.events += reply.events;
      sum.wallMs += reply.wallMs;
      sum.cpuMs += cpuMs;
    }
  }
  await mock.ask({ type: "events", count: 16, oneByOne: false });
  const told = Object.fromEntries(
    [...sums].map(([arm, { events, wallMs, cpuMs }]) => [
      arm.name,
      { eventsPerS: round((events * 1_000) / wallMs, 0), cpuUsPerEvent: arm.pid === null ? null : round((cpuMs * 1_000) / events, 1) },
    ]),
  );
  const edgeToPassthrough = round((told["edge"]?.eventsPerS ?? Number.NaN) / (told["passthrough"]?.eventsPerS ?? Number.NaN));
  for (const [name, rate] of Object.entries(told)) {
    process.stdout.write(
      `events: ${eventsPerStream} a stream, ${name.padEnd(12)} ${rate.eventsPerS}/s, ${rate.cpuUsPerEvent ?? "-"} cpu-us an event\n`,
    );
  }
  process.stdout.write(`events: ${eventsPerStream} a stream, edge / passthrough = ${edgeToPassthrough}\n`);
  return { streams: requests, eventsPerStream, arms: told, edgeToPassthrough };
}

export interface Memory {
  promptMb: number[];
  /** After so many megabytes of prompts, by arm. */
  rssMb: Record<string, number[]>;
}

/** Prompts that share nothing, 220 KB each. */
export async function memory(load: Load, arms: readonly Arm[], quick: boolean): Promise<Memory> {
  const promptBytes = 220 * 1_024;
  const steps = quick ? [0, 50, 100, 150] : [0, 100, 200, 300, 400, 500, 600];
  const told: Record<string, number[]> = {};
  for (const arm of arms) {
    const { pid } = arm;
    if (pid === null) continue;
    const seen: number[] = [];
    for (const [index, mb] of steps.entries()) {
      const more = mb - (steps[index - 1] ?? 0);
      const requests = Math.round((more * 1e6) / promptBytes);
      if (requests > 0) await measure(load, arm, { promptBytes, stream: false, concurrency: 16, requests, warmup: 0, uniqueFront: true });
      seen.push(round(rssMb(pid), 0));
    }
    told[arm.name] = seen;
    process.stdout.write(`memory: ${arm.name.padEnd(12)} ${seen.join(" → ")} MB after ${steps.join(", ")} MB of prompts\n`);
  }
  return { promptMb: steps, rssMb: told };
}
