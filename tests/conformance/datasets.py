"""Every method of the Python SDK's `RoomClient.datasets` against the server under test: `datasets.py datasets`.

Reads what `room.py` reads. Prints `METHOD ok` for each method and `done` at the end; any exception fails the run.
"""

import asyncio
import sys
import uuid
from datetime import date, datetime, timezone

import pyarrow as pa
from meshagent.api import RoomClient
from meshagent.api.participant_token import ApiScope, DatasetGrant, TableGrant
from meshagent.api.room_server_client import (
    DatasetExpression,
    DatasetIndexConfig,
    DatasetJson,
    DatasetOptimizeConfig,
    DatasetSqlQuery,
    DatasetSqlStatement,
    SqlTableReference,
)
from scaffold import join, ok, refused

STEP_SECONDS = 90


SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("day", pa.date32()),
        pa.field("score", pa.float32()),
        pa.field("key", pa.uuid()),
        pa.field("data", pa.json_(pa.large_string())),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("vector", pa.list_(pa.float32(), 2)),
    ]
)
KEY = uuid.UUID("7f6c9a52-8c7e-4b8e-8d0a-0d9b6f0f7c11")
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)


def record(n: int) -> dict:
    return {
        "id": n,
        "name": f"n'{n} red" if n % 2 else f"n'{n} blue",
        "at": AT,
        "day": date(2026, 1, n + 1),
        "score": n / 2,
        "key": KEY,
        "data": DatasetJson({"n": [n]}),
        "tags": ["a", f"b{n}"],
        "vector": [float(n), 0.0],
    }


async def tables(client: RoomClient) -> None:
    datasets = client.datasets
    await datasets.create_table_with_schema(name="t", schema=SCHEMA, metadata={"owner": "me"})
    ok("create_table_with_schema")
    await refused(datasets.create_table_with_schema(name="t", schema=SCHEMA), 1004)
    await datasets.create_table_with_schema(name="t", schema=SCHEMA, mode="create_if_not_exists")
    schema = await datasets.inspect(table="t")
    assert schema.equals(SCHEMA), schema
    assert schema.metadata[b"owner"] == b"me", schema.metadata
    ok("inspect")
    await datasets.insert(table="t", records=[record(n) for n in range(4)])
    ok("insert")

    async def more():
        yield pa.Table.from_pylist([dict(id=4, name="n'4 blue")], schema=pa.schema([SCHEMA.field("id"), SCHEMA.field("name")]))

    await datasets.insert_stream(table="t", chunks=more())
    ok("insert_stream")
    await datasets.merge(table="t", on="id", records=[{**record(4), "name": "merged"}, record(5)])
    ok("merge")
    await datasets.merge_stream(table="t", on="id", chunks=[record(5)])
    ok("merge_stream")
    row = (await datasets.search(table="t", where={"id": 3})).to_pylist()[0]
    assert (row["name"], row["at"], row["day"], row["score"]) == ("n'3 red", AT, date(2026, 1, 4), 1.5), row
    assert (row["key"], row["tags"], row["vector"]) == (KEY, ["a", "b3"], [3.0, 0.0]), row
    assert (await datasets.search(table="t", where={"name": "merged"}, select=["id"])).to_pylist() == [{"id": 4}]
    assert (await datasets.search(table="t", where="id > 99")).num_rows == 0
    nearest = (await datasets.search(table="t", vector=[3.1, 0.0], limit=2)).to_pylist()
    assert [row["id"] for row in nearest] == [3, 4], nearest
    ok("search")
    assert sum([b.num_rows async for b in datasets.search_stream(table="t", offset=1, limit=3)]) == 3
    ok("search_stream")
    assert await datasets.count(table="t", where="score >= 1.0") == 4
    ok("count")
    await datasets.update(table="t", where="id = 1", values={"name": "new", "score": DatasetExpression("score * 10"), "data": DatasetJson([1])})
    row = (await datasets.search(table="t", where={"id": 1})).to_pylist()[0]
    assert (row["name"], row["score"]) == ("new", 5.0), row
    ok("update")
    await datasets.delete(table="t", where="id = 5")
    assert await datasets.count(table="t") == 5
    ok("delete")
    await datasets.create_table_from_data(name="made", data=pa.table({"a": [1, 2], "b": ["x", None]}))
    ok("create_table_from_data")

    async def chunks():
        for n in range(3):
            yield pa.table({"n": [n]})

    await datasets.create_table_from_data_stream(name="streamed", chunks=chunks())
    assert await datasets.count(table="streamed") == 3
    ok("create_table_from_data_stream")
    await datasets.create_table_from_json_data(name="json", data=[{"id": n, "key": KEY, "tags": ["x"], "any": DatasetJson({"n": n})} for n in range(200)])
    assert await datasets.count(table="json") == 200
    assert (await datasets.search(table="json", where="id = 7")).to_pylist()[0]["key"] == KEY
    ok("create_table_from_json_data")
    await datasets.add_columns(table="made", new_columns={"c": pa.float64()})
    await datasets.add_columns(table="made", new_columns={"d": "a * 2"})
    assert (await datasets.search(table="made", where="a = 2")).to_pylist()[0]["d"] == 4
    ok("add_columns")
    await datasets.drop_columns(table="made", columns=["b"])
    assert (await datasets.inspect(table="made")).names == ["a", "c", "d"]
    ok("drop_columns")
    await datasets.rename_table(name="made", new_name="named")
    ok("rename_table")
    await datasets.create_table_with_schema(name="deep", schema={"x": pa.int64()}, namespace=["team", "a"])
    assert await datasets.list_tables(namespace=["team", "a"]) == ["deep"]
    assert await datasets.list_tables() == ["json", "named", "streamed", "t"]
    ok("list_tables")
    await datasets.drop_table(name="named")
    await datasets.drop_table(name="named", ignore_missing=True)
    await refused(datasets.drop_table(name="named"), 1003)
    ok("drop_table")


