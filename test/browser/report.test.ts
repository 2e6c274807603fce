/** The report of `warmpath simulate` on a phone and on a desk. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { main } from "../../cli/simulate.ts";
import { violations } from "./axe.ts";
import { openChromium } from "./chromium.ts";

/** Smaller text is not read on a phone. */
const LEAST_TEXT_PX = 9.5;

let browser: Browser = undefined as never;
const folder = mkdtempSync(join(tmpdir(), "warmpath-report-"));
const file = join(folder, "report.html");
beforeAll(async () => {
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  expect(main(["--workload", "agent", "--load", "0.5,0.7,0.9", "--requests", "300", "--html", file])).toBe(0);
  browser = await openChromium();
});
afterAll(async () => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
  await browser?.close();
});

it.each([
  ["light", 400],
  ["dark", 400],
  ["light", 1_280],
] as const)(
  "in a %s scheme and a window of %d px its figures fit, their text can be read, and axe finds nothing",
  async (colorScheme, width) => {
    const page = await (await browser.newContext({ colorScheme, viewport: { width, height: 800 } })).newPage();
    await page.goto(pathToFileURL(file).href);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    // Text in a picture shrinks with it.
    const smallest = await page.evaluate(() => {
      const scales = [...document.querySelectorAll("svg")].map((svg) => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width);
      return 11 * Math.min(...scales);
    });
    expect(smallest).toBeGreaterThanOrEqual(LEAST_TEXT_PX);
    expect(await violations(page)).toEqual([]);
  },
);
