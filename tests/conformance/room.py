"""The Python SDK's RoomClient against the server under test: `room.py CASE`.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY, MESHAGENT_PROJECT_ID and MESHAGENT_ROOM. Prints one line per thing
that holds and `done` at the end; any exception fails the run. Every wait has a deadline.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator

import aiohttp
from meshagent.api import RoomClient, RoomException, WebSocketClientProtocol
from meshagent.api.client import Meshagent
from meshagent.api.file_permissions import FilePathRule, FilesPolicy
from meshagent.api.messaging import JsonContent, TextContent
from meshagent.api.participant_token import ApiScope, MessagingGrant, QueuesGrant, StorageGrant
from meshagent.api.room_server_client import (
    MessagingStreamClientDisconnected,
    MessagingStreamClosed,
    ToolContentSpec,
)
from meshagent.api.specs.service import ContainerSpec, ServiceMetadata, ServiceSpec
from meshagent.tools import ContentTool, ToolContext, Toolkit, start_hosted_toolkit, tool
from scaffold import ROOM, join, refused, say

STEP_SECONDS = 60
BIG_BYTES = 50 * 1024 * 1024
BLOCK_BYTES = 256 * 1024


def within(awaitable, what: str, seconds: float = STEP_SECONDS):
    async def wait():
        try:
            return await asyncio.wait_for(awaitable, seconds)
        except TimeoutError:
            for task in asyncio.all_tasks():
                task.print_stack(limit=4)
            raise AssertionError(f"{what} did not happen within {seconds} s") from None

    return wait()


async def queues() -> None:
    async with join("sender") as sender, join("receiver") as receiver:
        await sender.queues.send(name="jobs", message={"n": 1, "text": "grüße"})
        got = await within(receiver.queues.receive(name="jobs", wait=False), "the first item")
        assert got == {"n": 1, "text": "grüße"}, got
        say("an item arrives as it was sent")

        assert await receiver.queues.receive(name="jobs", wait=False) is None
        say("an empty queue answers nothing")

        waiting = asyncio.create_task(receiver.queues.receive(name="jobs", wait=True))
        await sender.queues.send(name="jobs", message={"n": 2})
        assert await within(waiting, "the waiting receive") == {"n": 2}
        say("a waiting receive is woken")

        for n in range(20):
            await sender.queues.send(name="order", message={"n": n})
        sizes = {queue.name: queue.size for queue in await sender.queues.list()}
        assert sizes["order"] == 20 and sizes["jobs"] == 0, sizes
        order = [(await receiver.queues.receive(name="order", wait=False))["n"] for _ in range(20)]
        assert order == list(range(20)), order
        say("items come in the order they were sent")

    only_send = ApiScope(queues=QueuesGrant(send=["jobs"], receive=[], list=False))
    async with join("narrow", scope=only_send) as narrow:
        await narrow.queues.send(name="jobs", message={"n": 3})
        for wrong in (
            narrow.queues.send(name="order", message={"n": 4}),
            narrow.queues.receive(name="jobs", wait=False),
            narrow.queues.list(),
        ):
            await refused(wrong, code=1001)
        say("the grants of a token are kept")


async def messaging() -> None:
    async with join("alice") as alice, join("bob") as bob:
        bob_is_there, message_came = asyncio.Event(), asyncio.Queue()

        def look(**_) -> None:
            if alice.messaging.get_participant_by_name("bob"):
                bob_is_there.set()

        alice.messaging.on("participant_added", look)
        alice.messaging.on("messaging_enabled", look)
        bob.messaging.on("message", lambda message: message_came.put_nowait(message))
        await alice.messaging.enable()
        await bob.messaging.enable()
        await within(bob_is_there.wait(), "bob's presence")
        say("presence is announced")

        to = alice.messaging.get_participant_by_name("bob")
        await alice.messaging.send_message(to=to, type="greeting", message={"hello": "bob"}, attachment=b"\x00\x01")
        got = await within(message_came.get(), "the message")
        assert (got.type, got.message, got.attachment) == ("greeting", {"hello": "bob"}, b"\x00\x01"), got
        assert got.from_participant_id == alice.local_participant.id
        say("a message reaches one participant")

        await alice.messaging.broadcast_message(type="news", message={"all": True})
        got = await within(message_came.get(), "the broadcast")
        assert (got.type, got.message) == ("news", {"all": True}), got
        say("a broadcast reaches the others")

        changed = asyncio.Event()
        bob.messaging.on("participant_attributes_updated", lambda participant: changed.set())
        await alice.local_participant.set_attribute("mood", "calm")
        await within(changed.wait(), "the changed attribute")
        seen = bob.messaging.get_participant_by_name("alice").get_attribute("mood")
        assert seen == "calm", seen
        say("attributes are passed on")

        gone = asyncio.Event()
        alice.messaging.on("participant_removed", lambda participant: gone.set())
        await bob.messaging.disable()
        await within(gone.wait(), "bob's leaving")
        await refused(alice.messaging.send_message(to=to, type="late", message={}), code=1003)
        say("leaving is announced")

    silent = ApiScope(messaging=MessagingGrant(broadcast=False, list=True, send=False))
    async with join("silent", scope=silent) as quiet:
        await refused(quiet.messaging.broadcast_message(type="news", message={}), code=1001)
        say("the grants of a token are kept")


def blocks(count_bytes: int):
    """The same pseudo-random bytes each time."""
    block = hashlib.sha256(b"seed").digest() * (BLOCK_BYTES // 32)
    for at in range(0, count_bytes, BLOCK_BYTES):
        yield at.to_bytes(8, "big") + block[8 : min(BLOCK_BYTES, count_bytes - at)]


async def storage() -> None:
    async with join("writer") as writer, join("reader") as reader:
        updated = asyncio.Queue()
        reader.storage.on("file.updated", lambda **event: updated.put_nowait(event["path"]))

        sent = hashlib.sha256()

        async def chunks() -> AsyncIterator[bytes]:
            for block in blocks(BIG_BYTES):
                sent.update(block)
                yield block

        await within(
            writer.storage.upload_stream(path="big/file.bin", chunks=chunks(), size=BIG_BYTES),
            "the upload",
            300,
        )
        say("50 MB went up")
        assert await within(updated.get(), "the notice of the new file") == "big/file.bin"
        say("a new file is announced")

        received, count = hashlib.sha256(), 0

        async def download() -> int:
            total = 0
            async for chunk in reader.storage.download_stream(path="big/file.bin"):
                received.update(chunk.data)
                total += len(chunk.data)
            return total

        count = await within(download(), "the download", 300)
        assert (count, received.hexdigest()) == (BIG_BYTES, sent.hexdigest())
        say("50 MB came down unchanged")

        await writer.storage.upload(path="empty.txt", data=b"")
        empty = await reader.storage.download(path="empty.txt")
        assert (empty.data, empty.mime_type) == (b"", "text/plain"), empty
        await refused(writer.storage.upload(path="empty.txt", data=b"x"), code=3005)
        await writer.storage.upload(path="empty.txt", data=b"new", overwrite=True)
        assert (await reader.storage.download(path="empty.txt")).data == b"new"
        say("an existing file is kept unless overwrite is asked for")

        names = {entry.name: entry.is_folder for entry in await reader.storage.list(path="")}
        assert names == {"big": True, "empty.txt": False}, names
        stat = await reader.storage.stat(path="big/file.bin")
        assert stat.size == BIG_BYTES and not stat.is_folder, stat
        assert await reader.storage.stat(path="nowhere") is None
        await writer.storage.move(source_path="empty.txt", destination_path="moved/there.txt")
        assert not await reader.storage.exists(path="empty.txt")
        assert await reader.storage.exists(path="moved/there.txt")
        await refused(writer.storage.delete("big", recursive=False), code=3002)
        await writer.storage.delete("big", recursive=True)
        assert not await reader.storage.exists(path="big/file.bin")
        await refused(reader.storage.download(path="big/file.bin"), code=3001)
        await refused(reader.storage.download(path="../outside"), code=3004)
        say("list, stat, move and delete agree")


@tool(name="add", description="adds two numbers")
async def add(context: ToolContext, a: int, b: int) -> JsonContent:
    return JsonContent(json={"sum": a + b, "caller": context.caller.id})


@tool(name="fail", description="raises")
async def fail() -> JsonContent:
    raise RoomException("broken on purpose", code=1008)


class CountUp(ContentTool):
    """Answers each number of its input stream with that many texts."""

    def __init__(self):
        super().__init__(
            name="count",
            description="streams",
            input_spec=ToolContentSpec(types=["json"], stream=True),
            output_spec=ToolContentSpec(types=["text"], stream=True),
        )

    async def execute(self, *, context, input):
        async def answer():
            async for item in input:
                for n in range(item.json["n"]):
                    yield TextContent(text=f"{item.json['n']}.{n}")

        return answer()


def toolkit() -> Toolkit:
    return Toolkit(name="sums", title="Sums", description="arithmetic", tools=[add, fail, CountUp()], public=True)


async def toolkit_of(client: RoomClient, name: str):
    found = {kit.name: kit for kit in await client.list_toolkits()}
    return found.get(name)


async def hosted() -> None:
    async with join("host") as host, join("caller", role="user") as caller:
        running = await start_hosted_toolkit(room=host, toolkit=toolkit())
        described = await toolkit_of(caller, "sums")
        assert {each.name for each in described.tools} == {"add", "fail", "count"}, described.to_json()
        assert described.get_tool("add").input_schema["required"] == ["a", "b"], described.to_json()
        say("a hosted toolkit is listed with its schemas")

        answer = await within(caller.invoke(toolkit="sums", tool="add", input={"a": 2, "b": 3}), "the sum")
        assert answer.json == {"sum": 5, "caller": caller.local_participant.id}, answer.json
        say("a unary call is answered by the other client")

        await refused(caller.invoke(toolkit="sums", tool="fail", input={}), code=1008)
        await refused(caller.invoke(toolkit="sums", tool="add", input={"a": "x"}), code=0)
        await refused(caller.invoke(toolkit="sums", tool="absent", input={}), code=1003)
        await refused(caller.invoke(toolkit="absent", tool="absent", input={}), code=1003)
        say("errors come back with their code")

        async def numbers():
            for n in (2, 1, 3):
                yield JsonContent(json={"n": n})

        stream = await within(caller.invoke(toolkit="sums", tool="count", input=numbers()), "the stream")
        texts = await within(collect(stream), "the end of the stream")
        assert texts == ["2.0", "2.1", "1.0", "3.0", "3.1", "3.2"], texts
        say("a streamed call streams both ways")

        many = await asyncio.gather(
            *(caller.invoke(toolkit="sums", tool="add", input={"a": n, "b": n}) for n in range(200))
        )
        assert [each.json["sum"] for each in many] == [2 * n for n in range(200)]
        say("200 calls at once find their answers")

        await running.stop()
        assert await toolkit_of(caller, "sums") is None
        await refused(caller.invoke(toolkit="sums", tool="add", input={"a": 1, "b": 1}), code=1003)
        say("a stopped toolkit is gone")


async def collect(stream) -> list[str]:
    return [chunk.text async for chunk in stream if isinstance(chunk, TextContent)]


async def connect() -> None:
    """Through the REST API, as a user who may not sign tokens."""
    async with Meshagent(
        base_url=os.environ["MESHAGENT_API_URL"], token=os.environ["MESHAGENT_API_KEY"]
    ) as account:
        project = os.environ["MESHAGENT_PROJECT_ID"]
        room = await account.create_room(project_id=project, name=ROOM, if_not_exists=True)
        found = await account.get_room(project_id=project, name=room.id)
        assert found.name == ROOM, found
        info = await account.connect_room(project_id=project, room=ROOM)
        protocol = WebSocketClientProtocol(url=info.room_url, token=info.jwt)
        async with RoomClient(protocol_factory=protocol.create_factory()) as client:
            assert client.room_name == ROOM, client.room_name
            sessions = await account.list_active_sessions(project)
            assert [session.id for session in sessions if session.is_active] == [client.session_id], sessions
            status = await account.get_room_status(project_id=project, name=ROOM)
            assert status.status == "Allocated", status
            say("the answer of connect opens the room, and the session is listed")


async def streams() -> None:
    """Streams between participants: taken, refused, and the end of either side."""
    async with join("alice") as alice, join("bob") as bob:
        there, asked = asyncio.Event(), asyncio.Queue()
        alice.messaging.on("participant_added", lambda **_: there.set())
        alice.messaging.on("messaging_enabled", lambda **_: alice.messaging.get_participants() and there.set())
        bob.messaging.on("stream_requested", lambda request: asked.put_nowait(request))
        await alice.messaging.enable()
        await bob.messaging.enable()
        await within(there.wait(), "bob's presence")
        to = alice.messaging.get_participant(alice.messaging.get_participants()[0].id)
        assert alice.messaging.is_enabled and alice.messaging.online

        opening = asyncio.create_task(alice.messaging.stream(to=to, type="talk", message={"n": 0}, attachment=b"a"))
        request = await within(asked.get(), "the request")
        assert (request.type, request.message, request.attachment) == ("talk", {"n": 0}, b"a")
        there_side = await request.accept()
        here = await within(opening, "the acceptance")
        await here.send_message(type="talk", message={"n": 1})
        await there_side.send_message(type="talk", message={"n": 2}, attachment=b"b")
        assert (await within(there_side.receive(), "n 1")).message == {"n": 1}
        got = await within(here.receive(), "n 2")
        assert (got.message, got.attachment) == ({"n": 2}, b"b"), got
        say("an accepted stream carries both ways")
        await here.close()
        await within(ended(there_side), "the end of the stream")
        say("closing ends both sides")

        opening = asyncio.create_task(alice.messaging.stream(to=to, type="talk", message={}))
        await (await within(asked.get(), "the second request")).reject(message="busy")
        try:
            await within(opening, "the refusal")
            raise AssertionError("the stream should have been refused")
        except RoomException as error:
            assert "busy" in str(error), error
        say("a refused stream says why")

        alice.messaging.send_message_nowait(to=to, type="last", message={})
        seen = asyncio.Queue()
        bob.messaging.on("message", listener := lambda message: seen.put_nowait(message.type))
        bob.messaging.off("message", listener)
    say("messages without waiting are sent")


async def ended(stream) -> None:
    while not isinstance(await stream.receive(), MessagingStreamClosed | MessagingStreamClientDisconnected | None):
        pass


async def others() -> None:
    """What is left of the small toolkits and of the client itself."""
    async with join("one") as one, join("two") as two:
        await within(one.wait_until_connected(), "the connection")
        assert one.is_connected and not one.is_closed and ROOM in one.room_url
        toolkits = {toolkit.name for toolkit in await one.agents.list_toolkits()}
        assert {"queues", "storage", "developer"} <= toolkits, toolkits
        await one.agents.invoke_tool(
            toolkit="queues", tool="send", input={"name": "q", "create": True, "message": {"a": 1}}
        )
        await one.queues.open(name="opened")
        await one.queues.drain(name="q")
        assert await one.queues.receive(name="q", wait=False) is None
        await one.queues.close(name="opened")
        assert "opened" not in {queue.name for queue in await one.queues.list()}
        say("queues are opened, drained and closed")

        await one.storage.upload(path="a b/ü.txt", data=b"text", overwrite=True)
        everywhere = FilePathRule(path="", recursive=True, actions=["read", "presign"])
        async with join("signer", scope=ApiScope(storage=StorageGrant(files=FilesPolicy(paths=[everywhere])))) as signer:
            url = await signer.storage.download_url(path="a b/ü.txt")
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert await answer.read() == b"text", answer.status
        one.storage.on("file.updated", nothing := lambda **_: None)
        one.storage.off("file.updated", nothing)
        say("a download URL needs no token")

        logs = one.developer.logs()
        one.developer.on("log", nothing)
        one.developer.off("log", nothing)
        one.developer.emit("nobody listens")
        lines = asyncio.create_task(collect_lines(logs, 5))
        await two.developer.log(type="t", data={"n": 1})
        two.developer.log_nowait(type="t", data={"n": 2})
        two.developer.info("i", extra={"n": 3})
        two.developer.warning("w", extra={"n": 4})
        two.developer.error("e", extra={"n": 5})
        got = await within(lines, "five lines of the log")
        assert sorted(line.data["n"] for line in got) == [1, 2, 3, 4, 5], got
        assert {line.type for line in got} == {"t", "otel.log"}, got
        assert {line.data.get("kind") for line in got} == {None, "info", "warning", "error"}, got
        say("the log is followed")

        assert await one.mounts.list() == []
        await refused(one.livekit.get_connection_info(), code=1007)
        say("what the server does not have it says")

        left = asyncio.create_task(two.wait_for_close())
    await within(left, "the end of the client")
    say("a client that is left is closed")


async def collect_lines(logs, count: int) -> list:
    lines = []
    async for line in logs:
        if "n" in line.data:
            lines.append(line)
        if len(lines) == count:
            break
    await logs.aclose()
    return lines


async def services() -> None:
    """A service of the room is listed with its state and restarted."""
    async with Meshagent(
        base_url=os.environ["MESHAGENT_API_URL"], token=os.environ["MESHAGENT_API_KEY"]
    ) as account:
        project = os.environ["MESHAGENT_PROJECT_ID"]
        await account.create_room(project_id=project, name=ROOM, if_not_exists=True)
        spec = ServiceSpec(
            version="v1",
            kind="Service",
            metadata=ServiceMetadata(name="web"),
            container=ContainerSpec(image="meshagent/cli:default", command="meshagent process join --agent-name x"),
        )
        made = await account.create_room_service(project_id=project, room_name=ROOM, service=spec)
        async with join("one", scope=ApiScope.full()) as one:
            listed = await one.services.list()
            assert [service.metadata.name for service in listed.services] == ["web"], listed
            assert list(listed.service_states) == [listed.services[0].id], listed
            await one.services.restart(service_id=listed.services[0].id)
            await refused(one.services.restart(service_id="nobody"), code=7001)
        assert made is not None
        say("services are listed and restarted")


async def reconnect() -> None:
    """Prints `up`, waits for the server to be killed and started again, and finds everything as it was."""
    async with join("host") as host, join("caller") as caller:
        lost, back = Everyone(2), Everyone(2)
        for client in (host, caller):
            client.on("disconnected", lambda **_: lost.one_more())
            client.on("reconnected", lambda **_: back.one_more())
        await start_hosted_toolkit(room=host, toolkit=toolkit())
        await caller.queues.send(name="kept", message={"acknowledged": True})
        await caller.storage.upload(path="kept.txt", data=b"acknowledged")
        # A client of its own, never left: the SDK's reconnection is at times cancelled together with a call that was
        # in flight when the connection was lost (its `_close_protocol` lets CancelledError through).
        entered = join("interrupted")
        interrupted = await entered.__aenter__()
        waiting = asyncio.create_task(interrupted.queues.receive(name="later", wait=True))
        say("up")
        await within(lost.all.wait(), "the loss of the connection")
        await within(back.all.wait(), "the reconnection")
        say("both clients came back by themselves")
        try:
            await within(waiting, "the end of the interrupted call")
            raise AssertionError("the interrupted call should have failed")
        except RoomException:
            say("the interrupted call failed")
        assert await caller.queues.receive(name="kept", wait=False) == {"acknowledged": True}
        assert (await caller.storage.download(path="kept.txt")).data == b"acknowledged"
        say("nothing acknowledged is lost")
        await within(registered_again(caller), "the toolkit's registration")
        answer = await within(caller.invoke(toolkit="sums", tool="add", input={"a": 1, "b": 1}), "the sum")
        assert answer.json["sum"] == 2
        say("the hosted toolkit is back")


async def registered_again(client: RoomClient) -> None:
    while await toolkit_of(client, "sums") is None:
        pass


class Everyone:
    """Set when `count` have come."""

    def __init__(self, count: int):
        self.left, self.all = count, asyncio.Event()

    def one_more(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.all.set()


CASES = {
    "queues": queues,
    "messaging": messaging,
    "storage": storage,
    "hosted": hosted,
    "streams": streams,
    "others": others,
    "services": services,
    "connect": connect,
    "reconnect": reconnect,
}

asyncio.run(CASES[sys.argv[1]]())
say("done")
