import { TrieRouter } from "hono/router/trie-router";
import { expect, it } from "vitest";
import { KeptRoutes } from "../../../workers/kept-routes.ts";

const ROUTES: [string, string][] = [
  ["ALL", "*"],
  ["ALL", "/v1/*"],
  ["POST", "/v1/responses"],
  ["POST", "/v1/responses/input_tokens"],
  ["GET", "/v1/responses/:id"],
  ["GET", "/v1/models"],
  ["GET", "/v1/models/:id{.+}"],
  ["ALL", "/v1/responses"],
];

it("its answers are hono's, the first and the second time", () => {
  const [kept, plain] = [new KeptRoutes<string>(), new TrieRouter<string>()];
  for (const [method, path] of ROUTES) for (const router of [kept, plain]) router.add(method, path, `${method} ${path}`);
  const paths = ["/v1/responses", "/v1/responses/input_tokens", "/v1/responses/resp_1", "/v1/models", "/v1/models/a/b", "/v1/none", "/"];
  for (const path of [...paths, ...paths]) {
    for (const method of ["GET", "POST", "DELETE", "BREW"]) expect(kept.match(method, path)).toEqual(plain.match(method, path));
  }
});

it("a route that is added later is found", () => {
  const router = new KeptRoutes<string>();
  router.add("POST", "/v1/messages", "one");
  expect(router.match("POST", "/v1/messages")[0]).toHaveLength(1);
  router.add("POST", "/v1/*", "two");
  expect(router.match("POST", "/v1/messages")[0]).toHaveLength(2);
});
