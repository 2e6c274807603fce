/** `warmpath replay`: logged decisions decided again, under the profile they had and under another. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { decide } from "../src/decision/decide.ts";
import type { Decision, Profile } from "../src/decision/decision.ts";
import { type ExplainRecord, replay } from "../src/explain/record.ts";
import { firstTokenMs } from "../src/decision/first-token.ts";
import { addFunnel, emptyFunnel, type Funnel, funnelOf } from "../src/explain/funnel.ts";
import { type Hindsight, hindsightOf, type HindsightSummary, summaryOf } from "../src/explain/hindsight.ts";
import { unpackView } from "../src/explain/packed-view.ts";
import { PROFILE_NAMES, PROFILES } from "../src/decision/profiles.ts";
import { whyOf } from "../src/explain/paragraph.ts";
import { parseLog } from "./decision-log.ts";

const USAGE = `warmpath replay LOG [options]
  LOG                 decisions as GET /v1/decisions answers them, or one record a line, as warmpath simulate --log writes them
  --profile NAME      decide again by this profile (${PROFILE_NAMES.join(", ")}); without it, by the one they had
  --why ID            of this request only: why it went where it went, in words
  --json FILE         the same figures as JSON`;

/** Longer text fits no string. */
const MAX_BYTES = 500 * 1024 * 1024;

export interface Replayed {
  decisions: number;
  /** Of them, those that come out as logged when decided again as they were: all, or the log is of another version. */
  asLogged: number;
  profile: string;
  /** Of those that chose somebody, those that choose another under the profile. */
  otherChoices: number;
  /** Means, transfers included, with the prompts' lengths as they were estimated then. */
  predictedTtftMs: { logged: number; replayed: number };
  /** Means of what the chosen replica holds of the prompt. */
  heldByChosenTokens: { logged: number; replayed: number };
  hindsight: HindsightSummary;
  funnel: Funnel;
}

export function replayAll(records: readonly ExplainRecord[], profile: Profile | null): Replayed {
  const sums = { asLogged: 0, otherChoices: 0, chose: 0 };
  const [logged, replayed] = [
    { ttftMs: 0, heldTokens: 0 },
    { ttftMs: 0, heldTokens: 0 },
  ];
  const funnel = emptyFunnel();
  const known: Hindsight[] = [];
  for (const record of records) {
    const before = replay(record);
    if (isAsLogged(before, record)) sums.asLogged++;
    const again = profile === null ? before : decide(unpackView(record.view), record.request, profile, record.draw, record.turn);
    const [own, other] = [before.candidates[before.chosen ?? -1], again.candidates[again.chosen ?? -1]];
    if (own !== undefined && other !== undefined) {
      sums.chose++;
      if (own.replica !== other.replica) sums.otherChoices++;
      logged.ttftMs += firstTokenMs(own, before.transfer);
      logged.heldTokens += own.cachedTokens;
      replayed.ttftMs += firstTokenMs(other, again.transfer);
      replayed.heldTokens += other.cachedTokens;
    }
    const hindsight = hindsightOf(record);
    if (hindsight !== null) known.push(hindsight);
    const lost = funnelOf(record, before);
    if (lost !== null) addFunnel(funnel, lost);
  }
  const chose = Math.max(1, sums.chose);
  return {
    decisions: records.length,
    asLogged: sums.asLogged,
    profile: profile?.name ?? "as logged",
    otherChoices: sums.otherChoices,
    predictedTtftMs: { logged: logged.ttftMs / chose, replayed: replayed.ttftMs / chose },
    heldByChosenTokens: { logged: logged.heldTokens / chose, replayed: replayed.heldTokens / chose },
    hindsight: summaryOf(known),
    funnel,
  };
}

/** The same replica, and blocks from the same place; words may have changed. */
function isAsLogged(decision: Decision, { decision: logged }: ExplainRecord): boolean {
  const [now, then] = [decision.transfer, logged.transfer];
  return decision.chosen === logged.chosen && now?.kind === then?.kind && now?.replica === then?.replica;
}

