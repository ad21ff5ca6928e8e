"""Managed agents with the official SDK: made, listed, changed, talked to over the socket that `connect` names, deleted.
Its agents answer by the built-in model, which says again what it is told.
"""

import asyncio
import os

from meshagent.agents.chat_client import ChatThreadSession, WebSocketChatClient
from meshagent.agents.messages import StartThread
from meshagent.api import RoomException
from meshagent.api.client import Meshagent
from meshagent.api.managed_agents import ManagedAgentSpec

from scaffold import say

PROJECT = os.environ["MESHAGENT_PROJECT_ID"]
SECONDS = 60


def spec(name: str, **more) -> ManagedAgentSpec:
    models = [{"provider": "openai", "model": "builtin/echo"}]
    return ManagedAgentSpec.model_validate({"metadata": {"name": name}, "allowed_models": models, **more})


async def resources(account: Meshagent) -> None:
    made = await account.create_agent(project_id=PROJECT, configuration=spec("first", instructions="Be brief."))
    assert made.name == "first" and made.configuration.instructions == "Be brief."
    same = await account.create_agent(project_id=PROJECT, configuration=spec("first"), if_not_exists=True)
    assert same.id == made.id
    try:
        await account.create_agent(project_id=PROJECT, configuration=spec("first"))
        raise AssertionError("a name is there once")
    except RoomException as error:
        assert "exists already" in str(error), error
    await account.create_agent(project_id=PROJECT, configuration=spec("second"))
    page = await account.list_agents_page(project_id=PROJECT, page_size=1, view="my")
    assert (page.total, [agent.name for agent in page.agents]) == (2, ["first"])
    rest = await account.list_agents_page(project_id=PROJECT, page_size=1, continuation_token=page.continuation_token)
    assert [agent.name for agent in rest.agents] == ["second"] and rest.continuation_token is None
    full = spec("first", thread_isolation="participant", toolkits=[{"type": "web_fetch"}], store=False)
    await account.update_agent(project_id=PROJECT, agent_id=made.id, configuration=full)
    now = await account.get_agent(project_id=PROJECT, name="first")
    assert (now.id, now.configuration.thread_isolation, now.configuration.store) == (made.id, "participant", False)
    guarded = {"input": [{"name": "polite", "check": {"model": "openai/m", "instructions": "x", "minimum_allow_probability": 0.5}}]}
    try:
        await account.create_agent(project_id=PROJECT, configuration=spec("third", guardrails=guarded))
        raise AssertionError("guardrails that are not held are refused")
    except RoomException as error:
        assert "guardrails" in str(error), error
    await account.delete_agent(project_id=PROJECT, agent_id=made.id)
    try:
        await account.get_agent(project_id=PROJECT, name="first")
        raise AssertionError("it is gone")
    except RoomException as error:
        assert "not found" in str(error), error
    say("resources ok")


async def chat(account: Meshagent) -> None:
    connection = await account.connect_agent(project_id=PROJECT, agent="second", email="ann@example.com")
    assert (connection.agent_name, connection.project_id) == ("second", PROJECT)
    headers = {"Authorization": f"Bearer {connection.jwt}"}
    async with WebSocketChatClient(url=connection.agent_url, headers=headers) as client:
        session = await client.start_thread(
            StartThread(type="meshagent.agent.thread.start", content=[{"type": "text", "text": "hello"}])
        )
        models = await session.request_models()
        assert [model.name for provider in models.providers for model in provider.models] == ["echo"], models
        path = session.thread_path
        assert path.startswith("dataset://threads/"), path
        await session.close(close_client=False)
    sessions = await account.list_active_agent_sessions(PROJECT)
    assert [(each.kind, each.agent_name) for each in sessions] == [("agent", "second")], sessions
    say("chat ok")


async def main() -> None:
    account = Meshagent()
    try:
        async with asyncio.timeout(SECONDS):
            await resources(account)
            await chat(account)
    finally:
        await account.close()
    say("done")


asyncio.run(main())
