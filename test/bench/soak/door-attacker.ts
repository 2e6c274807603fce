/** A process of its own for the attackers: their work is not that of the honest client's process, and gives way to the product's. */
import { setMaxListeners } from "node:events";
import { setPriority } from "node:os";
import { serveCommands } from "../edge/child.ts";
import { seededRandom } from "../conversations.ts";
import { type Attack, CLIENT_ATTACKS, type Door, pause, STRANGER_ATTACKS } from "./door-attacks.ts";

/** On another machine they would take nothing of the product's processors. */
const NICE = 19;

export type AttackerCommand =
  | ({ type: "begin"; who: "client" | "strangers"; attackers: number; perS: number; seed: number } & Omit<Door, "random" | "signal">)
  | { type: "end" };
/** Attack → what came of it → how often. */
export type AttackerReply = Record<string, Record<string, number>>;

/** A few attacks last long, and each attacker goes on meanwhile. */
const MOST_UNDER_WAY = 64;

let counts: AttackerReply = {};
let abort = new AbortController();
let running: Promise<unknown> = Promise.resolve();

async function play(door: Door, attacks: Readonly<Record<string, Attack>>, perS: number): Promise<void> {
  const names = Object.keys(attacks);
  const underWay = new Set<Promise<void>>();
  while (!door.signal.aborted) {
    const name = names[Math.floor(door.random() * names.length)] ?? "";
    const one = attacks[name]?.(door).then((came) => {
      const seen = (counts[name] ??= {});
      seen[came] = (seen[came] ?? 0) + 1;
    });
    if (one !== undefined) {
      underWay.add(one);
      void one.finally(() => underWay.delete(one));
    }
    if (underWay.size >= MOST_UNDER_WAY) await Promise.race(underWay);
    await pause(1_000 / perS, door.signal);
  }
  await Promise.all(underWay);
}

serveCommands<AttackerCommand, AttackerReply>(async (command) => {
  setPriority(NICE);
  if (command.type === "end") {
    abort.abort();
    await running;
    return counts;
  }
  const { who, attackers, perS, seed, ...door } = command;
  counts = {};
  abort = new AbortController();
  const { signal } = abort;
  // Each try that is under way listens to it.
  setMaxListeners(0, signal);
  const attacks = who === "client" ? CLIENT_ATTACKS : STRANGER_ATTACKS;
  running = Promise.all(
    Array.from({ length: attackers }, (_, n) => play({ ...door, signal, random: seededRandom(seed + n) }, attacks, perS)),
  );
  return {};
});
