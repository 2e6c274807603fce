/** Chat templates in the styles that models ship, small. */
import type { ChatPrompt } from "../../src/prefix/prompt.ts";
import { ChatTemplate } from "../../gpu-backend/template.ts";

/** Qwen's way: tools stand in the system message, after its text. */
export const SYSTEM_THEN_TOOLS = `
{%- if messages[0].role == 'system' or tools %}
  {{- '<|im_start|>system\\n' }}
  {%- if messages[0].role == 'system' %}{{- messages[0].content }}{%- endif %}
  {%- if tools %}
    {{- '\\n\\n# Tools\\n<tools>' }}
    {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
    {{- '\\n</tools>' }}
  {%- endif %}
  {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
  {%- if not (loop.first and message.role == 'system') %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content %}{{- message.content }}{%- endif %}
    {%- for call in message.tool_calls or [] %}
      {{- '<tool_call>' + call.function.name + ' ' + call.function.arguments + '</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

/** Parts as well as strings; tools before all. */
export const TOOLS_FIRST = `{{- bos_token }}
{%- if tools %}{{- '[TOOLS]' }}{%- for tool in tools %}{{- tool.function | tojson }}{%- endfor %}{{- '[/TOOLS]' }}{%- endif %}
{%- for message in messages %}
  {{- '<' + message.role + '>' }}
  {%- if message.content is string %}{{- message.content }}
  {%- else %}
    {%- for part in message.content %}
      {%- if part.type == 'text' %}{{- part.text }}{%- else %}{{- '<image>' }}{%- endif %}
    {%- endfor %}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<assistant>' }}{%- endif %}`;

/** Mistral's way with tools; trims, and takes no system message. */
export const TOOLS_IN_LAST_USER = `
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
  {%- if message.role == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}
  {%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- if tools and loop.index0 == ns.last %}
    {{- '[AVAILABLE_TOOLS]' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{{- '[/AVAILABLE_TOOLS]' }}
  {%- endif %}
  {{- '<' + message.role + '>\\n' + message.content | trim + '<end>\\n' }}
{%- endfor %}`;

/** Llama 3.2's way: the date stands in front. */
export const WITH_DATE = `{{- 'Today is ' + strftime_now('%d %b %Y') + '\\n' }}${TOOLS_FIRST}`;

/** Mistral's way with the system message: it moves into the last user message. */
export const REORDERING = `
{%- for message in messages %}
  {%- if message.role != 'system' %}
    {{- '[' + message.role + ']' }}
    {%- if loop.last and messages[0].role == 'system' %}{{- messages[0].content + '\\n' }}{%- endif %}
    {{- message.content }}
  {%- endif %}
{%- endfor %}`;

/** Says the number of messages in front: every message changes earlier text. */
export const COUNTING = `{{- messages | length }}{{- '\\n' }}${TOOLS_FIRST}`;

/** Shows each message twice. */
export const REPEATING = `{%- for message in messages %}{{- message.content + message.content }}{%- endfor %}`;

/** Reads the first characters of a text, as Qwen3 does with tool results. */
export const PEEKING = `{%- for message in messages %}
{{- '<' + message.role + '>' }}{{- 'J' if message.content.startswith('{') else 'T' }}{{- message.content }}{%- endfor %}`;

export function templateOf(source: string): ChatTemplate {
  const template = ChatTemplate.parse(source, { bos_token: "<s>" });
  if (template instanceof ChatTemplate) return template;
  throw new Error(template.message);
}

export function render(template: ChatTemplate, prompt: ChatPrompt, addGenerationPrompt = true): string {
  const rendered = template.render(prompt, addGenerationPrompt);
  if (rendered.ok) return rendered.text;
  throw new Error(rendered.message);
}