async def sql(client: RoomClient) -> None:
    datasets = client.datasets
    result = await datasets.sql(query="SELECT count(*) AS n, max(name) AS m FROM t")
    assert result.to_pylist()[0]["n"] == 5, result.to_pylist()
    params = pa.table({"least": [2]})
    result = await datasets.sql(query="SELECT id FROM x WHERE id >= $least ORDER BY id", tables=[SqlTableReference(name="t", alias="x")], params=params)
    assert [row["id"] for row in result.to_pylist()] == [2, 3, 4], result.to_pylist()
    ok("sql")
    assert [b async for b in datasets.sql_stream(query="SELECT 1 AS one", tables=["t"])][0].to_pylist() == [{"one": 1}]
    ok("sql_stream")
    opened = await datasets.execute_sql(query="SELECT id FROM t")
    assert isinstance(opened, DatasetSqlQuery) and opened.schema.names == ["id"]
    assert sum([b.num_rows async for b in datasets.read_sql_query(query_id=opened.query_id)]) == 5
    await datasets.close_sql_query(query_id=opened.query_id)
    ok("execute_sql")
    ok("read_sql_query")
    ok("close_sql_query")
    opened = await datasets.open_sql_query(query="SELECT id FROM t")
    ok("open_sql_query")
    assert (await datasets.cancel_sql_query(query_id=opened.query_id)).status == "cancelled"
    ok("cancel_sql_query")
    statement = await datasets.execute_sql(query="DELETE FROM streamed WHERE n = 0")
    assert statement == DatasetSqlStatement(1), statement
    assert await datasets.execute_sql_statement(query="INSERT INTO streamed VALUES (7), (8)") == 2
    ok("execute_sql_statement")
    error = await refused(datasets.sql(query="SELECT\n  nix FROM t"), 1002)
    assert "line 2 column 3" in str(error), error


async def versions(client: RoomClient) -> None:
    datasets = client.datasets
    listed = await datasets.list_versions(table="t")
    assert len(listed) >= 4 and listed[0].version < listed[-1].version, listed
    ok("list_versions")
    first = listed[0].version
    assert await datasets.count(table="t", version=first) == 0
    stats = await datasets.stats(table="t")
    assert stats.dataset["num_rows"] == 5, stats
    ok("stats")
    await datasets.restore(table="streamed", version=1)
    assert await datasets.count(table="streamed") == 3
    ok("restore")
    result = await datasets.optimize(table="t", config=DatasetOptimizeConfig(cleanup_old_versions=True, older_than_seconds=3600))
    assert result.compaction is not None and result.cleanup is not None, result
    await datasets.optimize(table="t")
    ok("optimize")
    await datasets.create_branch(branch="work")
    ok("create_branch")
    await datasets.insert(table="streamed", records=[{"n": 99}], branch="work")
    assert await datasets.count(table="streamed", branch="work") == 4
    assert await datasets.count(table="streamed") == 3
    assert "work" in [branch.name for branch in await datasets.list_branches()]
    ok("list_branches")
    await datasets.delete_branch(branch="work")
    ok("delete_branch")


async def indexes(client: RoomClient) -> None:
    datasets = client.datasets
    await datasets.create_index(table="t", config=DatasetIndexConfig(column="id", index_type="BTREE", name="by_id"))
    await datasets.create_index(table="t", config=DatasetIndexConfig(column="name", index_type="FTS"))
    ok("create_index")
    found = await datasets.search(table="t", text="red")
    assert [row["id"] for row in found.to_pylist()] == [3], found.to_pylist()
    listed = await datasets.list_indexes(table="t")
    assert ("by_id", ["id"]) in [(index.name, index.columns) for index in listed], listed
    ok("list_indexes")
    await datasets.drop_index(table="t", name="by_id")
    ok("drop_index")


async def watching(client: RoomClient) -> None:
    events: asyncio.Queue = asyncio.Queue()

    async def watch() -> None:
        async for event in client.datasets.watch_table(table="streamed"):
            await events.put(event)

    task = asyncio.create_task(watch())
    try:
        event = await asyncio.wait_for(events.get(), STEP_SECONDS)
        while event.kind != "ready":
            assert event.phase == "initial", event
            event = await asyncio.wait_for(events.get(), STEP_SECONDS)
        await client.datasets.insert(table="streamed", records=[{"n": 5}])
        event = await asyncio.wait_for(events.get(), STEP_SECONDS)
        assert (event.phase, event.change_type, event.table.to_pylist()) == ("delta", "inserted", [{"n": 5}]), event
    finally:
        task.cancel()
    ok("watch_table")


async def grants() -> None:
    scope = ApiScope(dataset=DatasetGrant(tables=[TableGrant(name="t", read=True)]))
    async with join("narrow", scope) as narrow:
        assert await narrow.datasets.count(table="t") == 5
        await refused(narrow.datasets.delete(table="t", where="true"), 1001)
        await refused(narrow.datasets.sql(query="SELECT * FROM streamed"), 1001)
        ok("grants")


async def run() -> None:
    async with join("datasets") as client:
        await tables(client)
        await sql(client)
        await versions(client)
        await indexes(client)
        await watching(client)
        await grants()
    print("done", flush=True)


if __name__ == "__main__":
    assert sys.argv[1:] == ["datasets"], "usage: datasets.py datasets"
    asyncio.run(asyncio.wait_for(run(), STEP_SECONDS))