export function describe(replayed: Replayed): string {
  const { decisions, asLogged, profile, otherChoices, predictedTtftMs, heldByChosenTokens, hindsight, funnel } = replayed;
  const ms = (value: number): string => `${value.toFixed(1)} ms`;
  const share = (tokens: number): string =>
    `${String(Math.round(tokens)).padStart(12)}  ${funnel.promptTokens === 0 ? "-" : `${((100 * tokens) / funnel.promptTokens).toFixed(1)} %`}`;
  return [
    `${decisions} decisions; ${asLogged} come out as logged when decided again`,
    `profile ${profile}: ${otherChoices} go to another replica`,
    `  predicted to the first token: mean ${ms(predictedTtftMs.replayed)} (logged: ${ms(predictedTtftMs.logged)})`,
    `  held by the chosen: mean ${Math.round(heldByChosenTokens.replayed)} tokens (logged: ${Math.round(heldByChosenTokens.logged)})`,
    "",
    `in hindsight (${hindsight.known} with a first token), as logged: actual mean ${ms(hindsight.actualMeanMs)}`,
    `  prediction off by ${ms(hindsight.errorP50Ms)} (p50), ${ms(hindsight.errorP90Ms)} (p90)`,
    `  regret against the best that was predicted: mean ${ms(hindsight.regretMeanMs)}, p99 ${ms(hindsight.regretP99Ms)}; foreseen: mean ${ms(hindsight.foreseenMeanMs)}`,
    "",
    `where reuse is lost (${funnel.requests} requests), tokens:`,
    `  prompt             ${share(funnel.promptTokens)}`,
    `  ever computed      ${share(funnel.everComputedTokens)}`,
    `  held somewhere     ${share(funnel.heldTokens)}`,
    `  held by the chosen ${share(funnel.chosenTokens)}`,
    `  really reused      ${share(funnel.reusedTokens)}`,
  ].join("\n");
}

interface ReplayOptions {
  file: string;
  /** Null: as logged. */
  profile: Profile | null;
  why: string | null;
  json: string | null;
}

const OPTIONS = {
  profile: { type: "string" },
  why: { type: "string" },
  json: { type: "string" },
  help: { type: "boolean", short: "h", default: false },
} as const;

/** Throws a RangeError or TypeError whose message is fit for the user. */
function parseOptions(args: string[]): ReplayOptions | "help" {
  const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true });
  if (values.help) return "help";
  const [file] = positionals;
  if (file === undefined || positionals.length > 1) throw new RangeError(`Name one log.\n${USAGE}`);
  const profile = Object.values(PROFILES).find(({ name }) => name === values.profile) ?? null;
  if (values.profile !== undefined && profile === null) throw new RangeError(`There is no profile ${JSON.stringify(values.profile)}.`);
  return { file, profile, why: values.why ?? null, json: values.json ?? null };
}

/** Throws a RangeError that says what is wrong with it. */
async function readLog(file: string): Promise<readonly ExplainRecord[]> {
  let text: string;
  try {
    if ((await stat(file)).size > MAX_BYTES) throw new RangeError("it is larger than 500 MiB");
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new RangeError(`${file} can't be read: ${error instanceof Error ? error.message : String(error)}.`, { cause: error });
  }
  const log = parseLog(text);
  if (log.kind === "invalid") throw new RangeError(`${file}: ${log.reason}.`);
  return log.records;
}

/** Exit code: 0, 1 when a decision does not come out as logged, 2 for what can't be read or written. */
export async function main(args: string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === "help") {
      console.log(USAGE);
      return 0;
    }
    const records = await readLog(options.file);
    if (options.why !== null) return tellWhy(records, options.why);
    const replayed = replayAll(records, options.profile);
    console.log(describe(replayed));
    if (options.json !== null) await writeFile(options.json, `${JSON.stringify(replayed, null, 2)}\n`);
    return replayed.asLogged === replayed.decisions ? 0 : 1;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 2;
  }
}

function tellWhy(records: readonly ExplainRecord[], id: string): number {
  const attempts = records.filter((record) => record.id === id);
  if (attempts.length === 0) throw new RangeError(`There is no decision for ${JSON.stringify(id)} in it.`);
  for (const record of attempts) console.log(whyOf(record, replay(record), hindsightOf(record)));
  return 0;
}
