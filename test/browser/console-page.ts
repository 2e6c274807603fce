/** The console's page as these tests use it. */
import type { Browser, Locator, Page } from "playwright-core";
import { type Started, startProduct } from "../e2e/started.ts";
import { openTab, type Tab } from "./chromium.ts";

/** What `npm start --model` takes: a name or a GGUF file. Without it the launcher of the tests serves its own model. */
export const MODEL = process.env.WARMPATH_BROWSER_MODEL ?? null;
/** A real model takes many seconds for a prompt and its answer. */
export const TURN_MS = MODEL === null ? 30_000 : 180_000;

export const startWithModel = (): Promise<Started> => startProduct({ extraArgs: MODEL === null ? [] : ["--model", MODEL] });

/** A tab with the page, once a message can be sent. */
export async function opened(browser: Browser, product: Started, options: Parameters<typeof openTab>[2] = {}): Promise<Tab> {
  const tab = await openTab(browser, product.url, options);
  tab.page.setDefaultTimeout(TURN_MS);
  await tab.page.goto(`${product.url}/#key=${product.apiKey}`);
  await tab.page.getByRole("button", { name: "Send" }).and(tab.page.locator(":enabled")).waitFor();
  return tab;
}

/** What a turn shows of how it was served, by the names that stand before it. */
export async function servedOf(turn: Locator): Promise<Map<string, string>> {
  const names = await turn.locator("dt").allInnerTexts();
  const values = await turn.locator("dd").allInnerTexts();
  return new Map(names.map((name, index) => [name, (values[index] ?? "").trim()]));
}

/** Waits until the turn has ended and shows its cold time. */
export async function ended(turn: Locator): Promise<Map<string, string>> {
  await turn.getByText("cold about").waitFor();
  return servedOf(turn);
}

/** Where a message is written. */
export const messageField = (page: Page): Locator => page.getByRole("textbox", { name: "Message" });

/** Types and sends, and waits for the turn's end. */
export async function turn(page: Page, text: string): Promise<Map<string, string>> {
  const turns = page.locator(".turn");
  const before = await turns.count();
  await messageField(page).fill(text);
  await messageField(page).press("Enter");
  return ended(turns.nth(before));
}

/** The first number in a text; NaN without one. */
export const numberIn = (text: string | undefined): number => Number(/[\d,]+/.exec(text ?? "")?.[0].replaceAll(",", "") ?? Number.NaN);
