/** Where a replica hands a result up. It has no key of the tenant's: the ticket that came with the request is its whole right. */
import type { Handler } from "hono";
import { z } from "zod";
import { type ApiError, apiError } from "../../src/errors.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { type AppEnv, errorResponse } from "../context.ts";
import { readJson } from "../read-json.ts";
import { storedResponse, tenantOfTicket } from "../stored-response.ts";

const MOST_RESULT_BYTES = 4 * 1024 * 1024;

const Result = z.object({
  response: z.record(z.string(), z.unknown()),
  inputItems: z.array(z.record(z.string(), z.unknown())),
  messages: z.array(z.record(z.string(), z.unknown())),
});

const refused = (): ApiError => apiError("invalid_admission", "This result ticket is not one for this response.");

export const results: Handler<AppEnv, "/internal/results/:id"> = async (c) => {
  const ticket = c.req.header(HEADER.resultTicket) ?? "";
  const id = c.req.param("id");
  const tenant = tenantOfTicket(c.env, ticket, id);
  const object = tenant === null ? null : storedResponse(c.env, tenant, id);
  if (object === null) return errorResponse(c, refused());
  const read = await readJson(c.req.raw, MOST_RESULT_BYTES);
  if ("code" in read) return errorResponse(c, read);
  const parsed = Result.safeParse(read.value);
  if (!parsed.success) return errorResponse(c, apiError("invalid_request", "A result is {response, inputItems, messages}."));
  const { response, inputItems, messages } = parsed.data;
  const stored = await object.store({
    response: JSON.stringify(response),
    inputItems: JSON.stringify(inputItems),
    messages: JSON.stringify(messages),
  });
  if (typeof stored === "object") return errorResponse(c, stored);
  return stored === "deleted" ? errorResponse(c, refused()) : c.body(null, 204);
};
