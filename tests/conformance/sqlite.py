"""Every method of the Python SDK's `RoomClient.sqlite` against the server under test: `sqlite.py sqlite`.

Reads what `room.py` reads. Prints `METHOD ok` for each method and `done` at the end; any exception fails the run.
"""

import asyncio
import sys
import uuid
from datetime import date, datetime, timezone

import pyarrow as pa
from meshagent.api import RoomClient, RoomException
from meshagent.api.participant_token import ApiScope, SqliteDatabaseGrant, SqliteGrant, SqliteTableGrant
from meshagent.api.room_server_client import DatasetExpression, DatasetJson, SqliteSqlCommand, SqliteSqlQuery, SqliteSqlStatement
from scaffold import join, ok, refused

STEP_SECONDS = 60


SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("day", pa.date32()),
        pa.field("flag", pa.bool_()),
        pa.field("score", pa.float32()),
        pa.field("raw", pa.binary()),
        pa.field("key", pa.uuid()),
        pa.field("data", pa.json_(pa.string())),
        pa.field("tags", pa.list_(pa.string())),
    ]
)
KEY = uuid.UUID("7f6c9a52-8c7e-4b8e-8d0a-0d9b6f0f7c11")
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)


def record(n: int) -> dict:
    return {
        "id": n,
        "name": f"n'{n}",
        "at": AT,
        "day": date(2026, 1, n + 1),
        "flag": n % 2 == 0,
        "score": n / 2,
        "raw": bytes([0, n]),
        "key": KEY,
        "data": DatasetJson({"n": [n]}),
        "tags": ["a", f"b{n}"],
    }


async def databases(client: RoomClient) -> None:
    sqlite = client.sqlite
    await sqlite.create_database(name="d", replication_mode="synchronous", flush_interval_ms=50)
    ok("create_database")
    await refused(sqlite.create_database(name="d"), 1004)
    await sqlite.create_database(name="d", mode="create_if_not_exists")
    await sqlite.create_database(name="d", namespace=["team"])
    assert await sqlite.list_databases() == ["d"]
    assert await sqlite.list_databases(namespace=["team"]) == ["d"]
    ok("list_databases")
    settings = await sqlite.get_database_settings(name="d")
    assert (settings.replication_mode, settings.flush_interval_ms) == ("synchronous", 50)
    ok("get_database_settings")
    settings = await sqlite.update_database_settings(name="d", replication_mode="asynchronous")
    assert (settings.replication_mode, settings.flush_interval_ms) == ("asynchronous", 50)
    ok("update_database_settings")
    await sqlite.flush_database(name="d")
    ok("flush_database")
    details = await sqlite.inspect_database(name="d", namespace=["team"])
    assert (details.name, details.namespace, details.tables) == ("d", ["team"], 0) and details.size_bytes > 0
    ok("inspect_database")
    await sqlite.drop_database(name="d", namespace=["team"])
    await sqlite.drop_database(name="d", namespace=["team"], ignore_missing=True)
    await refused(sqlite.drop_database(name="d", namespace=["team"]), 1003)
    ok("drop_database")


