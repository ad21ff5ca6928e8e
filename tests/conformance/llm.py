"""OpenAI's and Anthropic's own Python SDKs, and the official client, through the proxy of models."""

import asyncio
import json
import os
import urllib.error
import urllib.request

import aiohttp
import anthropic
import openai
from meshagent.api.client import AccessSubject, Meshagent

URL = os.environ["MESHAGENT_API_URL"]
KEY = os.environ["MESHAGENT_API_KEY"]
PROJECT = os.environ["MESHAGENT_PROJECT_ID"]
STAND_IN = os.environ["STAND_IN"]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LIMIT = 60


def rest(method, path, body=None):
    request = urllib.request.Request(
        f"{URL}/accounts/projects/{PROJECT}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return json.loads(answer.read())


def token(name, models):
    request = {"name": name, "room_name": "models", "role": "agent", "api": {"llm": {"models": models}}}
    return rest("POST", "/participant-tokens", request)["token"]


def used(user):
    rows = rest("GET", f"/usage?users={user}")["usage"]
    total = lambda name: sum(row[name] for row in rows)
    assert total("estimated_requests") == 0, rows
    return total("requests"), total("input_tokens"), total("output_tokens")


def with_openai(bearer):
    """Eight answers."""
    client = openai.OpenAI(base_url=f"{URL}/openai/v1", api_key=bearer, timeout=LIMIT, max_retries=0)
    answer = client.responses.create(model="gpt-4o", input="hello")
    assert answer.output_text.startswith("Hi there"), answer
    with client.responses.stream(model="gpt-4o", input="hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == answer.output_text, text
        assert stream.get_final_response().usage.total_tokens == 29
    tools = [{"type": "function", "name": "weather", "parameters": TOOL, "strict": False}]
    called = client.responses.create(model="gpt-4o", input="weather?", tools=tools).output[0]
    assert (called.type, json.loads(called.arguments)) == ("function_call", {"city": "Oslo"})
    result = {"type": "function_call_output", "call_id": called.call_id, "output": "sunny"}
    said = [{"role": "user", "content": "weather?"}, called.model_dump(exclude_none=True), result]
    assert "Sunny" in client.responses.create(model="gpt-4o", input=said, tools=tools).output_text

    messages = [{"role": "user", "content": "hello"}]
    answer = client.chat.completions.create(model="gpt-4o", messages=messages)
    assert answer.choices[0].message.content.startswith("Hi there")
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=messages, stream=True))
    # Every chunk is one that its caller asked for.
    assert all(chunk.choices and chunk.usage is None for chunk in chunks), chunks
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=messages, stream=True, stream_options=options))
    assert chunks[-1].usage.total_tokens == 29
    tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
    weather = [{"role": "user", "content": "weather?"}]
    answer = client.chat.completions.create(model="gpt-4o", messages=weather, tools=tools)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    try:
        client.responses.create(model="o3", input="hello")
        raise AssertionError("a model beyond the scope was answered")
    except openai.PermissionDeniedError as error:
        assert "llm" in str(error), error


def with_anthropic(bearer):
    """Three answers."""
    client = anthropic.Anthropic(base_url=f"{URL}/anthropic", api_key=bearer, timeout=LIMIT, max_retries=0)
    messages = [{"role": "user", "content": "hello"}]
    answer = client.messages.create(model="claude-x", max_tokens=100, messages=messages)
    assert answer.content[0].text.startswith("Hi there"), answer
    with client.messages.stream(model="claude-x", max_tokens=100, messages=messages) as stream:
        assert "".join(stream.text_stream) == answer.content[0].text
    tools = [{"name": "weather", "input_schema": TOOL}]
    weather = [{"role": "user", "content": "weather?"}]
    with client.messages.stream(model="claude-x", max_tokens=100, messages=weather, tools=tools) as stream:
        assert stream.get_final_message().content[-1].input == {"city": "Oslo"}
    try:
        client.messages.create(model="claude-y", max_tokens=100, messages=messages)
        raise AssertionError("a model beyond the scope was answered")
    except anthropic.PermissionDeniedError as error:
        assert "llm" in str(error), error


async def over_a_socket(bearer):
    """Two answers."""
    headers = {"Authorization": f"Bearer {bearer}"}
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{URL}/openai/v1/responses", headers=headers) as socket:
            for model in ["gpt-4o", "o3", "gpt-4o"]:
                items = [{"role": "user", "content": "hello"}]
                await socket.send_json({"type": "response.create", "model": model, "input": items})
                while True:
                    event = await asyncio.wait_for(socket.receive_json(), LIMIT)
                    if event["type"] in ("response.completed", "error"):
                        break
                assert (event["type"] == "error") == (model == "o3"), event


async def with_the_official_client():
    client = Meshagent(base_url=URL, token=KEY)
    try:
        subject = AccessSubject(type="service_account", id="default")
        made = await client.connect_llm(
            project_id=PROJECT, subject=subject, max_budget="1.50", providers=["openai"], expires_in_seconds=60
        )
        assert str(made.max_budget) == "1.5" and made.token, made
        assert await client.get_usage(PROJECT, provider="anthropic", model="claude-x")
        assert await client.get_current_user_llm_proxy_usage(PROJECT) == []
    finally:
        await client.close()
    return made.token


def budgets_stop(delegation):
    limits = [{"name": "small", "per": "month", "tokens": 29, "user": "poor"}]
    rest("PUT", "/settings/budgets", {"limits": limits, "prices": {"openai/*": {"input": "1", "output": "2"}}})
    poor = openai.OpenAI(base_url=f"{URL}/openai/v1", api_key=token("poor", None), timeout=LIMIT)
    poor.responses.create(model="gpt-4o", input="hello")
    try:
        poor.responses.create(model="gpt-4o", input="hello")
        raise AssertionError("the budget did not stop")
    except openai.APIStatusError as error:
        assert error.status_code == 402 and "budget `small` exhausted" in str(error), error
    # A delegation is a credential of its own, too.
    delegated = openai.OpenAI(base_url=f"{URL}/openai/v1", api_key=delegation, timeout=LIMIT)
    assert delegated.responses.create(model="gpt-4o", input="hello").output_text


def main():
    rest("POST", "/rooms", {"name": "models"})
    rest("PUT", "/settings/openai", {"api_key": "sk-needle", "base_url": f"{STAND_IN}/v1"})
    rest("PUT", "/settings/anthropic", {"api_key": "sk-needle", "base_url": STAND_IN})
    ann = token("ann", ["openai/gpt-4*", "anthropic/claude-x"])
    with_openai(ann)
    with_anthropic(ann)
    asyncio.run(over_a_socket(ann))
    assert used("ann") == (13, 13 * 21, 13 * 8), used("ann")
    delegation = asyncio.run(with_the_official_client())
    budgets_stop(delegation)
    print("done", flush=True)


main()
