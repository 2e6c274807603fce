/** The page at `/` in a real browser, on the product as a user starts it. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Started } from "../e2e/started.ts";
import { violations } from "./axe.ts";
import { openChromium, openTab } from "./chromium.ts";
import { ended, messageField, MODEL, numberIn, opened as openedOn, servedOf, startWithModel, turn, TURN_MS } from "./console-page.ts";

vi.setConfig({ testTimeout: 4 * TURN_MS });

let [product, browser]: [Started, Browser] = [undefined as never, undefined as never];
beforeAll(async () => {
  [product, browser] = await Promise.all([startWithModel(), openChromium()]);
});
afterAll(async () => {
  await Promise.all([browser?.close(), product?.stop()]);
});

const opened = (options?: Parameters<typeof openedOn>[2]) => openedOn(browser, product, options);

const ASKED = "Tell me about the sea. ".repeat(60);

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
  expect(second.get("API")).toMatch(/^Chat completions, ./);
  // What the pool does stands beside it.
  const pool = page.getByRole("complementary");
  for (const { name } of product.replicas) await pool.getByRole("strong").filter({ hasText: name }).first().waitFor();
  await pool
    .getByText(/^[\d,]+ of [\d,]+ tokens/)
    .first()
    .waitFor();
  await pool.getByText(/was chosen .* Predicted to the first token/).waitFor();
  expect(complaints).toEqual([]);
});

it("a conversation goes on through each API, and stays warm", async () => {
  const { page, complaints } = await opened();
  await turn(page, ASKED);
  for (const [api, path] of [
    ["Responses", "/v1/responses"],
    ["Messages", "/v1/messages"],
    ["Chat completions", "/v1/chat/completions"],
  ] as const) {
    const asked = page.waitForRequest((request) => request.method() === "POST");
    await page.getByRole("radio", { name: api }).check();
    const served = await turn(page, `And now through ${api}?`);
    expect(new URL((await asked).url()).pathname).toBe(path);
    expect(served.get("API")).toContain(api);
    expect([api, numberIn(served.get("cached")) > 0]).toEqual([api, true]);
  }
  expect(complaints).toEqual([]);
});

it("the conversation is there after a reload and goes on warm, and is forgotten with the key", async () => {
  const { page, complaints } = await opened();
  await page.getByRole("radio", { name: "Messages" }).check();
  const first = await turn(page, ASKED);
  await page.reload();
  const kept = page.locator(".turn");
  await kept.first().waitFor();
  expect([await kept.count(), await servedOf(kept.first())]).toEqual([1, first]);
  await page.getByRole("radio", { name: "Messages", checked: true }).waitFor();
  await page.getByRole("button", { name: "Send" }).and(page.locator(":enabled")).waitFor();
  expect(numberIn((await turn(page, "And the wind?")).get("cached"))).toBeGreaterThan(0);

  await page.getByRole("button", { name: "New conversation" }).click();
  expect(await kept.count()).toBe(0);
  await turn(page, "Hello");
  await page.getByRole("button", { name: "Forget the key" }).click();
  await page.getByRole("textbox", { name: "API key" }).waitFor();
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  expect(complaints).toEqual([]);
});

it("a full conversation takes no further turn, and says so", async () => {
  const { page } = await opened();
  await turn(page, "Hello");
  // As a hundred turns would have left it.
  await page.evaluate(() => {
    const turns = JSON.parse(sessionStorage.getItem("warmpath-conversation") ?? "[]") as object[];
    addEventListener("pagehide", () => {
      sessionStorage.setItem("warmpath-conversation", JSON.stringify(Array.from({ length: 100 }, () => turns[0])));
    });
  });
  await page.reload();
  await page.getByText("This conversation is full.").waitFor();
  expect(await page.locator(".turn").count()).toBe(100);
  expect(await page.getByRole("button", { name: "Send" }).isDisabled()).toBe(true);
  await page.getByRole("button", { name: "New conversation" }).click();
  await page.getByRole("button", { name: "Send" }).and(page.locator(":enabled")).waitFor();
});

it("the last decision is a picture, too: a bar for each replica, and when the first token came", async () => {
  const { page } = await opened();
  await turn(page, ASKED);
  const picture = page.getByRole("complementary").locator("figure").first();
  await picture.getByText("measured", { exact: true }).waitFor();
  const bars = await picture.getByRole("img").evaluateAll((found) => found.map((bar) => bar.getAttribute("aria-label") ?? ""));
  for (const { name } of product.replicas)
    expect(bars.filter((words) => words.startsWith(`${name} `) || words.startsWith(`${name}:`))).toHaveLength(1);
  expect(bars[0]).toMatch(/^\S+ \(chosen\): [\d.]+ m?s predicted; .*computes the prompt [\d.]+ m?s/);
  expect(bars.at(-1)).toMatch(/^measured: [\d.]+ m?s$/);
  await picture.getByText("computes the prompt").waitFor();
});

describe("what goes wrong is said in words", () => {
  it("a key that the edge does not know", async () => {
    const { page } = await openTab(browser, product.url);
    await page.goto(`${product.url}/#key=wp_nobody`);
    await page.getByRole("alert").getByText("The edge does not know this key.").waitFor();
    await page.getByRole("textbox", { name: "API key" }).fill(product.apiKey);
    await page.keyboard.press("Enter");
    await messageField(page).waitFor();
    expect(await page.getByRole("alert").count()).toBe(0);
  });

  it("a prompt that is too long, and the conversation goes on", async () => {
    const { page } = await opened();
    await messageField(page).fill("one two three four ".repeat(5_000));
    await messageField(page).press("Enter");
    await page
      .getByRole("alert")
      .getByText(/context/)
      .waitFor();
    expect((await turn(page, "Hello")).get("replica")).toMatch(/./);
  });

  it("an edge that cannot be reached, and a model that is not there yet", async () => {
    const { page } = await opened();
    await page.route("**/v1/chat/completions", (route) => route.abort());
    await messageField(page).fill("Hello");
    await messageField(page).press("Enter");
    await page.getByRole("alert").getByText("The connection to the edge broke off.").waitFor();

    const empty = JSON.stringify({ object: "list", data: [] });
    await page.route("**/v1/models", (route) => route.fulfill({ contentType: "application/json", body: empty }));
    await page.reload();
    await page.getByText("No model is ready yet.").waitFor();
    expect(await page.getByRole("button", { name: "Send" }).isDisabled()).toBe(true);
    await page.unroute("**/v1/models");
    await page.getByRole("button", { name: "Send" }).and(page.locator(":enabled")).waitFor();
  });
});

