/**
 * The demo model's chat template: ChatML, in Jinja. System message first, then the tools, then the rest, so that requests of one
 * application share the longest prefix. Content may be a string, null or a list of parts; parts that are no text show as "[type]".
 */
export const chatMlTemplate = `{%- macro text(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content is iterable -%}
{%- for part in content -%}{%- if part.type == 'text' -%}{{ part.text }}{%- else -%}[{{ part.type }}]{%- endif -%}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set opening = messages | length > 0 and (messages[0].role == 'system' or messages[0].role == 'developer') -%}
{%- if opening or tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if opening -%}{{- text(messages[0].content) -}}{%- endif -%}
{%- if tools -%}
{%- if opening -%}{{- '\\n\\n' -}}{%- endif -%}
{{- '# Tools\\n' -}}
{%- for tool in tools -%}{{- tool | tojson -}}{{- '\\n' -}}{%- endfor -%}
{{- 'To call one, reply with <tool_call>{"name": ..., "arguments": ...}</tool_call>' -}}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if not (loop.first and opening) -%}
{{- '<|im_start|>' + ('system' if message.role == 'developer' else message.role) + '\\n' -}}
{{- text(message.content) -}}
{%- if message.tool_calls -%}
{%- for call in message.tool_calls -%}
{{- '<tool_call>{"name": ' -}}{{- call.function.name | tojson -}}{{- ', "arguments": ' -}}
{%- if call.function.arguments is string -%}{{- call.function.arguments -}}{%- else -%}{{- call.function.arguments | tojson -}}{%- endif -%}
{{- '}</tool_call>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}`;
