/** The page at `/` as a browser gets it: what it may load, and that programs still get JSON. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { createApp } from "../../workers/app.ts";

const app = createApp();
const CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

async function ask(path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Response> {
  const context = createExecutionContext();
  const answer = await app.fetch(new Request(`https://edge.test${path}`, { method, headers }), env, context);
  await waitOnExecutionContext(context);
  return answer;
}
const policyOf = (answer: Response): Map<string, string> =>
  new Map((answer.headers.get("content-security-policy") ?? "").split("; ").map((each) => [each.split(" ", 1)[0] ?? "", each]));

describe("the page at /", () => {
  it("is HTML for whoever accepts HTML, and JSON for all others, and caches keep them apart", async () => {
    const page = await ask("/", { accept: CHROME });
    expect([page.status, page.headers.get("content-type"), page.headers.get("vary")]).toEqual([200, "text/html; charset=utf-8", "accept"]);
    expect(await page.text()).toMatch(/^<!doctype html>/);
    for (const accept of [undefined, "*/*", "application/json", "text/html;q=0, */*"]) {
      const answer = await ask("/", accept === undefined ? {} : { accept });
      expect([accept, answer.headers.get("vary"), await answer.json()]).toEqual([
        accept,
        "accept",
        expect.objectContaining({ name: "warmpath" }),
      ]);
    }
  });

  it("may run and load what comes from here, and nothing inline", async () => {
    for (const path of ["/", "/console/page.js", "/console/page.css", "/console/icon.svg"]) {
      const answer = await ask(path, { accept: CHROME });
      const policy = policyOf(answer);
      expect(policy.get("default-src")).toBe("default-src 'none'");
      expect(policy.get("script-src")).toBe("script-src 'self'");
      expect(policy.get("style-src")).toBe("style-src 'self'");
      expect(policy.get("connect-src")).toBe("connect-src 'self'");
      expect(policy.get("frame-ancestors")).toBe("frame-ancestors 'none'");
      expect([...policy.values()].join("; ")).not.toMatch(/unsafe|https?:|\*|data:/);
      expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    }
    const html = await (await ask("/", { accept: CHROME })).text();
    expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|https?:/);
    expect(html.match(/<script[^>]*>[^<]*/g)).toEqual(['<script type="module" src="/console/page.js">']);
  });

  it("loads files that are there, of their types, and an unchanged one is not sent again", async () => {
    const html = await (await ask("/", { accept: CHROME })).text();
    const paths = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = ""]) => path);
    expect(paths.toSorted()).toEqual(["/console/icon.svg", "/console/page.css", "/console/page.js"]);
    const types = new Map([
      ["svg", "image/svg+xml"],
      ["css", "text/css; charset=utf-8"],
      ["js", "text/javascript; charset=utf-8"],
    ]);
    for (const path of paths) {
      const answer = await ask(path);
      expect([path, answer.status, answer.headers.get("content-type")]).toEqual([path, 200, types.get(path.split(".").at(-1) ?? "")]);
      const again = await ask(path, { "if-none-match": answer.headers.get("etag") ?? "" });
      expect([again.status, await again.text()]).toEqual([304, ""]);
    }
    expect((await ask("/console/other.js")).status).toBe(404);
    expect((await ask("/console/page.js", {}, "POST")).status).toBe(405);
  });

  it("is the same without a key and with any, and what it asks for needs one", async () => {
    const page = await (await ask("/", { accept: CHROME })).text();
    expect(await (await ask("/", { accept: CHROME, authorization: "Bearer anything" })).text()).toBe(page);
    for (const path of ["/v1/models", "/v1/replicas", "/v1/decisions?limit=8", "/v1/decisions/req_default_0"]) {
      expect([path, (await ask(path, { accept: CHROME })).status]).toEqual([path, 401]);
    }
  });
});
