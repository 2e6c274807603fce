/** The pictures of the page in docs/screens: wide, dark and narrow. `WARMPATH_SCREENS=1` writes them anew; without it they are only taken. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import type { Started } from "../e2e/started.ts";
import { openChromium } from "./chromium.ts";
import { opened, startWithModel, turn, TURN_MS } from "./console-page.ts";
import { proseOf } from "./prose.ts";

vi.setConfig({ testTimeout: 4 * TURN_MS });

const FOLDER = join(import.meta.dirname, "../../docs/screens");
/** A picture in a README is loaded by every reader. */
const MOST_BYTES = 300_000;

let [product, browser]: [Started, Browser] = [undefined as never, undefined as never];
beforeAll(async () => {
  [product, browser] = await Promise.all([startWithModel(), openChromium()]);
});
afterAll(async () => {
  await Promise.all([browser?.close(), product?.stop()]);
});

/** A prompt of some 750 tokens shows what a cache is worth; a small model answers best what is asked at the end. */
const toSumUp = async (beginning: string, file: string): Promise<string> =>
  `${beginning}\n\n${(await proseOf([file])).slice(0, 2_500)}\n\nSummarize the text above in one sentence.`;
const SECOND = "Which APIs does it speak? Answer in one sentence.";

it.each([
  { name: "console-wide", width: 1_280, height: 900, colorScheme: "light" },
  { name: "console-dark", width: 1_024, height: 720, colorScheme: "dark" },
  { name: "console-narrow", width: 400, height: 1_000, colorScheme: "light" },
] as const)("$name is a picture of modest size with two turns and what served them", async ({ name, width, height, colorScheme }) => {
  const { page } = await opened(browser, product, { colorScheme, viewport: { width, height } });
  // The pool learns how fast its replicas are from what they serve.
  await turn(page, await toSumUp("Another page.", "docs/decisions/0010-checkpoint-as-journal.md"));
  await page.getByRole("button", { name: "New conversation" }).click();
  await turn(page, await toSumUp("Here is a page.", "README.md"));
  await turn(page, SECOND);
  await page.getByText("measured", { exact: true }).first().waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  // A wide page fits; a narrow one shows its chat and goes on below.
  const whole = await page.evaluate(() => document.documentElement.scrollHeight);
  const picture = await page.screenshot({
    clip: { x: 0, y: 0, width, height: Math.min(whole, height) },
    fullPage: true,
    animations: "disabled",
  });
  expect(picture.byteLength).toBeLessThan(MOST_BYTES);
  if (process.env.WARMPATH_SCREENS === undefined) return;
  await mkdir(FOLDER, { recursive: true });
  await writeFile(join(FOLDER, `${name}.png`), picture);
});
