/** examples/chat-app as a builder runs it: its own Worker under `npm run dev`, beside the product, in a real browser. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Started, startProduct, until } from "../e2e/started.ts";
import { violations } from "./axe.ts";
import { openChromium, openTab, type Tab } from "./chromium.ts";

const APP = join(import.meta.dirname, "../../examples/chat-app");
const READY_MS = 60_000;

let [product, browser, app]: [Started, Browser, ChildProcess] = [undefined as never, undefined as never, undefined as never];
let url: string;

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });

beforeAll(async () => {
  if (!existsSync(join(APP, "node_modules"))) execFileSync("npm", ["ci"], { cwd: APP, stdio: "inherit" });
  execFileSync(process.execPath, [join(APP, "node_modules/typescript/bin/tsc")], { cwd: APP, stdio: "inherit" });
  [product, browser] = await Promise.all([startProduct(), openChromium()]);
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const env = { ...process.env, PORT: String(port), WARMPATH_STATE: product.stateDirectory, CI: "1", WRANGLER_SEND_METRICS: "false" };
  app = spawn(process.execPath, ["dev.mjs"], { cwd: APP, env, stdio: "ignore" });
  await until("the app answers", async () => (await fetch(url).catch(() => null))?.ok, READY_MS);
}, 300_000);
afterAll(async () => {
  app?.kill("SIGTERM");
  await Promise.all([browser?.close(), product?.stop()]);
});

async function opened(options: Parameters<typeof openTab>[2] = {}): Promise<Tab> {
  const tab = await openTab(browser, url, options);
  await tab.page.goto(url);
  await tab.page.getByLabel("Model").getByText(product.model).waitFor({ state: "attached" });
  return tab;
}

/** Sends by the keyboard, waits until the turn has ended, and reads what stands below the answer. */
async function turn(page: Page, text: string): Promise<{ replica: string; cached: number; prompt: number }> {
  const before = await page.locator(".answer").count();
  await page.getByRole("textbox").fill(text);
  await page.getByRole("textbox").press("Enter");
  const served = page.locator(".answer").nth(before).locator(".served");
  await served.getByText("first token after").waitFor();
  await page.getByRole("button", { name: "Send" }).waitFor();
  const [, replica = "", cached = "", prompt = ""] =
    /^(\S+) · ([\d,]+) of ([\d,]+) prompt tokens cached · first token after /.exec(await served.innerText()) ?? [];
  return { replica, cached: Number(cached.replaceAll(",", "")), prompt: Number(prompt.replaceAll(",", "")) };
}

const ASKED = "Tell me about the sea. ".repeat(60);

it("cached tokens grow from turn to turn, and a reload keeps the conversation", async () => {
  const { page, complaints } = await opened();
  const turns = [await turn(page, ASKED), await turn(page, "And the wind?"), await turn(page, "And the tide?")];
  expect(product.replicas.map(({ name }) => name)).toContain(turns[0]?.replica);
  expect(turns[0]?.cached).toBe(0);
  expect(turns[1]?.cached).toBeGreaterThan((turns[0]?.prompt ?? 0) / 2);
  expect(turns[2]?.cached).toBeGreaterThan(turns[1]?.cached ?? 0);
  const answers = await page.locator(".answer").allInnerTexts();
  await page.reload();
  await page.locator(".answer").nth(2).waitFor();
  expect(await page.locator(".answer").allInnerTexts()).toEqual(answers);
  const screenshot = process.env.WARMPATH_SCREENSHOTS;
  if (screenshot !== undefined) await page.screenshot({ path: join(screenshot, "chat-app.png") });
  expect(complaints).toEqual([]);
});

