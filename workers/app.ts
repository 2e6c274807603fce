import { Hono } from "hono";
import { apiError } from "../src/errors.ts";
import { type AppEnv, errorResponse } from "./context.ts";
import { authenticate } from "./middleware/authenticate.ts";
import { requestIds } from "./middleware/request-ids.ts";
import { announce } from "./routes/announce.ts";
import { chatCompletions } from "./routes/chat-completions.ts";
import { decisions } from "./routes/decisions.ts";
import { health, metrics } from "./routes/health.ts";
import { model, models } from "./routes/models.ts";

/** The table of contents: middleware in its order, then the routes. */
export function createApp(): Hono<AppEnv> {
  const app = new Hono<AppEnv>();

  app.use(requestIds());

  app.get("/healthz", health);
  app.get("/metrics", metrics);
  app.get("/announce/:pool", announce);

  app.use("/v1/*", authenticate());
  app.post("/v1/chat/completions", chatCompletions);
  app.get("/v1/models", models);
  app.get("/v1/models/:id{.+}", model);
  app.get("/v1/decisions/:id", decisions);

  app.all("/v1/chat/completions", (c) =>
    errorResponse(apiError("method_not_allowed", `${c.req.method} is not possible here; use POST.`), { allow: "POST" }),
  );
  app.notFound((c) => errorResponse(apiError("not_found", `There is no ${c.req.method} ${c.req.path}.`)));
  app.onError((error) => {
    console.error("unexpected:", error instanceof Error ? error.stack : "no error object");
    return errorResponse(
      apiError("internal", "Something failed on our side. Try again; if it persists, tell the operator the request id."),
    );
  });
  return app;
}
