import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";

/** What axe finds on a page as it stands: each rule with the elements that break it. */
export async function violations(page: Page): Promise<unknown[]> {
  // Through the debugger, which the page's policy does not bind.
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const found = (await page.evaluate("axe.run()")) as AxeResults;
  return found.violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);
}