it("a turn is stopped while it is written, edited, sent again, and retried", async () => {
  const { page, complaints } = await opened();
  await page.evaluate(() => {
    // At the first word: the demo model writes faster than a test clicks.
    const watcher = new MutationObserver(() => {
      if ((document.querySelector(".answer")?.textContent ?? "") === "") return;
      watcher.disconnect();
      [...document.querySelectorAll("button")].find((button) => button.textContent === "Stop")?.click();
    });
    watcher.observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await page.getByRole("textbox").fill(ASKED);
  await page.getByRole("textbox").press("Enter");
  await page.getByRole("button", { name: "Send" }).waitFor();
  // It was cut: what it cost is only said at an answer's end.
  expect(await page.locator(".served").allInnerTexts()).toEqual([expect.not.stringContaining("cached")]);
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByRole("textbox", { name: "Edited message" }).fill("Something else.");
  await page.keyboard.press("Enter");
  await page.locator(".served", { hasText: "cached" }).waitFor();
  expect(await page.locator(".asked p").allInnerTexts()).toEqual(["Something else."]);
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await page.locator(".served", { hasText: "cached" }).waitFor();
  expect(await page.locator(".answer").count()).toBe(1);
  expect(complaints).toEqual([]);
});

it("conversations are listed, opened and deleted by the keyboard alone", async () => {
  const { page, complaints } = await opened();
  await turn(page, "The first one.");
  const press = async (name: string): Promise<void> => {
    const button = page.getByRole("button", { name, exact: true });
    for (let tabs = 0; tabs < 40 && !(await button.evaluate((element) => element === document.activeElement)); tabs++)
      await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
  };
  await press("New conversation");
  await page.locator(".answer").waitFor({ state: "detached" });
  await turn(page, "The second one.");
  await press("The first one.");
  await page.locator(".asked", { hasText: "The first one." }).waitFor();
  await press("Delete The second one.");
  await page.getByRole("button", { name: "The second one.", exact: true }).waitFor({ state: "detached" });
  expect(complaints).toEqual([]);
});

it("reasoning stands apart, HTML in an answer stays text, and an answer that was cut says so", async () => {
  const { page, complaints } = await opened();
  const text = "**Bold** <img src=x onerror=alert(1)> ![a picture](https://other.test/x.png) [link](javascript:alert(1))";
  // The demo model neither reasons nor writes HTML.
  const chunks = [
    { type: "start" },
    { type: "reasoning-start", id: "r" },
    { type: "reasoning-delta", id: "r", delta: "I think." },
    { type: "reasoning-end", id: "r" },
    { type: "text-start", id: "t" },
    { type: "text-delta", id: "t", delta: text },
    { type: "text-end", id: "t" },
    { type: "message-metadata", messageMetadata: { replica: "replica-1", wasCut: true } },
    { type: "finish" },
  ];
  const body = [...chunks.map((chunk) => JSON.stringify(chunk)), "[DONE]"].map((line) => `data: ${line}\n\n`).join("");
  await page.route("**/api/chat", (route) => route.fulfill({ contentType: "text/event-stream", body }));
  await page.getByRole("textbox").fill("Hello.");
  await page.getByRole("textbox").press("Enter");
  await page.getByRole("alert").getByText("This answer took too long").waitFor();
  // The whole answer came at once, and its time is known all the same.
  await page
    .locator(".served")
    .getByText(/^replica-1 · first token after \d/)
    .waitFor();
  const answer = page.locator(".answer");
  expect(await answer.getByText("I think.").isVisible()).toBe(false);
  await answer.getByText("Reasoning").click();
  expect(await answer.getByText("I think.").isVisible()).toBe(true);
  expect(await answer.locator("strong").allInnerTexts()).toEqual(["Bold"]);
  expect(await answer.locator("img").count()).toBe(0);
  expect(await answer.innerText()).toContain("<img src=x onerror=alert(1)>");
  expect(await answer.innerText()).toContain("a picture");
  expect(await answer.getByText("link").getAttribute("href")).not.toContain("javascript");
  expect(complaints).toEqual([]);
});

it("what it can't do it says in words, and the key is nowhere in the page", async () => {
  const { page } = await opened();
  const texts: string[] = [];
  page.on(
    "response",
    (response) =>
      void response.text().then(
        (text) => texts.push(text),
        () => undefined,
      ),
  );
  await page.reload();
  await page.getByLabel("Model").getByText(product.model).waitFor({ state: "attached" });
  await turn(page, "Hello.");
  expect([await page.content(), ...texts].join("")).not.toContain(product.apiKey);
  const asked = (body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${url}/api/chat`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });
  const message = { id: "1", role: "user", parts: [{ type: "text", text: "Hi." }] };
  expect((await asked({ id: "c", model: product.model, messages: [message] }, { origin: "https://other.test" })).status).toBe(403);
  expect((await asked({ id: "c", model: product.model, messages: [message] }, { origin: "null" })).status).toBe(403);
  expect((await asked({ id: "c", model: product.model, messages: [] })).status).toBe(400);
  expect(
    (await asked({ id: "c", model: product.model, messages: [{ ...message, parts: [{ type: "text", text: "x".repeat(600_000) }] }] }))
      .status,
  ).toBe(413);
  await page.route("**/api/chat", (route) =>
    route.continue({ postData: JSON.stringify({ id: "c", model: "none-such", messages: [message] }) }),
  );
  await page.getByRole("textbox").fill("Hello again.");
  await page.getByRole("textbox").press("Enter");
  await page.getByRole("alert").getByText("This model is not served any more.").waitFor();
});

it.each(["light", "dark"] as const)(
  "axe finds nothing, wide and at 400 px (%s), and nothing is wider than the screen",
  async (colorScheme) => {
    const { page, complaints } = await opened({ colorScheme });
    await turn(page, "Hello.");
    expect(await violations(page)).toEqual([]);
    await page.setViewportSize({ width: 400, height: 800 });
    expect(await violations(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(400);
    await page.getByRole("textbox").waitFor();
    expect(complaints).toEqual([]);
  },
);
