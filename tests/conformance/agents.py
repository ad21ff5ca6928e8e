"""Work for an agent that runs, ours or the official one, by the Python SDK: `agents.py CASE [THREAD OR FOLDER]`.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY, MESHAGENT_PROJECT_ID, MESHAGENT_ROOM and STAND_IN. The agent `support-agent`
has the channels `chat`, `queue:support-jobs` and `toolkit:support-agent` and the storage tools; its model is played by
`agents-stand-in.cjs`. Prints one line per thing that holds, the thread it began, and `done` at the end.
"""

import asyncio
import json
import os
import sys
import urllib.request

from meshagent.agents.messages import ListThreads

from chat import AGENT, STEP_SECONDS, chat, join, kinds, say, start, text, until

URL = os.environ["MESHAGENT_API_URL"]
KEY = os.environ["MESHAGENT_API_KEY"]
PROJECT = os.environ["MESHAGENT_PROJECT_ID"]


def read(url: str):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=STEP_SECONDS) as answer:
        return json.loads(answer.read())


async def written(room, path: str) -> None:
    async with asyncio.timeout(STEP_SECONDS):
        while not await room.storage.exists(path=path):
            pass
    assert (await room.storage.download(path=path)).data == b"by the model"


def told(events: list[dict]) -> str:
    ended = events[-1]
    assert ended["type"] == "meshagent.agent.turn.ended" and ended.get("error") is None, ended
    return text(events)


async def turn(client, session, prompt: str) -> str:
    """What is answered to this, and nothing of what was said before."""
    source = await session.send_text(text=prompt)
    await until(client, "turn.started", source_message_id=source)
    return told(await until(client, "turn.ended"))


async def chats() -> None:
    async with chat("ann") as (room, client):
        session = await client.start_thread(start("write notes/chat.md"))
        events = await until(client, "turn.ended")
        said = kinds(events)
        order = ["turn.start.accepted", "turn.started", "tool_call.started", "tool_call.ended", "text_content.started"]
        assert [each for each in dict.fromkeys(said) if each in order] == order, said
        assert "(1 tools used)" in told(events), events
        assert said.count("text_content.delta") > 1, said
        await written(room, "notes/chat.md")
        say("a turn streams, and its tool has written")
        assert "how are you?" in await turn(client, session, "how are you?")
        say("a second turn is answered")
        named = [thread.name for thread in (await session.list_threads()).threads if thread.path == session.thread_path]
        assert len(named) == 1 and named[0], named
        say(f"thread {session.thread_path}")


async def listed(client) -> set[str]:
    await client.send(ListThreads(type="meshagent.agent.thread.list"))
    return {thread["path"] for thread in (await until(client, "thread.listed"))[-1]["threads"]}


async def jobs() -> None:
    async with chat("ann") as (room, client):
        before = await listed(client)
        await room.queues.send(name="support-jobs", create=True, message={"prompt": "write notes/queue.md"})
        await written(room, "notes/queue.md")
        say("a job of the queue is done")
        (thread,) = await listed(client) - before
        say(f"thread {thread}")


async def tasks(folder: str) -> None:
    async with join("ann") as room:
        assert await room.list_toolkits(participant_name=AGENT, timeout=STEP_SECONDS)
        thread = f"{folder}/refunds"
        task = {"prompt": "write notes/task.md", "path": thread, "thread_id": None, "model": None, "instructions": None}
        done = room.invoke(toolkit=AGENT, tool=f"run_{AGENT}_task", input=task)
        answer = await asyncio.wait_for(done, STEP_SECONDS)
        assert "(1 tools used)" in answer.text, answer
        await written(room, "notes/task.md")
        say("a task of the toolkit is done")
        say(f"thread {thread}")


async def continues(path: str) -> None:
    """The thread was begun by another agent."""
    async with chat("bob") as (_, client):
        session = await client.open_thread(path, load=True)
        events = await until(client, "thread.loaded")
        inputs = [event for event in events if event["type"] == "meshagent.agent.turn.start"]
        first = inputs[0]["content"][0]["text"]
        assert first.startswith("write notes/"), inputs
        said = kinds(events)
        assert said.count("turn.ended") == len(inputs) and "tool_call.ended" in said, said
        assert "I was told" in text(events), events
        say("the thread is opened")
        answer = await turn(client, session, "go on")
        assert first in answer and "go on" in answer and "1 tools used" in answer, answer
        say("and goes on, with all that was said")
        assert path in await listed(client)
        say("and is in the list")


async def asked() -> None:
    """How the model was asked: over sockets, and each answer is accounted for."""
    async with asyncio.timeout(STEP_SECONDS):
        while True:
            # A thread may just be getting its name.
            requests = await asyncio.to_thread(read, f"{os.environ['STAND_IN']}/__aimock/journal")
            requests = [each for each in requests if each["path"] == "/v1/responses"]
            usage = await asyncio.to_thread(read, f"{URL}/accounts/projects/{PROJECT}/usage?users={AGENT}")
            rows = usage["usage"]
            used = [sum(row[name] for row in rows) for name in ("requests", "input_tokens", "output_tokens")]
            if requests and used == [len(requests), len(requests) * 21, len(requests) * 8]:
                break
    assert all(each["method"] == "WS" for each in requests), requests
    say("the model is asked over sockets, and its use adds up to the agent")


CASES = {"chats": chats, "jobs": jobs, "tasks": tasks, "continues": continues, "asked": asked}


async def main() -> None:
    await CASES[sys.argv[1]](*sys.argv[2:])
    say("done")


asyncio.run(main())
