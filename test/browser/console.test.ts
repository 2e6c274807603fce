/** The page at `/` in a real browser, on the product as a user starts it. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Started, startProduct } from "../e2e/started.ts";
import { openChromium, openTab, type Tab } from "./chromium.ts";

let [product, browser]: [Started, Browser] = [undefined as never, undefined as never];
beforeAll(async () => {
  [product, browser] = await Promise.all([startProduct(), openChromium()]);
});
afterAll(async () => {
  await Promise.all([browser?.close(), product?.stop()]);
});

const addressOf = ({ url, apiKey }: Started): string => `${url}/#key=${apiKey}`;

async function opened(options: Parameters<typeof openTab>[2] = {}): Promise<Tab> {
  const tab = await openTab(browser, product.url, options);
  await tab.page.goto(addressOf(product));
  await tab.page.getByRole("button", { name: "Send" }).and(tab.page.locator(":enabled")).waitFor();
  return tab;
}

/** Types and sends, and waits until the turn has ended and shows its cold time; what it shows, by its names. */
async function turn(page: Page, text: string): Promise<Map<string, string>> {
  const turns = page.locator(".turn");
  const before = await turns.count();
  await page.getByLabel("Message").fill(text);
  await page.getByLabel("Message").press("Enter");
  const last = turns.nth(before);
  await last.getByText("cold about").waitFor();
  const names = await last.locator("dt").allInnerTexts();
  const values = await last.locator("dd").allInnerTexts();
  return new Map(names.map((name, index) => [name, values[index] ?? ""]));
}

const ASKED = "Tell me about the sea. ".repeat(60);
const numberIn = (text: string | undefined): number => Number(/[\d,]+/.exec(text ?? "")?.[0].replaceAll(",", "") ?? Number.NaN);

it("the second turn of a conversation has cached tokens, and each turn names who served it", async () => {
  const { page, complaints } = await opened();
  const first = await turn(page, ASKED);
  const second = await turn(page, "And the wind?");
  expect(product.replicas.map(({ name }) => name)).toContain(second.get("replica"));
  expect(second.get("replica")).toBe(first.get("replica"));
  expect(numberIn(first.get("cached"))).toBe(0);
  expect(numberIn(second.get("cached"))).toBeGreaterThan(0);
  expect(second.get("cached")).toMatch(/^[\d,]+ of [\d,]+ prompt tokens \(predicted [\d,]+\)$/);
  expect(second.get("first token")).toMatch(/^[\d.]+ m?s; cold about [\d.]+ m?s/);
  // What the pool does stands beside it.
  const pool = page.getByRole("complementary");
  for (const { name } of product.replicas) await pool.getByText(name, { exact: true }).waitFor();
  await pool
    .getByText(/^[\d,]+ of [\d,]+ tokens/)
    .first()
    .waitFor();
  await pool.getByText(/was chosen .* Predicted to the first token/).waitFor();
  expect(complaints).toEqual([]);
});

it("the key leaves the address and stays for the tab; without one the page asks for it, and the edge for nothing", async () => {
  const { page, complaints } = await opened();
  expect(page.url()).toBe(`${product.url}/`);
  await page.reload();
  await page.getByLabel("Message").waitFor();
  expect(complaints).toEqual([]);

  const other = await openTab(browser, product.url);
  const asked: string[] = [];
  other.page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await other.page.goto(product.url);
  await other.page.getByRole("textbox", { name: "API key" }).fill(product.apiKey);
  expect(asked.filter((path) => path !== "/" && !path.startsWith("/console/"))).toEqual([]);
  await other.page.keyboard.press("Enter");
  await other.page.getByLabel("Message").waitFor();
  await other.page.getByRole("button", { name: "Forget the key" }).click();
  await other.page.getByRole("textbox", { name: "API key" }).waitFor();
  await other.page.reload();
  await other.page.getByRole("textbox", { name: "API key" }).waitFor();
  expect(other.complaints).toEqual([]);
});

it("a turn is stopped while it is written, and the next one is answered", async () => {
  const { page, complaints } = await opened();
  await page.evaluate(() => {
    // At the first word: the demo model writes faster than a test clicks.
    const watcher = new MutationObserver(() => {
      if ((document.querySelector(".turn > div")?.textContent ?? "") === "") return;
      watcher.disconnect();
      [...document.querySelectorAll("button")].find((button) => button.textContent === "Stop")?.click();
    });
    watcher.observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await page.getByLabel("Message").fill(ASKED);
  await page.getByLabel("Message").press("Enter");
  await page.locator('.turn[data-state="stopped"]').waitFor();
  expect((await turn(page, "Go on.")).get("replica")).toMatch(/./);
  expect(complaints).toEqual([]);
});

it("an answer's markdown is shown, and nothing that it brings runs or loads", async () => {
  const { page, complaints } = await opened();
  const answer = [
    "**bold** and `code`",
    "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script><b style=\"color:red\">raw</b>",
    "[good](https://example.test/) [bad](javascript:document.title='run') ![seen](https://example.test/seen.png)",
  ].join("\n\n");
  const events = [
    { choices: [{ delta: { content: answer } }] },
    { choices: [], usage: { prompt_tokens: 20, completion_tokens: 9, prompt_tokens_details: { cached_tokens: 16 } } },
  ];
  const body = [...events.map((event) => JSON.stringify(event)), "[DONE]"].map((data) => `data: ${data}\n\n`).join("");
  const headers = { "content-type": "text/event-stream", "x-warmpath-replica": "r1", "x-warmpath-cached-tokens": "12" };
  await page.route("**/v1/chat/completions", (route) => route.fulfill({ headers, body }));
  await page.getByLabel("Message").fill("Hello");
  await page.getByLabel("Message").press("Enter");
  const turn = page.locator('.turn[data-state="done"]');
  await turn.getByText("16 of 20 prompt tokens (predicted 12)").waitFor();
  expect([await turn.locator("strong").allInnerTexts(), await turn.locator("code").allInnerTexts()]).toEqual([["bold"], ["code"]]);
  expect(await turn.getByText("<script>").count()).toBe(1);
  expect(await turn.locator("img, script, style, [style], [onerror]").count()).toBe(0);
  const links = await turn.locator("a").evaluateAll((found) => found.map((link) => [link.textContent, link.getAttribute("href")]));
  expect(links).toEqual([
    ["good", "https://example.test/"],
    ["bad", null],
  ]);
  expect(await page.title()).toBe("Warmpath");
  expect(complaints).toEqual([]);
});

it("the keyboard reaches the message, the model and Send, in this order", async () => {
  const { page } = await opened();
  const focused = () =>
    page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "");
  const reached: string[] = [];
  for (let step = 0; step < 4; step++) {
    await page.keyboard.press("Tab");
    reached.push(await focused());
  }
  expect(reached).toEqual(["Forget the key", "Message", "Model", "Send"]);
});

it.each(["light", "dark"] as const)("nothing is wider than 400 px, and axe finds nothing, in a %s scheme", async (colorScheme) => {
  const { page, complaints } = await opened({ colorScheme, viewport: { width: 400, height: 800 } });
  await turn(page, "Write a very long word.");
  await page
    .getByText(/was chosen/)
    .first()
    .waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(400);
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  expect(background).toBe(colorScheme === "dark" ? "rgb(23, 22, 20)" : "rgb(250, 249, 247)");
  // Through the debugger, which the page's policy does not bind.
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = (await page.evaluate("axe.run()")) as AxeResults;
  expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  expect(complaints).toEqual([]);
});
