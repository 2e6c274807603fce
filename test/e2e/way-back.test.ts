/** A replica that its edge can't reach is no replica: nobody's request is tried there, and it says why. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ROOT } from "../../cli/bundle.ts";
import { loadSecrets } from "../../cli/secrets.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { metric, type Started, startProduct, until } from "./started.ts";

let product: Started;
beforeAll(async () => {
  product = await startProduct({ replicas: 1 });
});
afterAll(() => product.stop());

/** The README's own line, with a URL that leads elsewhere. */
async function attach(name: string, url: string): Promise<{ stderr: () => string; stop: () => void }> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "gpu-backend/main.ts"], {
    cwd: ROOT,
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      ...process.env,
      WARMPATH_JOIN: `${product.url.replace("http:", "ws:")}/announce/default`,
      WARMPATH_JOIN_TOKEN: loadSecrets(product.stateDirectory).joinToken("default", name),
      WARMPATH_REPLICA: name,
      WARMPATH_URL: url,
      WARMPATH_MODEL: await ensureDemoModel(join(ROOT, "node_modules/.cache/warmpath-test")),
    },
  });
  let said = "";
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  return { stderr: () => said, stop: () => void child.kill("SIGKILL") };
}

it("says why, is not counted, and costs no request a second attempt", async () => {
  // The edge itself, a name that nobody has, and a port where nobody listens.
  const urls = [product.url, "http://gpu-1.invalid", "http://127.0.0.1:9"];
  const lost = await Promise.all(urls.map((url, n) => attach(`lost-${n}`, url)));
  try {
    for (const [n, { stderr }] of lost.entries()) {
      await until("it says why", () => stderr().includes("has no way back"), 60_000);
      expect(stderr()).toContain(`lost-${n} has no way back: The pool can't reach it at ${urls[n]}: `);
    }
    expect(await metric(product, "warmpath_replicas_ready")).toBe(1);
    expect(await metric(product, "warmpath_replicas_joining")).toBe(3);
    for (let n = 0; n < 6; n++) {
      const body = JSON.stringify({ model: product.model, max_tokens: 1, messages: [{ role: "user", content: `Hello ${n}` }] });
      const answer = await fetch(`${product.url}/v1/chat/completions`, { method: "POST", headers: product.headers, body });
      await answer.text();
      expect([answer.status, answer.headers.get("x-warmpath-replica"), answer.headers.get("x-warmpath-attempts")]).toEqual([
        200,
        "replica-1",
        "1",
      ]);
    }
  } finally {
    for (const { stop } of lost) stop();
  }
});
