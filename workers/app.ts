import { Hono } from "hono";
import { EdgeView } from "../src/edge/edge-view.ts";
import { apiError } from "../src/errors.ts";
import { API_TABLE } from "../src/wire/api-table.ts";
import { about, consoleFile } from "./console/console.ts";
import { type AppEnv, errorResponse } from "./context.ts";
import { KeptRoutes } from "./kept-routes.ts";
import { likelyRoute } from "./likely-route.ts";
import { authenticate } from "./middleware/authenticate.ts";
import { crossOrigin } from "./middleware/cross-origin.ts";
import { metricsReader } from "./middleware/metrics-reader.ts";
import { requestIds } from "./middleware/request-ids.ts";
import { requestLog } from "./middleware/request-log.ts";
import { openapi } from "./openapi.ts";
import { announce } from "./routes/announce.ts";
import { completions } from "./routes/completions.ts";
import { decisionList, decisions } from "./routes/decisions.ts";
import { health, metrics } from "./routes/health.ts";
import { inference } from "./routes/inference.ts";
import { model, models } from "./routes/models.ts";
import { replicas } from "./routes/replicas.ts";
import { cancelResponse, deleteResponse, getResponse, inputItems } from "./routes/responses.ts";
import { results } from "./routes/results.ts";

const BASE_URLS = "The base URL of OpenAI clients ends in /v1, that of Anthropic clients does not.";

/** The table of contents: middleware in its order, then the routes. `edge`: what this isolate knows of its pools. */
export function createApp(edge = new EdgeView()): Hono<AppEnv> {
  // A slash at a path's end is taken: some clients add one.
  const app = new Hono<AppEnv>({ strict: false, router: new KeptRoutes() });

  app.use((c, next) => {
    c.set("edge", edge);
    return next();
  });
  app.use(requestLog());
  app.use(requestIds());
  app.use(crossOrigin());

  app.get("/", about);
  app.get("/console/:file", consoleFile);
  app.get("/openapi.json", openapi);
  app.get("/healthz", health);
  app.get("/health", health);
  app.get("/metrics", metricsReader(), metrics);
  app.get("/announce/:pool", announce);
  app.put("/internal/results/:id", results);

  app.use("/v1/*", authenticate());
  for (const { path, api } of API_TABLE) app.post(path, api === "completions" ? completions : inference);
  app.get("/v1/responses/:id", getResponse);
  app.delete("/v1/responses/:id", deleteResponse);
  app.get("/v1/responses/:id/input_items", inputItems);
  app.post("/v1/responses/:id/cancel", cancelResponse);
  app.get("/v1/models", models);
  app.get("/v1/models/:id{.+}", model);
  app.get("/v1/replicas", replicas);
  app.get("/v1/decisions", decisionList);
  app.get("/v1/decisions/:id", decisions);

  refuseOtherMethods(app);
  app.notFound((c) => {
    const { method, path } = c.req;
    const likely = likelyRoute(app.routes, method, path);
    const hint = likely === null ? "" : ` Did you mean ${likely}? ${BASE_URLS}`;
    return errorResponse(c, apiError("not_found", `There is no ${method} ${path.slice(0, 256)}.${hint}`));
  });
  app.onError((error, c) => {
    console.error("unexpected:", error instanceof Error ? error.stack : "no error object");
    const message = "Something failed on our side. Try again; if it persists, tell the operator the request id.";
    return errorResponse(c, apiError("internal", message));
  });
  return app;
}

/** Behind all routes: whoever comes to a path that has some, with another method, is told which. */
function refuseOtherMethods(app: Hono<AppEnv>): void {
  const methods = new Map<string, string[]>();
  for (const { path, method } of app.routes) {
    if (method !== "ALL") methods.set(path, [...(methods.get(path) ?? []), ...(method === "GET" ? ["GET", "HEAD"] : [method])]);
  }
  for (const [path, allowed] of methods) {
    const allow = allowed.join(", ");
    app.all(path, (c) =>
      errorResponse(c, apiError("method_not_allowed", `${c.req.method} is not possible here; use ${allow}.`), { allow }),
    );
  }
}
