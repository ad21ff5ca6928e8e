"""Every method of the Python SDK's MemoryClient against the server under test: `memory.py CASE`.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM. Prints one line per thing that holds and `done` at the
end; any exception fails the run. Case `survives` says `up` when it has written, waits for the server to be killed and
started again, and finds what was acknowledged.
"""

import asyncio
import json
import sys

from meshagent.api import RoomClient
from meshagent.api.room_server_client import (
    MemoryEntityRecord,
    MemoryRelationshipRecord,
    MemoryRelationshipSelector,
)
from meshagent.tools.memories import MemoriesToolkit
from scaffold import join, refused, say

STEP_SECONDS = 60
RESTART_SECONDS = 120
UPSERTS = 30


async def stores(room: RoomClient) -> None:
    memory = room.memory
    await memory.create(name="graph", namespace=["team"])
    await refused(memory.create(name="graph", namespace=["team"]), 2002, "graph")
    await memory.create(name="graph", namespace=["team"], ignore_exists=True)
    assert await memory.list(namespace=["team"]) == ["graph"]
    assert await memory.list() == []
    await memory.upsert_nodes(name="graph", namespace=["team"], records=[MemoryEntityRecord(name="Old")])
    await memory.create(name="graph", namespace=["team"], overwrite=True)
    details = await memory.inspect(name="graph", namespace=["team"])
    assert (details.name, details.namespace, details.datasets) == ("graph", ["team"], []), details
    await memory.drop(name="graph", namespace=["team"])
    await refused(memory.drop(name="graph", namespace=["team"]), 2001, "memory does not exist: graph")
    await memory.drop(name="graph", namespace=["team"], ignore_missing=True)
    await refused(memory.inspect(name="graph"), 2001, "memory does not exist")
    say("memories come and go")


async def records(room: RoomClient) -> None:
    memory = room.memory
    await memory.create(name="people")
    alice = MemoryEntityRecord(
        entity_id="alice", name="Alice", entity_type="PERSON", context="likes tea", metadata={"role": "admin"}
    )
    bob = MemoryEntityRecord(entity_id="bob", name="Bob", entity_type="PERSON", confidence=0.5)
    await memory.upsert_nodes(name="people", records=[alice, bob])
    await memory.upsert_nodes(name="people", records=[MemoryEntityRecord(entity_id="alice", name="Alice", confidence=1)])
    knows = MemoryRelationshipRecord(source_entity_id="alice", target_entity_id="bob", relationship_type="KNOWS")
    await memory.upsert_relationships(name="people", records=[knows])
    await memory.upsert_table(
        name="people", table="Drink", records=[{"id": 1, "name": "tea", "payload": b"hello"}, {"id": 2, "name": "milk"}]
    )

    rows = await memory.query(
        name="people",
        statement="MATCH (a:PERSON)-[r:KNOWS]->(b) RETURN a.name AS a, b.name AS b, a.context AS context, "
        "a.confidence AS confidence, a.metadata AS metadata, labels(a) AS labels",
    )
    assert len(rows) == 1, rows
    assert (rows[0]["a"], rows[0]["b"], rows[0]["context"], rows[0]["confidence"]) == ("Alice", "Bob", "likes tea", 1.0)
    assert rows[0]["metadata"].fields == {"role": "admin"} and rows[0]["labels"] == ["Entity", "PERSON"], rows
    drinks = await memory.query(name="people", statement="MATCH (d:Drink) RETURN d.payload ORDER BY d.id")
    assert drinks == [{"d.payload": b"hello"}, {"d.payload": None}], drinks
    assert await memory.query(name="people", statement="MATCH (n:Nobody) RETURN n") == []
    await refused(memory.query(name="people", statement="MATCH (n\nDELETE n"), 1002, "line 2, column 1")
    details = await memory.inspect(name="people")
    assert {d.name: d.rows for d in details.datasets} == {"Drink": 2, "Entity": 2, "Relationship": 1}, details
    say("records are written and queried")

    found = await memory.recall(name="people", query="who likes tea?", limit=1)
    assert [item.name for item in found.items] == ["Alice"] and 0 < found.items[0].score < 1, found
    assert [r.relationship_type for r in found.items[0].relationships] == ["KNOWS"]
    bare = await memory.recall(name="people", query="Alice", include_relationships=False)
    assert bare.items[0].relationships == []
    say("records are recalled")

    selector = MemoryRelationshipSelector(source_entity_id="alice", target_entity_id="bob")
    assert (await memory.delete_relationships(name="people", relationships=[selector])).deleted_relationships == 1
    await memory.upsert_relationships(name="people", records=[knows])
    gone = await memory.delete_entities(name="people", entity_ids=["bob", "nobody"])
    assert (gone.deleted_entities, gone.deleted_relationships) == (1, 1), gone
    stats = await memory.optimize(name="people")
    assert {d.dataset for d in stats.datasets} == {"Drink", "Entity", "Relationship"}, stats
    assert len(await memory.query(name="people", statement="MATCH (n) RETURN n")) == 1
    say("records are deleted, and the rest compacted")


