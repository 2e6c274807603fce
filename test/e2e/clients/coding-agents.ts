/**
 * Requests in the shape in which Claude Code 2.1.197 and Codex 0.169.0 send them (facts measured against a capture server), with words of our own.
 * Claude Code's own body is 76 kB, Codex's 40 kB. These have all their parts but fewer words, 10 kB (4,700 tokens of the demo model) and
 * 10 kB: a processor computes more of them in seconds only.
 */
export interface AgentRequest {
  path: string;
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

const RULES = [
  "Read a file before you change it, and change no more than was asked for.",
  "Run the tests after each change and say plainly what failed.",
  "Never write secrets into a file, a commit or an answer.",
  "Prefer small steps; when two ways are open, take the simpler one.",
];

function prose(topic: string, bytes: number): string {
  let text = "";
  for (let at = 0; text.length < bytes; at += 1) text += `${topic}, ${at}: ${RULES[at % RULES.length] ?? ""} `;
  return text.slice(0, bytes);
}

const parametersOf = (name: string) => ({
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  properties: {
    path: { type: "string", description: `The path that ${name} works on` },
    limit: { type: "integer", minimum: 0, description: "How much at most" },
    mode: { type: "string", enum: ["fast", "careful"], default: "careful" },
  },
  required: ["path"],
  additionalProperties: false,
});

const CLAUDE_TOOLS = Array.from({ length: 12 }, (_, at) => `Tool${at}`);

/** `edit`: the hex digits that differ with every conversation. */
export function claudeCode(model: string, session: string, edit: string, question: string, maxTokens: number): AgentRequest {
  const ephemeral = { type: "ephemeral", ttl: "1h" };
  return {
    path: "/v1/messages?beta=true",
    headers: {
      "anthropic-version": "2023-06-01",
      "anthropic-beta":
        "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,prompt-caching-scope-2026-01-05,mid-conversation-system-2026-04-07,effort-2025-11-24",
      "anthropic-dangerous-direct-browser-access": "true",
      "user-agent": "claude-cli/2.1.197 (external, cli)",
      "x-app": "cli",
      "x-claude-code-session-id": session,
      "x-stainless-lang": "js",
      "x-stainless-retry-count": "0",
      "x-stainless-timeout": "600",
      "accept-encoding": "gzip, deflate, br, zstd",
    },
    body: {
      model,
      max_tokens: maxTokens,
      stream: true,
      thinking: { type: "adaptive" },
      output_config: { effort: "medium" },
      context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
      metadata: { user_id: JSON.stringify({ device_id: "0".repeat(64), account_uuid: "", session_id: session }) },
      tools: CLAUDE_TOOLS.map((name) => ({ name, description: prose(`Of ${name}`, 120), input_schema: parametersOf(name) })),
      system: [
        { type: "text", text: `x-anthropic-billing-header: cc_version=2.1.197.${edit}; cc_entrypoint=cli; cch=00000;` },
        { type: "text", text: "You are an agent that helps with software in a terminal.", cache_control: ephemeral },
        { type: "text", text: prose("On your work", 3_000), cache_control: ephemeral },
      ],
      messages: [
        { role: "user", content: [{ type: "text", text: "<system-reminder>Today is 2026-11-25.</system-reminder>" }] },
        { role: "system", content: "The tools may change while you work." },
        { role: "user", content: [{ type: "text", text: question, cache_control: { type: "ephemeral" } }] },
      ],
    },
  };
}

export function codex(model: string, session: string, question: string, maxTokens: number): AgentRequest {
  const functionTool = (name: string) => ({
    type: "function",
    name,
    description: prose(`Of ${name}`, 300),
    strict: false,
    parameters: parametersOf(name),
  });
  const message = (role: string, at: number, text: string) => ({
    type: "message",
    id: `msg_${session}_${at}`,
    role,
    content: [{ type: "input_text", text }],
  });
  return {
    path: "/v1/responses",
    headers: {
      "user-agent": "codex_cli_rs/0.169.0",
      accept: "text/event-stream",
      originator: "codex_cli_rs",
      "session-id": session,
      "thread-id": session,
      "x-client-request-id": session,
      "x-codex-window-id": `${session}:0`,
      "x-codex-turn-metadata": JSON.stringify({ turn_id: session, sandbox: "none" }),
    },
    body: {
      model,
      instructions: prose("On your work in a terminal", 4_000),
      input: [
        message("developer", 0, prose("On what you may do", 1_000)),
        message("user", 1, "<environment_context>\n  <cwd>/work</cwd>\n</environment_context>"),
        message("user", 2, question),
      ],
      tools: [
        ...["shell", "apply_patch", "update_plan", "view"].map(functionTool),
        { type: "namespace", name: "agents", description: "Other agents", tools: ["spawn", "wait"].map(functionTool) },
        { type: "web_search", external_web_access: false },
      ],
      tool_choice: "auto",
      parallel_tool_calls: true,
      reasoning: { effort: "medium", summary: "auto" },
      store: false,
      stream: true,
      include: ["reasoning.encrypted_content"],
      prompt_cache_key: session,
      client_metadata: { "x-codex-installation-id": "0".repeat(32) },
      text: { verbosity: "medium" },
      max_output_tokens: maxTokens,
    },
  };
}