async def tables(client: RoomClient) -> None:
    sqlite = client.sqlite
    await sqlite.create_table_with_schema(database="d", name="t", schema=SCHEMA)
    ok("create_table_with_schema")
    assert await sqlite.inspect(database="d", table="t") == SCHEMA, await sqlite.inspect(database="d", table="t")
    ok("inspect")
    await sqlite.insert(database="d", table="t", records=[record(n) for n in range(5)])
    ok("insert")
    found = await sqlite.search(database="d", table="t", where="id = ?", params=[3])
    row = found.to_pylist()[0]
    assert (row["id"], row["name"], row["at"], row["day"]) == (3, "n'3", AT, date(2026, 1, 4)), row
    assert (row["flag"], row["score"], row["raw"], row["key"]) == (False, 1.5, b"\0\3", KEY), row
    assert row["tags"] == ["a", "b3"] and '"n"' in str(row["data"]), row
    found = await sqlite.search(database="d", table="t", where={"name": "n'4"}, select=["id"], limit=5, offset=0)
    assert found.to_pylist() == [{"id": 4}]
    assert (await sqlite.search(database="d", table="t", where="id > 99")).num_rows == 0
    ok("search")
    batches = [b async for b in sqlite.search_stream(database="d", table="t", select=["id"])]
    assert sum(b.num_rows for b in batches) == 5
    ok("search_stream")
    assert await sqlite.count(database="d", table="t", where={"flag": True}) == 3
    ok("count")
    changed = await sqlite.update(
        database="d",
        table="t",
        where="id = :id",
        params={"id": 1},
        values={"name": "new", "score": DatasetExpression("score * 10"), "raw": b"x", "data": DatasetJson([1])},
    )
    assert changed == 1
    row = (await sqlite.search(database="d", table="t", where={"id": 1})).to_pylist()[0]
    assert (row["name"], row["score"], row["raw"]) == ("new", 5.0, b"x"), row
    ok("update")
    assert await sqlite.delete(database="d", table="t", where="id >= ?", params=[3]) == 2
    ok("delete")
    await sqlite.create_table_from_data(database="d", name="made", data=pa.table({"a": [1, 2], "b": ["x", None]}))
    assert (await sqlite.search(database="d", table="made")).to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    ok("create_table_from_data")
    await sqlite.add_columns(database="d", table="made", new_columns={"c": pa.float64()})
    ok("add_columns")
    await sqlite.drop_columns(database="d", table="made", columns=["b"])
    assert (await sqlite.inspect(database="d", table="made")).names == ["a", "c"]
    ok("drop_columns")
    await sqlite.rename_table(database="d", name="made", new_name="named")
    assert await sqlite.list_tables(database="d") == ["named", "t"]
    ok("rename_table")
    ok("list_tables")
    await sqlite.drop_table(database="d", name="named")
    await sqlite.drop_table(database="d", name="named", ignore_missing=True)
    await refused(sqlite.drop_table(database="d", name="named"), 1003)
    ok("drop_table")


async def sql(client: RoomClient) -> None:
    sqlite = client.sqlite
    made = await sqlite.execute_sql(database="d", query="CREATE TABLE s(id INTEGER PRIMARY KEY, x TEXT)")
    assert isinstance(made, SqliteSqlStatement)
    assert await sqlite.execute_sql_statement(database="d", query="INSERT INTO s VALUES (?, ?), (2, 'b')", params=[1, "a"]) == 2
    ok("execute_sql_statement")
    assert (await sqlite.sql(database="d", query="SELECT * FROM s ORDER BY id")).to_pylist() == [
        {"id": 1, "x": "a"},
        {"id": 2, "x": "b"},
    ]
    ok("sql")
    rows = [b async for b in sqlite.sql_stream(database="d", query="SELECT count(*) AS n FROM s WHERE x = :x", params={"x": "a"})]
    assert pa.concat_tables(rows).to_pylist() == [{"n": 1}]
    ok("sql_stream")
    opened = await sqlite.execute_sql(database="d", query="SELECT x FROM s")
    assert isinstance(opened, SqliteSqlQuery) and opened.schema.names == ["x"]
    ok("execute_sql")
    assert sum([b.num_rows async for b in sqlite.read_sql_query(query_id=opened.query_id)]) == 2
    ok("read_sql_query")
    await sqlite.close_sql_query(query_id=opened.query_id)
    ok("close_sql_query")
    opened = await sqlite.open_sql_query(database="d", query="SELECT x FROM s")
    ok("open_sql_query")
    assert (await sqlite.cancel_sql_query(query_id=opened.query_id)).status == "cancelled"
    ok("cancel_sql_query")
    error = await refused(sqlite.sql(database="d", query="SELECT\n  nix FROM s"), 1002)
    assert "line 2 column 3" in str(error), error
    results = await sqlite.execute_sql_batch(
        database="d",
        commands=[SqliteSqlCommand("INSERT INTO s VALUES (3, 'c')"), SqliteSqlCommand("SELECT max(id) AS m FROM s")],
    )
    assert results[0] == SqliteSqlStatement(1)
    chunks = [chunk async for chunk in sqlite.read_sql_query(query_id=results[1].query_id)]
    assert pa.concat_tables(chunks).to_pylist() == [{"m": 3}]
    error = await refused(
        sqlite.execute_sql_batch(
            database="d",
            commands=[SqliteSqlCommand("INSERT INTO s VALUES (4, 'd')"), SqliteSqlCommand("INSERT INTO s VALUES (1, 'e')")],
        ),
        1005,
    )
    assert "command 1 failed" in str(error), error
    assert await sqlite.count(database="d", table="s") == 3
    ok("execute_sql_batch")