async def ingestion(room: RoomClient) -> None:
    memory = room.memory
    await memory.create(name="notes")
    first = await memory.ingest_text(name="notes", text="Alice works at Acme Corp. She likes tea.")
    assert (first.stats.entities, first.stats.relationships, first.stats.sources) == (4, 5, 1), first
    assert len(first.entity_ids) == 4
    assert await memory.ingest_text(name="notes", text="Alice works at Acme Corp. She likes tea.") == first
    image = await memory.ingest_image(
        name="notes", caption="Bob visited Paris.", data=b"\x89PNG", mime_type="image/png", annotations={"by": "Carol"}
    )
    assert image.stats.sources == 1 and image.stats.entities == 4, image
    inline = await memory.ingest_file(name="notes", path="a.txt", text="Dora lives in Rome.", mime_type="text/plain")
    assert inline.stats.relationships >= 1, inline
    await room.storage.upload(path="notes/b.txt", data="Erik plays chess.".encode(), overwrite=True)
    stored = await memory.ingest_file(name="notes", path="notes/b.txt")
    assert stored.stats.entities == 3, stored
    several = await memory.ingest_from_storage(name="notes", paths=["notes/b.txt"])
    assert several.stats.sources == 1, several
    rows = await memory.query(
        name="notes", statement="MATCH (a)-[r]->(b) WHERE type(r) <> 'MENTIONS' RETURN a.name, type(r), b.name ORDER BY a.name, b.name"
    )
    assert [(row["a.name"], row["type(r)"], row["b.name"]) for row in rows] == [
        ("Alice", "WORKS_AT", "Acme Corp"),
        ("Alice", "LIKES", "tea"),
        ("Bob", "TRAVELLED_TO", "Paris"),
        ("Dora", "LIVES_IN", "Rome"),
        ("Erik", "PLAYS", "chess"),
    ], rows
    await refused(memory.ingest_text(name="notes", text="x", strategy="llm"), 1007, "OPENAI_API_KEY")
    await refused(memory.ingest_file(name="notes", path="nothing.txt"), 3001, "nothing.txt")
    await refused(memory.ingest_text(name="nothing", text="x"), 2001, "memory does not exist")
    say("texts, pictures and files are remembered")


async def tables(room: RoomClient) -> None:
    memory = room.memory
    await memory.create(name="rows")
    await refused(memory.ingest_from_table(name="rows", table="missing"), 1003, "missing")
    await room.datasets.create_table_from_data(
        name="log", data=[{"n": 1, "said": "Fay likes jazz."}, {"n": 2, "said": "Gus likes rock."}]
    )
    result = await memory.ingest_from_table(name="rows", table="log", text_columns=["said"], limit=10)
    assert (result.stats.sources, result.stats.entities) == (2, 6), result
    say("rows of datasets are remembered")


async def toolkit(room: RoomClient) -> None:
    """The platform's own tools for agents, whose queries are fixed."""
    tools = {tool.name: tool for tool in MemoriesToolkit(room=room, memory_name="agent").tools}
    call = lambda name, **arguments: tools[name].execute(None, **arguments)
    assert (await call("search_memories", query="anything"))["memories"] == []
    await room.memory.ingest_text(name="agent", text="Hal knows Ida.")
    found = await call("search_memories", query="Hal")
    assert found["memories"][0]["name"] == "Hal", found
    recent = await call("get_recent_memories", limit=5)
    assert len(recent["memories"]) == 3, recent
    edges = (await call("get_recent_relationships", relationship_type="KNOWS"))["relationships"]
    assert [(e["source_entity_name"], e["target_entity_name"]) for e in edges] == [("Hal", "Ida")], edges
    hal = found["memories"][0]["entity_id"]
    assert (await call("get_entity", entity_id=hal))["entity"]["name"] == "Hal"
    assert (await call("delete_entity", entity_id=hal))["deleted"]
    assert (await call("get_entity", entity_id=hal))["entity"] is None
    await call("delete_all_memories", confirm=True)
    assert (await call("get_recent_memories"))["memories"] == []
    say("the tools of agents find what they ask for")


async def methods() -> None:
    async with join("writer") as room:
        for part in (stores, records, ingestion, toolkit):
            await asyncio.wait_for(part(room), STEP_SECONDS)


async def from_tables() -> None:
    async with join("writer") as room:
        await asyncio.wait_for(tables(room), STEP_SECONDS)


async def survives() -> None:
    async with join("writer") as room:
        await room.memory.create(name="kept")
        for n in range(UPSERTS):
            await room.memory.upsert_nodes(name="kept", records=[MemoryEntityRecord(entity_id=f"e{n}", name=f"E{n}")])
            if n > 0:
                edge = MemoryRelationshipRecord(source_entity_id=f"e{n - 1}", target_entity_id=f"e{n}")
                await room.memory.upsert_relationships(name="kept", records=[edge])
        before = await room.memory.query(name="kept", statement="MATCH (n) RETURN n ORDER BY n.entity_id")
        back = asyncio.Event()
        room.on("reconnected", lambda **_: back.set())
        say("up")
        await asyncio.wait_for(back.wait(), RESTART_SECONDS)
        after = await room.memory.query(name="kept", statement="MATCH (n) RETURN n ORDER BY n.entity_id")
        count = await room.memory.query(name="kept", statement="MATCH ()-[r]->() RETURN count(r) AS n")
        assert after == before and len(after) == UPSERTS, json.dumps(len(after))
        assert count == [{"n": UPSERTS - 1}], count
        say("what was acknowledged is there after the server was killed")


cases = {"methods": methods, "from_tables": from_tables, "survives": survives}

if __name__ == "__main__":
    asyncio.run(cases[sys.argv[1]]())
    say("done")
