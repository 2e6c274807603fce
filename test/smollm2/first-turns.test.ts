/** `npm start` without an option: the model that answers is SmolLM2, and it answers in English. */
import { rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { familyOf } from "../e2e/processes.ts";
import { launchAsGiven, type LauncherProcess, preparedStateDirectory, until } from "../e2e/started.ts";

const READY_MS = 800_000;
/** Of any English text; word salad of the tiny model has next to none. */
const COMMON = new Set(
  "the of and to a in is you that it he was for on are as with his they i at be this have from or one had by but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see no way could people my than first been who its now find long down day did get come made may part over is's".split(
    " ",
  ),
);

let state: string;
let launcher: LauncherProcess;
let url: string;
let headers: Record<string, string>;

interface Answer {
  model: string;
  choices: { message: { role: string; content: string } }[];
  usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
}

beforeAll(async () => {
  state = await preparedStateDirectory();
  launcher = launchAsGiven(["--port", "0", "--state", state]);
  await until("it is ready", () => launcher.stdout().includes("Ctrl-C ends everything"), READY_MS);
  [, url = ""] = /URL +(\S+)/.exec(launcher.stdout()) ?? [];
  const [, key = ""] = /Key +(\S+)/.exec(launcher.stdout()) ?? [];
  headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
});
afterAll(async () => {
  launcher.process.kill("SIGINT");
  await launcher.exited;
  rmSync(state, { recursive: true, force: true });
});

async function chat(messages: readonly { role: string; content: string }[]): Promise<Answer> {
  const body = JSON.stringify({ model: "smollm2", max_tokens: 96, temperature: 0, messages });
  const response = await fetch(`${url}/chat/completions`, { method: "POST", headers, body });
  expect(response.status).toBe(200);
  return (await response.json()) as Answer;
}

it("answers the first turn in English, and the second from its cache", async () => {
  const question = {
    role: "user",
    content: `${"Rivers carry water from the hills to the sea, and people have lived beside them for a very long time. ".repeat(12)}Why do people live beside rivers?`,
  };
  const first = await chat([question]);
  const answer = first.choices[0]?.message ?? { role: "assistant", content: "" };
  const words = answer.content.toLowerCase().match(/[a-z']+/g) ?? [];
  expect(words.length, answer.content).toBeGreaterThan(20);
  expect(words.filter((word) => COMMON.has(word)).length / words.length, answer.content).toBeGreaterThan(0.25);
  expect(answer.content).toMatch(/water|river|sea|food|land/i);
  const second = await chat([question, answer, { role: "user", content: "Say it in one sentence." }]);
  const { prompt_tokens: prompt, prompt_tokens_details: details } = second.usage;
  expect([first.model, second.model]).toEqual(["smollm2", "smollm2"]);
  expect(details.cached_tokens).toBeGreaterThan(prompt / 2);
});

it("keeps the model's file in memory once for both replicas", async () => {
  const mapped = await Promise.all(familyOf(launcher.process.pid ?? 0).map(mappedModel));
  const engines = mapped.filter(({ residentKb }) => residentKb > 0);
  expect(engines).toHaveLength(2);
  // A page that two processes have counts half in each.
  for (const { residentKb, proportionalKb } of engines) expect(proportionalKb).toBeLessThan(0.75 * residentKb);
});

/** What of the model's file a process has in memory, and its share of that (proc_pid_smaps(5)). */
async function mappedModel(pid: number): Promise<{ residentKb: number; proportionalKb: number }> {
  const maps = await readFile(`/proc/${pid}/smaps`, "utf8").catch(() => "");
  const ours = maps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).filter((part) => /smollm2-[0-9a-f]+\.gguf\n/.test(part));
  const sum = (name: string): number =>
    ours.reduce((all, part) => all + Number(new RegExp(`^${name}: +(\\d+)`, "m").exec(part)?.[1] ?? 0), 0);
  return { residentKb: sum("Rss"), proportionalKb: sum("Pss") };
}
