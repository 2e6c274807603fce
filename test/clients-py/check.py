"""Drives a started Warmpath with the official Python SDKs and holds every answer against the vendors' documents.

Environment: WARMPATH_URL, WARMPATH_KEY, WARMPATH_MODEL. Prints one JSON object: {"checks": [{"name", "problems": [...]}, ...]}.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable

import anthropic
import openai
from prometheus_client.parser import text_string_to_metric_families

from vendor_schemas import problems

URL, KEY, MODEL = (os.environ[name] for name in ("WARMPATH_URL", "WARMPATH_KEY", "WARMPATH_MODEL"))
TOOL = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"], "additionalProperties": False}
HELLO = [{"role": "user", "content": "Hello, who is there?"}]

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
claude = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
checks: list[tuple[str, Callable[[], list[str]]]] = []


def check(function: Callable[[], list[str]]) -> Callable[[], list[str]]:
    checks.append((function.__name__, function))
    return function


def post(path: str, body: dict, headers: dict[str, str] | None = None) -> tuple[int, str]:
    request = urllib.request.Request(
        URL + path, json.dumps(body).encode(), {"authorization": f"Bearer {KEY}", "content-type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def events(text: str) -> list[dict]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@check
def chat_unary() -> list[str]:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=16, logprobs=True, top_logprobs=2)
    raw = json.loads(post("/v1/chat/completions", {"model": MODEL, "messages": HELLO, "max_tokens": 16, "logprobs": True, "top_logprobs": 2})[1])
    return problems("openai", "CreateChatCompletionResponse", raw) + ([] if answer.choices[0].message.content is not None else ["no content"])


@check
def chat_stream() -> list[str]:
    text = post("/v1/chat/completions", {"model": MODEL, "messages": HELLO, "max_tokens": 16, "stream": True, "stream_options": {"include_usage": True}})[1]
    found = [problem for event in events(text) for problem in problems("openai", "CreateChatCompletionStreamResponse", event)]
    chunks = list(client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=16, stream=True))
    return found[:3] + ([] if chunks[-1].choices[0].finish_reason else ["no finish reason"])


@check
def chat_tools_required() -> list[str]:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL, "strict": True}}]
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, tools=tools, tool_choice="required", max_tokens=200)
    calls = answer.choices[0].message.tool_calls or []
    return [] if calls and "city" in json.loads(calls[0].function.arguments) else [f"no valid call: {answer.choices[0]}"]


@check
def chat_json_schema() -> list[str]:
    schema = {"type": "json_schema", "json_schema": {"name": "place", "schema": TOOL, "strict": True}}
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, response_format=schema, max_tokens=200)
    return [] if "city" in json.loads(answer.choices[0].message.content or "") else ["not the schema's object"]


@check
def completions_unary() -> list[str]:
    client.completions.create(model=MODEL, prompt="Once", max_tokens=8)
    return problems("openai", "CreateCompletionResponse", json.loads(post("/v1/completions", {"model": MODEL, "prompt": "Once", "max_tokens": 8})[1]))


@check
def responses_unary() -> list[str]:
    first = client.responses.create(model=MODEL, input="Hello, who is there?", max_output_tokens=16)
    then = client.responses.create(model=MODEL, input="And then?", previous_response_id=first.id, max_output_tokens=16)
    raw = json.loads(post("/v1/responses", {"model": MODEL, "input": "Hello", "max_output_tokens": 16})[1])
    kept = client.responses.retrieve(first.id)
    items = client.responses.input_items.list(first.id)
    client.responses.delete(first.id)
    found = problems("openai", "Response", raw)
    return found + ([] if kept.id == first.id and len(items.data) == 1 and then.previous_response_id == first.id else ["not kept"])


@check
def responses_stream() -> list[str]:
    text = post("/v1/responses", {"model": MODEL, "input": "Hello", "max_output_tokens": 16, "stream": True})[1]
    found = [problem for event in events(text) for problem in problems("openai", "ResponseStreamEvent", event)]
    with client.responses.stream(model=MODEL, input="Hello", max_output_tokens=16) as stream:
        kinds = [event.type for event in stream]
    return found[:3] + ([] if kinds[-1] in ("response.completed", "response.incomplete") else [f"ends with {kinds[-1]}"])


@check
def models() -> list[str]:
    listed = client.models.list()
    return [] if any(model.id == MODEL for model in listed.data) and any(model.id == MODEL for model in claude.models.list().data) else ["model not listed"]


@check
def messages_unary() -> list[str]:
    claude.messages.create(model=MODEL, messages=HELLO, max_tokens=16)
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 16}
    return problems("anthropic", "Message", json.loads(post("/v1/messages", body, {"anthropic-version": "2023-06-01"})[1]))


@check
def messages_stream() -> list[str]:
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 16, "stream": True}
    text = post("/v1/messages", body, {"anthropic-version": "2023-06-01"})[1]
    found = [problem for event in events(text) if event["type"] != "ping" for problem in problems("anthropic", "MessageStreamEvent", event)]
    with claude.messages.stream(model=MODEL, messages=HELLO, max_tokens=16) as stream:
        final = stream.get_final_message()
    return found[:3] + ([] if final.stop_reason else ["no stop reason"])


@check
def messages_tools() -> list[str]:
    tools = [{"name": "weather", "input_schema": TOOL}]
    answer = claude.messages.create(model=MODEL, messages=HELLO, max_tokens=200, tools=tools, tool_choice={"type": "any"})
    return [] if any(block.type == "tool_use" and "city" in block.input for block in answer.content) else ["no tool use"]


@check
def count_tokens() -> list[str]:
    return [] if claude.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens > 0 else ["no count"]


@check
def metrics() -> list[str]:
    """The page of several pools, by Prometheus's own client library."""
    with urllib.request.urlopen(urllib.request.Request(f"{URL}/metrics", headers={"authorization": f"Bearer {KEY}"}), timeout=60) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    names = [family.name for family in families]
    found = [f"family {name} stands twice" for name in set(names) if names.count(name) > 1]
    return found + [f"{sample.name} has no pool" for family in families for sample in family.samples if "pool" not in sample.labels][:3]


@check
def errors() -> list[str]:
    found: list[str] = []
    try:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
        found.append("an unknown model was served (OpenAI)")
    except openai.NotFoundError:
        pass
    try:
        claude.messages.create(model="no-such-model", messages=HELLO, max_tokens=4)
        found.append("an unknown model was served (Anthropic)")
    except anthropic.NotFoundError:
        pass
    status, text = post("/v1/chat/completions", {"model": MODEL, "messages": []})
    found += problems("openai", "ErrorResponse", json.loads(text)) + ([] if status == 400 else [f"status {status}"])
    status, text = post("/v1/messages", {"model": MODEL, "messages": []}, {"anthropic-version": "2023-06-01"})
    return found + problems("anthropic", "ErrorResponse", json.loads(text)) + ([] if status == 400 else [f"status {status}"])


def run(function: Callable[[], list[str]]) -> list[str]:
    try:
        return function()
    except Exception as error:  # noqa: BLE001 - whatever a client throws is what is reported
        return [f"{type(error).__name__}: {error}"[:500]]


results = [{"name": name, "problems": run(function)} for name, function in checks]
json.dump({"checks": results}, sys.stdout)
