/**
 * The second turn of a conversation of about 2,000 tokens against the same length without any cache, in a real browser: the figure in
 * test/bench/results/second-turn.json and the picture in docs/screens. It takes minutes, so it runs with `WARMPATH_SECOND_TURN=1` only, and is
 * meant for a real model: `WARMPATH_BROWSER_MODEL` names it.
 */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { writeResult } from "../bench/result.ts";
import type { Started } from "../e2e/started.ts";
import { openChromium } from "./chromium.ts";
import { opened, startWithModel, turn, TURN_MS } from "./console-page.ts";
import { proseOf } from "./prose.ts";

const ROOT = join(import.meta.dirname, "../..");
const SCREENS = join(ROOT, "docs/screens");
const REPEATS = 3;
/** About 2,000 tokens of English prose. */
const TEXT_CHARACTERS = 8_600;
const AIM = 10;

vi.setConfig({ testTimeout: REPEATS * 6 * TURN_MS });

interface Row {
  repeat: number;
  turn: "first" | "second" | "cold";
  promptTokens: number;
  cachedTokens: number;
  /** As the browser saw it, ms. */
  ttftMs: number;
  /** What the page shows beside it: predicted without any cache, ms. */
  coldMs: number | null;
}

/** The last turn as the page keeps it. */
async function measured(page: Page, repeat: number, name: Row["turn"]): Promise<Row> {
  const kept = await page.evaluate(() => sessionStorage.getItem("warmpath-conversation") ?? "[]");
  const last = (JSON.parse(kept) as Omit<Row, "repeat" | "turn">[]).at(-1);
  if (last === undefined) throw new Error("The page keeps no turn.");
  const { promptTokens, cachedTokens, ttftMs, coldMs } = last;
  return { repeat, turn: name, promptTokens, cachedTokens, ttftMs, coldMs };
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

describe.runIf(process.env.WARMPATH_SECOND_TURN !== undefined)("the second turn of a long conversation", () => {
  let [product, browser]: [Started, Browser] = [undefined as never, undefined as never];
  beforeAll(async () => {
    [product, browser] = await Promise.all([startWithModel(), openChromium()]);
  });
  afterAll(async () => {
    await Promise.all([browser?.close(), product?.stop()]);
  });

  it(`has its first token at least ${AIM} times sooner than a cold one of its length`, async () => {
    const records = (await readdir(join(ROOT, "docs/decisions"))).toSorted();
    const text = await proseOf(records.map((name) => `docs/decisions/${name}`));
    // Each text begins with words of its own, so that none finds another's cache; the cold one is as long as the second turn.
    const asked = (label: string, from: number): string =>
      `${label}\n\n${text.slice(from, from + TEXT_CHARACTERS)}\n\nSummarize the text above in one sentence.`;
    const { page } = await opened(browser, product, { viewport: { width: 900, height: 700 } });
    const rows: Row[] = [];
    const pictures: { ttftMs: number; png: Buffer }[] = [];
    const take = async (repeat: number, name: Row["turn"], message: string): Promise<void> => {
      await turn(page, message);
      rows.push(await measured(page, repeat, name));
    };
    const anew = (): Promise<void> => page.getByRole("button", { name: "New conversation" }).click();
    // The first request of a new replica also teaches its speed.
    await turn(page, "Hello");
    for (let repeat = 1; repeat <= REPEATS; repeat += 1) {
      await anew();
      await take(repeat, "first", asked(`Text ${repeat} of ${REPEATS}.`, repeat * 2_000));
      await take(repeat, "second", "Which word of it matters most? Answer in one word.");
      pictures.push({
        ttftMs: rows.at(-1)?.ttftMs ?? Number.NaN,
        png: await page.locator(".turn").nth(1).screenshot({ animations: "disabled" }),
      });
      await anew();
      await take(repeat, "cold", asked(`Another text, number ${repeat}.`, repeat * 2_000 + 1_000));
    }
    const of = (name: Row["turn"]): number => median(rows.filter((row) => row.turn === name).map(({ ttftMs }) => ttftMs));
    const times = of("cold") / of("second");
    writeResult(
      "second-turn",
      { model: product.model, replicas: product.replicas.length, repeats: REPEATS, times: Number(times.toFixed(1)), aim: AIM },
      rows,
    );
    // The picture is the median second turn's.
    await mkdir(SCREENS, { recursive: true });
    const shown = pictures.find(({ ttftMs }) => ttftMs === of("second"));
    if (shown !== undefined) await writeFile(join(SCREENS, "second-turn.png"), shown.png);
    for (let repeat = 1; repeat <= REPEATS; repeat += 1) {
      const [first, second] = rows.filter((row) => row.repeat === repeat);
      expect(second?.cachedTokens).toBeGreaterThan(0.95 * (first?.promptTokens ?? Number.NaN));
    }
    expect(times).toBeGreaterThanOrEqual(AIM);
  });
});
