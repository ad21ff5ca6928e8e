"""The Python SDK's chat client against our agent: `chat.py CASE`.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM; the agent `support-agent` with channel `chat`, model
`builtin/echo` and the room toolkit `queues` must be there or come. Prints one line per thing that holds and `done` at the end;
any exception fails the run.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager

from meshagent.agents.chat_client import LegacyMessagingChatClient, MessagingChatClient
from meshagent.agents.messages import AgentTextContent, ListThreads, StartThread, WatchThreads
from meshagent.api import ParticipantToken, RoomClient, WebSocketClientProtocol
from meshagent.api.helpers import websocket_room_url
from meshagent.api.participant_token import ApiScope

ROOM = os.environ["MESHAGENT_ROOM"]
AGENT = "support-agent"
STEP_SECONDS = 60
# The echo carries out a fenced block: this one hangs until somebody sends to the queue.
HANG = "Wait.\n```tool\n" + json.dumps(
    {"tool": "receive", "toolkit": "queues", "arguments": {"name": "gate", "create": True, "wait": True}}
) + "\n```\n"


def say(text: str) -> None:
    print(text, flush=True)


@asynccontextmanager
async def join(name: str):
    minted = ParticipantToken(name=name)
    minted.add_role_grant("user")
    minted.add_room_grant(ROOM)
    minted.add_api_grant(ApiScope.full())
    token = minted.to_jwt(api_key=os.environ["MESHAGENT_API_KEY"])
    protocol = WebSocketClientProtocol(url=websocket_room_url(room_name=ROOM), token=token)
    async with RoomClient(protocol_factory=protocol.create_factory()) as client:
        await client.messaging.enable()
        yield client


@asynccontextmanager
async def chat(name: str, kind=MessagingChatClient):
    async with join(name) as room:
        async with kind(room=room, participant_name=AGENT, timeout=STEP_SECONDS) as client:
            # Everything that comes, before the sessions sort it.
            client.heard = asyncio.Queue()
            client.add_event_listener(client.heard.put_nowait)
            yield room, client


def start(text: str) -> StartThread:
    return StartThread(type="meshagent.agent.thread.start", content=[AgentTextContent(type="text", text=text)])


async def until(client, kind: str, **fields) -> list[dict]:
    """The events up to the first of this type."""
    seen = []
    async with asyncio.timeout(STEP_SECONDS):
        while True:
            event = await client.heard.get()
            seen.append(event)
            if event["type"] == f"meshagent.agent.{kind}" and all(event.get(k) == v for k, v in fields.items()):
                return seen


def kinds(events: list[dict]) -> list[str]:
    return [event["type"].removeprefix("meshagent.agent.") for event in events]


def text(events: list[dict]) -> str:
    return "".join(e["text"] for e in events if e["type"] == "meshagent.agent.text_content.delta")


async def talks(kind) -> None:
    async with chat("ann", kind) as (_, client):
        session = await client.start_thread(start("hello"))
        path = session.thread_path
        assert path.startswith(f"dataset://agents/{AGENT}/threads/"), path
        events = await until(client, "turn.ended")
        assert "> hello" in text(events), events
        assert events[-1].get("error") is None, events[-1]
        say("a thread starts with a turn")
        answer = await session.ask(prompt="again")
        assert "> again" in answer, answer
        say("a second turn is asked and answered")
        models = await session.request_models()
        assert [m.name for p in models.providers for m in p.models] == ["echo"], models
        say("the models are listed")
        # Another client opens the thread and gets its history.
        async with chat("bob", kind) as (_, other):
            opened = await other.open_thread(path, load=True)
            events = await until(other, "thread.loaded")
            inputs = [e for e in events if e["type"] == "meshagent.agent.turn.start"]
            assert [e["content"][0]["text"] for e in inputs] == ["hello", "again"], events
            assert [e["sender_name"] for e in inputs] == ["ann", "ann"], inputs
            assert kinds(events).count("turn.ended") == 2, kinds(events)
            assert "model.changed" in kinds(events), kinds(events)
            say("the history is replayed")
            await session.ask(prompt="third")
            events = await until(other, "turn.ended")
            assert "> third" in text(events), events
            say("a second client follows the turn live")


async def lists() -> None:
    async with chat("ann") as (_, client):
        session = await client.start_thread(start("plan the party"))
        await until(client, "turn.ended")
        path = session.thread_path
        watched = []
        client.add_event_listener(lambda event: watched.append(event))
        await client.send(WatchThreads(type="meshagent.agent.thread.watch"))
        entry = [t for t in (await session.list_threads()).threads if t.path == path]
        assert [t.name for t in entry] == ["Plan The Party"], entry
        await session.rename_thread(path, "  The   party ")

        async def renamed():
            while True:
                listed = await session.list_threads()
                if [t.name for t in listed.threads if t.path == path] == ["The party"]:
                    return

        await asyncio.wait_for(renamed(), STEP_SECONDS)
        say("threads are listed and renamed")
        await session.delete_thread(path)

        async def gone():
            while [t for t in (await session.list_threads()).threads if t.path == path]:
                pass

        await asyncio.wait_for(gone(), STEP_SECONDS)
        told = [e["type"].removeprefix("meshagent.agent.") for e in watched]
        assert "thread.updated" in told and "thread.deleted" in told, told
        say("threads are deleted, and watchers hear of it")


async def steers() -> None:
    async with chat("ann") as (room, client):
        session = await client.start_thread(start(HANG))
        await until(client, "tool_call.started")
        assert session.steer(prompt="and this too") is not None
        await until(client, "turn.steer.accepted")
        await room.queues.send(name="gate", create=True, message={"go": 1})
        events = await until(client, "turn.ended")
        assert "turn.steered" in kinds(events), kinds(events)
        assert "> and this too" in text(events), text(events)
        say("a turn is steered")
        source = await session.send_text(text=HANG)
        await until(client, "turn.started", source_message_id=source)
        await until(client, "tool_call.started")
        async with chat("bob") as (_, other):
            opened = await other.open_thread(session.thread_path, load=False)
            events = await until(other, "tool_call.started")
            assert "turn.started" in kinds(events), kinds(events)
            say("one who comes in the middle sees the turn so far")
            assert session.interrupt()
            events = await until(client, "turn.ended")
            assert "turn.interrupted" in kinds(events), kinds(events)
            assert events[-1]["error"]["code"] == "cancelled", events[-1]
            await until(other, "turn.ended")
        say("a turn is interrupted")
        answer = await session.ask(prompt="still here?")
        assert "> still here?" in answer, answer
        say("the thread goes on")


CASES = {
    "streams": lambda: talks(MessagingChatClient),
    "unary": lambda: talks(LegacyMessagingChatClient),
    "lists": lists,
    "steers": steers,
}


async def main() -> None:
    await CASES[sys.argv[1]]()
    say("done")


if __name__ == "__main__":
    asyncio.run(main())
