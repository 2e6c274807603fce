import { expect, test } from "vitest";
import { apiError, type ErrorCode, ERRORS } from "../../../src/errors.ts";
import { refuse } from "../../../src/wire/check.ts";
import { anthropicStatus, apiOfPath, errorBody, errorOfBody, errorStatus, retryHeaders } from "../../../src/wire/envelope.ts";
import { openaiErrorBody } from "../../../src/wire/openai.ts";
import { sessionOf } from "../../../src/wire/session.ts";

test.each<[ErrorCode, string, number]>([
  ["invalid_request", "invalid_request_error", 400],
  ["context_length_exceeded", "invalid_request_error", 400],
  ["invalid_api_key", "authentication_error", 401],
  ["invalid_admission", "permission_error", 403],
  ["quota_exceeded", "permission_error", 403],
  ["model_not_found", "not_found_error", 404],
  ["not_found", "not_found_error", 404],
  ["method_not_allowed", "invalid_request_error", 405],
  ["request_too_large", "request_too_large", 413],
  ["rate_limit_exceeded", "rate_limit_error", 429],
  ["budget_exceeded", "billing_error", 402],
  ["internal", "api_error", 500],
  ["replica_lost", "api_error", 502],
  ["overloaded", "overloaded_error", 529],
  ["storage_full", "api_error", 503],
])("%s is Anthropic's %s, %i", (code, type, status) => {
  const error = apiError(code, "what", "messages[0]");
  for (const api of ["messages", "anthropic-models"] as const) {
    expect(errorBody(api, error, "req_1")).toEqual({ type: "error", error: { type, message: "what" }, request_id: "req_1" });
    expect(errorStatus(api, error)).toBe(status);
  }
  expect(anthropicStatus(error)).toBe(status);
  for (const api of ["chat", "completions", "responses"] as const) {
    expect(errorBody(api, error, "req_1")).toEqual(openaiErrorBody(error));
    expect(errorStatus(api, error)).toBe(error.status);
  }
});

test.each<[ErrorCode, string, string | null, number]>([
  ["invalid_request", "invalid_request_error", null, 400],
  ["invalid_api_key", "invalid_request_error", "invalid_api_key", 401],
  ["quota_exceeded", "invalid_request_error", "quota_exceeded", 403],
  ["method_not_allowed", "invalid_request_error", "method_not_supported", 405],
  ["epoch_replaced", "invalid_request_error", "epoch_replaced", 409],
  ["rate_limit_exceeded", "rate_limit_error", "rate_limit_exceeded", 429],
  ["budget_exceeded", "insufficient_quota", "insufficient_quota", 429],
  ["internal", "server_error", null, 500],
  ["overloaded", "server_error", "overloaded", 503],
  ["storage_full", "server_error", "storage_full", 503],
])("%s is OpenAI's %s with code %s, %i", (code, type, shown, status) => {
  const error = apiError(code, "what", "messages[0]");
  expect(errorBody("chat", error, "req_1")).toEqual({ error: { message: "what", type, param: "messages[0]", code: shown } });
  expect(errorStatus("chat", error)).toBe(status);
});

test("a client is told when to send it again, and not to where that cannot help", () => {
  const headers = (code: ErrorCode, retryAfterSeconds?: number): Record<string, string> =>
    retryHeaders({ ...apiError(code, "what"), ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) });
  expect(headers("rate_limit_exceeded", 7)).toEqual({ "retry-after": "7" });
  expect(headers("overloaded", 1)).toEqual({ "retry-after": "1" });
  expect(headers("overloaded")).toEqual({});
  expect(headers("invalid_request")).toEqual({});
  for (const code of ["budget_exceeded", "quota_exceeded"] as const) expect(headers(code, 7)).toEqual({ "x-should-retry": "false" });
});

test("who is to blame for an error and its status say the same", () => {
  for (const { status, fault } of Object.values(ERRORS)) expect(fault === "server").toBe(status >= 500);
});

test("429 is a rate limit, whatever its code", () => {
  expect(errorBody("messages", { ...apiError("invalid_request", "slow down"), status: 429 }, "r")).toMatchObject({
    error: { type: "rate_limit_error" },
  });
});

test("paths", () => {
  const paths = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/models", "/v1/messages/", ""];
  expect(paths.map(apiOfPath)).toEqual(["chat", "completions", "responses", "messages", null, null, null]);
});

test("the strongest hint binds a conversation", () => {
  const body: Record<string, unknown> = {
    prompt_cache_key: "key",
    previous_response_id: "resp_1",
    metadata: { user_id: '{"session_id":"meta"}' },
    user: "user",
  };
  const headers: Record<string, string> = {
    "x-claude-code-session-id": "claude",
    "session-id": "codex",
    session_id: "older",
    "thread-id": "thread",
    "x-session-id": "x",
    "x-session-affinity": "affinity",
  };
  const seen: (string | null)[] = [];
  const now = (): number => seen.push(sessionOf(body, (name) => headers[name]));
  for (const field of ["prompt_cache_key", "previous_response_id"]) {
    now();
    delete body[field];
  }
  for (const name of Object.keys(headers)) {
    now();
    delete headers[name];
  }
  now();
  delete body["metadata"];
  now();
  delete body["user"];
  now();
  expect(seen).toEqual(["key", "resp_1", "claude", "codex", "older", "thread", "x", "affinity", "meta", "user", null]);
});

test.each<[unknown, string | null]>([
  [{ user: "a".repeat(500) }, "a".repeat(128)],
  [{ user: "  " }, null],
  [{ user: 5, prompt_cache_key: {} }, null],
  [{ metadata: { user_id: "user_ab_account__session_0-1" } }, "0-1"],
  [{ metadata: { user_id: "plain" } }, "plain"],
  [{ metadata: { user_id: "{broken" } }, "{broken"],
  [{ metadata: { user_id: "x".repeat(5_000) } }, null],
  [null, null],
  ["x", null],
])("session of %j", (body, session) => {
  expect(sessionOf(body)).toBe(session);
});

test("an error that a replica said in its envelope keeps its code and its field", () => {
  for (const error of [
    apiError("invalid_request", "`tools[0]` can't be followed.", "tools[0]"),
    apiError("context_length_exceeded", "Too long.", "messages"),
  ])
    expect(errorOfBody(errorBody("chat", error, "req_1"))).toEqual(error);
  expect(errorOfBody(errorBody("messages", apiError("invalid_request", "No.", "x"), "req_1"))).toMatchObject({
    message: "No.",
    param: null,
  });
  for (const body of [null, "x", {}, { error: "x" }]) expect(errorOfBody(body)).toMatchObject({ code: "invalid_request", param: null });
});

test("whatever a caller wrote, an error's message and path are short, and end with a whole character", () => {
  const long = "\u{1F642}".repeat(100_000);
  const { message, param } = refuse(`response_format.${long}`, `is ${long}.`);
  expect(message.length).toBeLessThanOrEqual(800);
  expect(param?.length).toBeLessThanOrEqual(200);
  // What is wrong is still said behind the path.
  expect(message).toMatch(/^`response_format\.[^`]*…` is .*…$/u);
  for (const text of [message, param ?? ""]) expect(Buffer.from(text).toString()).toBe(text);
  expect(refuse("model", "must be a string.")).toMatchObject({ message: "`model` must be a string.", param: "model" });
});
