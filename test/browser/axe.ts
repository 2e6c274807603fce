/** What axe finds wrong with a page as it stands. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";

/** Rules that are violated, each with the elements that do. */
export async function axeProblems(page: Page): Promise<[string, string[]][]> {
  // Through the debugger, which the page's policy does not bind.
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = (await page.evaluate("axe.run()")) as AxeResults;
  return violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);
}