it.runIf(MODEL !== null && MODEL !== "tiny")("a model that speaks answers in English", async () => {
  const { page } = await opened();
  await turn(page, "What is the capital of France?");
  expect(await page.locator(".turn > div").first().innerText()).toMatch(/\b(?:Paris|is|the|of)\b/i);
});

it("the key leaves the address and stays for the tab; without one the page asks for it, and the edge for nothing", async () => {
  const { page, complaints } = await opened();
  expect(page.url()).toBe(`${product.url}/`);
  await page.reload();
  await messageField(page).waitFor();
  expect(complaints).toEqual([]);

  const other = await openTab(browser, product.url);
  const asked: string[] = [];
  other.page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await other.page.goto(product.url);
  await other.page.getByRole("textbox", { name: "API key" }).fill(product.apiKey);
  expect(asked.filter((path) => path !== "/" && !path.startsWith("/console/"))).toEqual([]);
  await other.page.keyboard.press("Enter");
  await messageField(other.page).waitFor();
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
  await messageField(page).fill(ASKED);
  await messageField(page).press("Enter");
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
  await messageField(page).fill("Hello");
  await messageField(page).press("Enter");
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

it("the keyboard alone is enough: two turns through two APIs, a stop, and a decision opened", async () => {
  const { page, complaints } = await opened();
  const focused = () =>
    page.evaluate(() => {
      const { activeElement } = document;
      return activeElement?.getAttribute("aria-label") ?? activeElement?.closest("label")?.textContent ?? activeElement?.textContent ?? "";
    });
  const tab = async (): Promise<string> => {
    await page.keyboard.press("Tab");
    return focused();
  };
  expect([await tab(), await tab()]).toEqual(["Forget the key", "Message"]);
  await page.keyboard.type("Tell me about the sea.");
  await page.keyboard.press("Enter");
  await ended(page.locator(".turn").nth(0));
  expect([await focused(), await tab()]).toEqual(["Message", "Chat completions"]);
  await page.keyboard.press("ArrowRight");
  expect([await focused(), await tab(), await tab()]).toEqual(["Responses", "Model", "Send"]);
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.type("And the wind?");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  // Send is disabled now, and the keyboard is back at the message.
  expect(await focused()).toBe("Message");
  expect((await ended(page.locator(".turn").nth(1))).get("API")).toMatch(/^Responses, /);

  await page.evaluate(() => {
    const watcher = new MutationObserver(() => {
      if ([...document.querySelectorAll(".turn > div")].at(-1)?.textContent === "") return;
      watcher.disconnect();
      const escape = new KeyboardEvent("keydown", { key: "Escape", bubbles: true });
      document.activeElement?.dispatchEvent(escape);
    });
    watcher.observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await page.keyboard.type("Go on.");
  await page.keyboard.press("Enter");
  await page.locator('.turn[data-state="stopped"]').waitFor();

  const summaries = page.locator("summary");
  while (!(await summaries.first().evaluate((summary) => summary === document.activeElement))) await page.keyboard.press("Tab");
  const isOpen = () =>
    page
      .locator("aside details")
      .first()
      .evaluate((details) => (details as HTMLDetailsElement).open);
  const before = await isOpen();
  await page.keyboard.press("Enter");
  expect(await isOpen()).toBe(!before);
  expect(complaints).toEqual([]);
});

it.each([
  ["light", 400],
  ["dark", 400],
  ["light", 1_280],
  ["dark", 1_280],
] as const)("in a %s scheme and a window of %d px nothing is wider, and axe finds nothing", async (colorScheme, width) => {
  const { page, complaints } = await opened({ colorScheme, viewport: { width, height: 800 } });
  await turn(page, `Write a very long word: ${"x".repeat(700)}`);
  await page.getByText("measured", { exact: true }).first().waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  expect(background).toBe(colorScheme === "dark" ? "rgb(23, 22, 20)" : "rgb(250, 249, 247)");
  expect(await violations(page)).toEqual([]);
  expect(complaints).toEqual([]);
});
