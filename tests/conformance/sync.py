"""Documents that the Python and the npm SDK edit at once: `sync.py CASE`. `sync.cjs` is the other half.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM. Prints what the test waits for, `state <hash>` where both
halves must agree, and `done` at the end; any exception fails the run. Every wait has a deadline.
"""

import asyncio
import base64
import hashlib
import json
import sys

from meshagent.api import RoomClient
from meshagent.api.participant_token import ApiScope, SyncGrant, SyncPathGrant
from meshagent.api.room_server_client import _SyncOpenDocumentConfig
from meshagent.api.schema import ChildProperty, ElementType, MeshSchema, ValueProperty
from scaffold import join, refused, say

STEP_SECONDS = 120
EDITS = 25
ME, OTHER = "py", "npm"

SCHEMA = MeshSchema(
    root_tag_name="notes",
    elements=[
        ElementType(
            tag_name="notes",
            properties=[ChildProperty(name="children", child_tag_names=["note", "text"])],
        ),
        ElementType(
            tag_name="note",
            properties=[
                ValueProperty(name="v", type="string"),
                ValueProperty(name="n", type="number"),
                ChildProperty(name="notes", child_tag_names=["note"]),
            ],
        ),
        ElementType(tag_name="text", properties=[]),
    ],
)


class Watched:
    """A document, and waiting for what others do to it."""

    def __init__(self, doc):
        self.doc, self.changed = doc, asyncio.Event()
        receive = doc.receive_changes

        def received(message):
            receive(message)
            self.changed.set()

        doc.receive_changes = received

    def values(self) -> list[str]:
        notes = self.doc.root.get_children()
        return [note["v"] for note in notes if note.tag_name == "note"]

    def add(self, value: str) -> None:
        self.doc.root.append_child("note", {"v": value, "n": len(value)})

    async def until(self, there, what: str) -> None:
        async def wait():
            while not there(self.values()):
                self.changed.clear()
                await self.changed.wait()

        try:
            await asyncio.wait_for(wait(), STEP_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{what} did not happen; there is {self.values()}") from None

    async def meet(self, phase: str) -> None:
        """Returns when both halves have seen all of a phase, so that all of it is on the server's disk."""
        everything = {f"{half}-{phase}-{n}" for half in (ME, OTHER) for n in range(EDITS)}
        await self.until(lambda values: everything <= set(values), f"phase {phase}")
        self.add(f"{ME}-saw-{phase}")
        await self.until(lambda values: f"{OTHER}-saw-{phase}" in values, f"the other half's phase {phase}")

    def state(self) -> str:
        text = json.dumps(self.values(), separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


async def raw_state(client: RoomClient, path: str) -> bytes:
    """The state chunk of a fresh opening, as the server sent it."""
    config = _SyncOpenDocumentConfig(create=False, schema=None, schema_path=None)
    stream, responses, _, first = await client.sync._open_stream(
        path=path, config=config, vector=None, initial_json=None
    )
    stream.close_input_stream()
    async for _ in responses:
        pass
    return base64.b64decode(first.data)


async def shared() -> None:
    async with join("py") as client:
        lost, back = asyncio.Event(), asyncio.Event()
        client.on("disconnected", lambda **_: lost.set())
        client.on("reconnected", lambda **_: back.set())
        watched = Watched(await client.sync.open(path="shared.note", schema=SCHEMA))
        for n in range(EDITS):
            watched.add(f"{ME}-first-{n}")
        await watched.meet("first")
        say("up")
        await asyncio.wait_for(lost.wait(), STEP_SECONDS)
        for n in range(EDITS):
            watched.add(f"{ME}-offline-{n}")
        say("edited while the server was away")
        await asyncio.wait_for(back.wait(), STEP_SECONDS)
        for n in range(EDITS):
            watched.add(f"{ME}-second-{n}")
        await watched.meet("second")
        offline = {f"{ME}-offline-{n}" for n in range(EDITS)}
        assert offline <= set(watched.values()), "offline edits are merged"
        say(f"state {watched.state()}")
        await asyncio.wait_for(client.sync.close(path="shared.note"), STEP_SECONDS)
        described = await client.sync.describe(path="shared.note")
        assert [note["note"]["v"] for note in described["notes"]["children"]] == watched.values()
        say("the server describes what both see")


async def kept() -> None:
    """Byte-equal state over kill -9."""
    async with join("py") as client:
        back = asyncio.Event()
        client.on("reconnected", lambda **_: back.set())
        doc = await client.sync.open(path="kept.note", schema=SCHEMA)
        note = doc.root.append_child("note", {"v": "a", "n": 1.5})
        note.append_child("note", {"v": "inside"})
        gone = doc.root.append_child("note", {"v": "gone"})
        gone.delete()
        text = doc.root.append_child("text", {})
        text.get_children()[0].insert(0, "grüße 😀 all", {"bold": True})
        note.set_attribute("v", "changed")
        await asyncio.wait_for(client.sync.close(path="kept.note"), STEP_SECONDS)
        before = await asyncio.wait_for(raw_state(client, "kept.note"), STEP_SECONDS)
        say("up")
        await asyncio.wait_for(back.wait(), STEP_SECONDS)
        after = await asyncio.wait_for(raw_state(client, "kept.note"), STEP_SECONDS)
        assert before == after, (before.hex(), after.hex())
        say("what was closed before kill -9 is the same byte by byte")
        doc = await client.sync.open(path="kept.note", create=False)
        assert doc.root.get_children()[0]["v"] == "changed"
        assert len(doc.root.get_children()) == 2
        await asyncio.wait_for(client.sync.close(path="kept.note"), STEP_SECONDS)


async def basics() -> None:
    reads = ApiScope.agent_default()
    reads.sync = SyncGrant(paths=[SyncPathGrant(path="docs/*", read_only=True)])
    async with join("writer") as writer, join("reader", reads) as reader:
        created = {"notes": {"children": [{"note": {"v": "one"}}]}}
        await writer.sync.create(path="docs/a.note", json=created, schema=SCHEMA)
        assert (await writer.sync.describe(path="/docs/a.note"))["notes"]["children"][0]["note"]["v"] == "one"
        say("a document is made and described")
        assert await writer.storage.exists(path="docs/a.note")
        mine = Watched(await writer.sync.open(path="docs/a.note"))
        assert list(writer.sync.get_open_documents()) == ["docs/a.note"]
        # An update without any change, as base64.
        await writer.sync.sync(path="docs/a.note", data=b"AAA=")
        theirs = Watched(await reader.sync.open(path="./docs/a.note"))
        assert theirs.values() == ["one"]
        mine.add("two")
        await theirs.until(lambda values: values == ["one", "two"], "the change at the reader's")
        mine.add("three")
        await theirs.until(lambda values: values == ["one", "two", "three"], "the next change, after the echo")
        say("who may only read follows")
        await refused(reader.sync.create(path="docs/b.note", schema=SCHEMA), 1001)
        await refused(reader.sync.open(path="docs/b.note", schema=SCHEMA), 1001)
        await refused(reader.sync.open(path="other.note", schema=SCHEMA), 1001)
        await refused(writer.sync.open(path="nothing.note", create=False), 1003)
        await refused(writer.sync.open(path="no.schema"), 1003)
        await refused(writer.sync.create(path="docs/a.note", schema=SCHEMA), 1004)
        theirs.add("forbidden")
        mine.add("four")
        await asyncio.wait_for(writer.sync.close(path="docs/a.note"), STEP_SECONDS)
        described = await writer.sync.describe(path="docs/a.note")
        values = [note["note"]["v"] for note in described["notes"]["children"]]
        assert values == ["one", "two", "three", "four"], values
        say("refusals have their codes")
        await writer.storage.upload(
            path=".schemas/memo.json", data=json.dumps(SCHEMA.to_json()).encode(), overwrite=True
        )
        doc = await writer.sync.open(path="x.memo", initial_json={"notes": {"children": [{"note": {"v": "i"}}]}})
        assert Watched(doc).values() == ["i"]
        assert set(doc.schema.elements_by_tag_name) == {"notes", "note", "text"}
        say("the schema of the extension is found")


asyncio.run({"basics": basics, "shared": shared, "kept": kept}[sys.argv[1]]())
say("done")
