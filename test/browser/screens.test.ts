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

/** Each begins with words of its own, so that its first turn is cold. A prompt of some 800 tokens shows what a cache is worth. */
const QUESTIONS = {
  "console-wide": "What does this page describe?",
  "console-dark": "Sum up this page.",
  "console-narrow": "What is this about?",
};
const firstTurn = async (name: keyof typeof QUESTIONS): Promise<string> =>
  `${QUESTIONS[name]} Answer in one sentence.\n\n${(await proseOf(["README.md"])).slice(0, 3_600)}`;
const SECOND = "Which APIs does it speak? Answer in one sentence.";

it.each([
  { name: "console-wide", width: 1_280, height: 900, colorScheme: "light" },
  { name: "console-dark", width: 1_280, height: 900, colorScheme: "dark" },
  { name: "console-narrow", width: 400, height: 1_000, colorScheme: "light" },
] as const)("$name is a picture of modest size with two turns and what served them", async ({ name, width, height, colorScheme }) => {
  const { page } = await opened(browser, product, { colorScheme, viewport: { width, height } });
  // The pool learns how fast its replicas are from what they serve.
  await turn(page, `Another page.\n\n${(await proseOf(["docs/operations.md"])).slice(0, 2_400)}`);
  await page.getByRole("button", { name: "New conversation" }).click();
  await turn(page, await firstTurn(name));
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
