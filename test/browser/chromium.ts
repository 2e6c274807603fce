/** A Chromium of this machine, and what its pages complain of. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

/** `WARMPATH_CHROMIUM`, or the first of its usual names on the PATH. */
function executable(): string {
  const paths = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  const found = [process.env.WARMPATH_CHROMIUM ?? "", ...paths].find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return path !== "";
    } catch {
      return false;
    }
  });
  if (found === undefined) throw new Error(`There is no ${NAMES.join(", ")} on the PATH; name one with WARMPATH_CHROMIUM.`);
  return found;
}

export const openChromium = (): Promise<Browser> => chromium.launch({ executablePath: executable() });

export interface Tab {
  page: Page;
  /** Errors on its console, uncaught ones, requests to elsewhere, and what its policy blocked. */
  complaints: string[];
}

export async function openTab(browser: Browser, origin: string, options: BrowserContextOptions = {}): Promise<Tab> {
  const page = await (await browser.newContext(options)).newPage();
  const complaints: string[] = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => !request.url().startsWith(origin) && complaints.push(`request to ${request.url()}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      console.error(`policy: ${violatedDirective} blocked ${blockedURI}`),
    );
  });
  return { page, complaints };
}