async def transfer(client: RoomClient) -> None:
    sqlite = client.sqlite
    chunks = [chunk async for chunk in sqlite.backup(database="d")]
    ok("backup")

    async def source():
        for chunk in chunks:
            yield chunk

    await sqlite.restore(database="copy", source=source())
    assert await sqlite.count(database="copy", table="s") == 3
    await refused(sqlite.restore(database="copy", source=source()), 1004)
    ok("restore")

    async def failing():
        yield chunks[0]
        raise OSError("the disk is gone")

    try:
        await sqlite.restore(database="half", source=failing())
        raise AssertionError("a failing source restores nothing")
    except (OSError, RoomException):
        pass
    assert await sqlite.list_databases() == ["copy", "d"]


async def by_database(client: RoomClient) -> None:
    db = client.sqlite.database("d")
    ok("database")
    assert await db.count(table="s") == 3 and "s" in await db.list_tables()
    assert (await db.sql(query="SELECT 1 AS one")).to_pylist() == [{"one": 1}]
    fresh = client.sqlite.database("fresh")
    await fresh.create_database(mode="create")
    await fresh.create_table_with_schema(name="t", schema=SCHEMA)
    assert await fresh.inspect(table="t") == SCHEMA
    await fresh.insert(table="t", records=[record(n) for n in range(3)])
    assert await fresh.update(table="t", where="id = 1", values={"name": "changed"}) == 1
    assert await fresh.delete(table="t", where="id = 2") == 1
    assert (await fresh.search(table="t", select=["id"])).num_rows == 2
    assert sum([b.num_rows async for b in fresh.search_stream(table="t")]) == 2
    assert sum([b.num_rows async for b in fresh.sql_stream(query="SELECT id FROM t")]) == 2
    await fresh.create_table_from_data(name="made", data=pa.table({"a": [1], "b": [2]}))
    await fresh.add_columns(table="made", new_columns={"c": pa.float64()})
    await fresh.drop_columns(table="made", columns=["b"])
    await fresh.rename_table(name="made", new_name="named")
    assert await fresh.execute_sql_statement(query="INSERT INTO named (a) VALUES (2)") == 1
    assert (await fresh.execute_sql_batch(commands=[SqliteSqlCommand("DELETE FROM named WHERE a = 2")]))[0] == SqliteSqlStatement(1)
    assert isinstance(await fresh.execute_sql(query="SELECT * FROM named"), SqliteSqlQuery)
    await fresh.drop_table(name="named")
    assert (await fresh.inspect_database()).tables == 1
    await fresh.drop_database()
    ok("SqliteDatabaseClient")


async def grants() -> None:
    table = SqliteTableGrant(database="d", table="s", read=True, write=False, alter=False)
    scope = ApiScope(sqlite=SqliteGrant(databases=[SqliteDatabaseGrant(name="d", tables=[table])], create_database=False))
    async with join("narrow", scope) as narrow:
        assert (await narrow.sqlite.sql(database="d", query="SELECT count(*) AS n FROM s")).to_pylist() == [{"n": 3}]
        await refused(narrow.sqlite.sql(database="d", query="SELECT * FROM t"), 1001)
        await refused(narrow.sqlite.execute_sql_statement(database="d", query="DELETE FROM s"), 1001)
        await refused(narrow.sqlite.create_database(name="no"), 1001)
        ok("grants")


async def run() -> None:
    async with join("sqlite") as client:
        await databases(client)
        await tables(client)
        await sql(client)
        await transfer(client)
        await by_database(client)
        await grants()
    print("done", flush=True)


if __name__ == "__main__":
    assert sys.argv[1:] == ["sqlite"], "usage: sqlite.py sqlite"
    asyncio.run(asyncio.wait_for(run(), STEP_SECONDS))
