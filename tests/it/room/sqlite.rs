//! SQLite databases over the socket: the happy paths of each tool, grants inside SQL, and what must leave nothing.

mod backup;

use super::client::{Client, error, json_of};
use super::harness::Edge;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use meshagent::columnar::{ipc, typed};
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};
use std::sync::Arc;

fn batch(ids: &[i64]) -> RecordBatch {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("n{id}"))));
    let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
}

fn data(batch: &RecordBatch) -> Content {
    Content::binary(
        json!({"kind": "data", "content_type": ipc::MIME_TYPE}),
        ipc::encode_batch(batch).unwrap(),
    )
}

async fn database(client: &mut Client, name: &str) {
    let made = client.invoke(
        "sqlite",
        "create_database",
        json!({"name": name, "namespace": null, "mode": "create"}),
    );
    assert_eq!(made.await, Content::Empty);
}

async fn execute(client: &mut Client, query: &str, params: Value) -> Content {
    let input = Content::binary(
        json!({"database": "d", "query": query, "params": params, "namespace": null}),
        Bytes::new(),
    );
    let id = client.begin("sqlite", "execute_sql", input).await;
    client.answer(id).await
}

async fn done(client: &mut Client, query: &str) {
    let answer = execute(client, query, Value::Null).await;
    assert_eq!(json_of(answer)["kind"], "statement", "{query}");
}

/// Pulls all items of a stream out; the last is the close.
async fn pulled(client: &mut Client, tool: &str, start: Value) -> Vec<Content> {
    let call = format!("{tool}-{}", client.id);
    let id = client.open("sqlite", tool, &call).await;
    client.item(&call, Content::binary(start, Bytes::new())).await;
    let answer = client.answer(id).await;
    assert_eq!(answer, Content::Control(Control::Open), "{tool}");
    let mut items = vec![];
    loop {
        if !matches!(items.last(), Some(Content::Error { .. })) {
            client.item(&call, Content::binary(json!({"kind": "pull"}), Bytes::new())).await;
        }
        match client.chunk(&call).await {
            Content::Control(Control::Close { .. }) => return items,
            item => items.push(item),
        }
    }
}

fn rows(items: &[Content]) -> Vec<Value> {
    let mut all = vec![];
    for item in items {
        let Content::Binary { headers, data } = item else { panic!("{item:?}") };
        assert_eq!(Value::Object(headers.clone()), json!({"kind": "data"}));
        for batch in ipc::decode(data).unwrap().1 {
            all.extend(typed::objects(&batch, typed::Form::Plain).unwrap());
        }
    }
    all
}

async fn query(client: &mut Client, sql: &str, params: Value) -> Vec<Value> {
    let Content::Binary { headers, .. } = execute(client, sql, params).await else {
        panic!("no query: {sql}")
    };
    assert_eq!(headers.keys().map(String::as_str).collect::<Vec<_>>(), ["kind", "query_id"]);
    let items =
        pulled(client, "read_sql_query", json!({"kind": "start", "query_id": headers["query_id"]})).await;
    assert_eq!(
        client.invoke("sqlite", "close_sql_query", json!({"query_id": headers["query_id"]})).await,
        Content::Empty
    );
    rows(&items)
}

/// Writes blocks the way the clients do: one for each pull.
async fn write(
    client: &mut Client,
    tool: &str,
    start: Value,
    schema: Bytes,
    blocks: Vec<Content>,
) -> Content {
    let call = format!("{tool}-{start}");
    let id = client.open("sqlite", tool, &call).await;
    client.item(&call, Content::binary(start, schema)).await;
    let answer = client.answer(id).await;
    if answer != Content::Control(Control::Open) {
        return answer;
    }
    let mut blocks = blocks.into_iter();
    loop {
        match client.chunk(&call).await {
            Content::Binary { headers, .. } => {
                assert_eq!(Value::Object(headers), json!({"kind": "pull"}));
                match blocks.next() {
                    Some(block) => client.item(&call, block).await,
                    None => client.end(&call).await,
                }
            }
            end => return end,
        }
    }
}

#[tokio::test]
async fn rows_go_in_and_come_out() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    database(&mut a, "d").await;
    let start = json!({"kind": "start", "database": "d", "name": "t", "mode": "create", "namespace": null});
    let schema = ipc::encode_schema(&batch(&[]).schema()).unwrap();
    let blocks = vec![data(&batch(&[1, 2])), data(&batch(&[3]))];
    let end = write(&mut a, "create_table", start.clone(), schema.clone(), blocks).await;
    assert_eq!(end, Content::Control(Control::END));
    let (code, text) = error(write(&mut a, "create_table", start, schema, vec![]).await);
    assert_eq!(code, 1004, "{text}");
    let insert = json!({"kind": "start", "database": "d", "table": "t", "namespace": null});
    let end = write(&mut a, "insert", insert.clone(), Bytes::new(), vec![data(&batch(&[4]))]).await;
    assert_eq!(end, Content::Control(Control::END));

    let search = |extra: Value| {
        let mut start =
            json!({"kind": "start", "database": "d", "table": "t", "params": null, "namespace": null});
        start.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        start
    };
    let found = pulled(
        &mut a,
        "search",
        search(json!({"where": "id >= ?", "params": [2], "limit": 2, "select": ["name"]})),
    )
    .await;
    assert_eq!(rows(&found), [json!({"name": "n2"}), json!({"name": "n3"})]);
    let found = pulled(&mut a, "search", search(json!({"where": {"id": 4, "name": "n4"}}))).await;
    assert_eq!(rows(&found), [json!({"id": 4, "name": "n4"})]);
    let none = pulled(&mut a, "search", search(json!({"where": "id > 99"}))).await;
    assert_eq!(none.len(), 1, "one block with the columns");
    let counted = a
        .invoke(
            "sqlite",
            "count",
            json!({"database": "d", "table": "t", "where": "id < 3", "namespace": null}),
        )
        .await;
    assert_eq!(json_of(counted), json!({"count": 2}));
    let update = json!({
        "database": "d", "table": "t", "where": "id = :id", "params": {"id": 1}, "namespace": null,
        "values": [{"column": "name", "value_json": "\"o'k\""}, {"column": "id", "value_json": "{\"expression\": \"id + 100\"}"}],
    });
    assert_eq!(json_of(a.invoke("sqlite", "update", update).await), json!({"rows_affected": 1}));
    let delete = json!({"database": "d", "table": "t", "where": "id IN (2, 3) -- all", "namespace": null});
    assert_eq!(json_of(a.invoke("sqlite", "delete", delete).await), json!({"rows_affected": 2}));
    let left = query(&mut a, "SELECT id, name FROM t ORDER BY id", Value::Null).await;
    assert_eq!(left, [json!({"id": 4, "name": "n4"}), json!({"id": 101, "name": "o'k"})]);
}

#[tokio::test]
async fn a_write_that_is_abandoned_or_refused_leaves_nothing() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    database(&mut a, "d").await;
    done(&mut a, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)").await;
    let insert = json!({"kind": "start", "database": "d", "table": "t", "namespace": null});
    let wrong = [
        (Content::binary(json!({"kind": "data"}), Bytes::from_static(b"not arrow")), "no Arrow IPC stream"),
        (Content::binary(json!({"kind": "pull"}), Bytes::new()), "got \"pull\""),
        (
            data(
                &RecordBatch::try_from_iter([("zap", Arc::new(Int64Array::from(vec![1])) as ArrayRef)])
                    .unwrap(),
            ),
            "no column `zap`",
        ),
    ];
    for (block, text) in wrong {
        let end = write(&mut a, "insert", insert.clone(), Bytes::new(), vec![block]).await;
        let Content::Control(Control::Close { status: 1007, message: Some(message) }) = end else {
            panic!("{end:?}")
        };
        assert!(message.contains(text), "{message}");
    }
    // The second block breaks the primary key: nothing of the first stays.
    let blocks = vec![data(&batch(&[1, 2])), data(&batch(&[2]))];
    let Content::Error { code, text } = write(&mut a, "insert", insert.clone(), Bytes::new(), blocks).await
    else {
        panic!("no error")
    };
    assert_eq!(code, Some(1005), "{text}");
    // A caller that disappears half way.
    let mut b = edge.join("b").await;
    let id = b.open("sqlite", "insert", "gone").await;
    b.item("gone", Content::binary(insert, Bytes::new())).await;
    b.answer(id).await;
    b.chunk("gone").await;
    b.item("gone", data(&batch(&[7]))).await;
    b.chunk("gone").await;
    drop(b);
    assert_eq!(query(&mut a, "SELECT count(*) AS n FROM t", Value::Null).await, [json!({"n": 0})]);
}

#[tokio::test]
async fn sql_errors_tell_the_place() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    database(&mut a, "d").await;
    let fails = async |client: &mut Client, sql: &str| error(execute(client, sql, Value::Null).await);
    let (code, text) = fails(&mut a, "SELECT 1,\n  zip FROM (SELECT 2)").await;
    assert_eq!((code, text.as_str()), (1002, "SQL, line 2 column 3: no such column: zip"));
    assert_eq!(fails(&mut a, "SELECT * FROM missing").await.0, 1003);
    assert!(fails(&mut a, "SELECT 1; SELECT 2").await.1.contains("execute_sql_batch"));
    assert!(fails(&mut a, "SELECT ?").await.1.contains("number 1 has no value"));
    done(&mut a, "CREATE TABLE t(id INTEGER)").await;
    let search = json!({"database": "d", "table": "t", "where": "id = zap", "namespace": null});
    let (_, text) = a.fails("sqlite", "count", search).await;
    assert_eq!(text, "SQL, line 1 column 6: no such column: zap");
    assert_eq!(
        a.fails("sqlite", "list_tables", json!({"database": "none", "namespace": null})).await.0,
        1003
    );
}

#[tokio::test]
async fn a_batch_is_done_whole_or_not_at_all() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    database(&mut a, "d").await;
    let batch = |commands: Value| json!({"database": "d", "namespace": null, "commands": commands});
    assert_eq!(
        json_of(a.invoke("sqlite", "execute_sql_batch", batch(json!([]))).await),
        json!({"results": []})
    );
    let commands = json!([
        {"query": "CREATE TABLE items(id INTEGER PRIMARY KEY, label TEXT)", "params": null},
        {"query": "INSERT INTO items VALUES (?, ?)", "params": [1, "Ada"]},
        {"query": "UPDATE items SET label = :label WHERE id = :id", "params": {"label": "Grace", "id": 1}},
        {"query": "SELECT * FROM items", "params": null},
    ]);
    let results = json_of(a.invoke("sqlite", "execute_sql_batch", batch(commands)).await);
    assert_eq!(results["results"][1], json!({"kind": "statement", "rows_affected": 1}));
    let opened = results["results"][3].clone();
    assert_eq!(opened["kind"], "query");
    let items =
        pulled(&mut a, "read_sql_query", json!({"kind": "start", "query_id": opened["query_id"]})).await;
    assert_eq!(rows(&items), [json!({"id": 1, "label": "Grace"})]);
    let commands = json!([
        {"query": "INSERT INTO items VALUES (2, 'gone')", "params": null},
        {"query": "INSERT INTO items VALUES (1, 'twice')", "params": null},
    ]);
    let (code, text) = a.fails("sqlite", "execute_sql_batch", batch(commands)).await;
    assert_eq!(code, 1005);
    assert!(text.starts_with("command 1 failed"), "{text}");
    assert_eq!(query(&mut a, "SELECT count(*) AS n FROM items", Value::Null).await, [json!({"n": 1})]);
}

#[tokio::test]
async fn sql_is_held_against_the_grants_of_each_table() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    database(&mut a, "d").await;
    done(&mut a, "CREATE TABLE mine(x)").await;
    done(&mut a, "CREATE TABLE theirs(x)").await;
    done(&mut a, "CREATE VIEW peek AS SELECT * FROM theirs").await;
    done(&mut a, "INSERT INTO mine VALUES (1)").await;
    let table = |name: &str, write: bool| json!({"database": "d", "table": name, "read": true, "write": write, "alter": false});
    let api = json!({"sqlite": {"databases": [{
        "name": "d", "create_table": false, "tables": [table("mine", true), table("peek", false)],
    }]}});
    let mut little = edge.join_as(&json!({"name": "little", "api": api})).await;
    assert_eq!(query(&mut little, "SELECT x FROM mine", Value::Null).await, [json!({"x": 1})]);
    done(&mut little, "INSERT INTO mine VALUES (2)").await;
    for refused in [
        "SELECT * FROM theirs",
        "SELECT (SELECT max(x) FROM theirs)",
        "SELECT * FROM peek",
        "INSERT INTO mine SELECT x FROM theirs",
        "DELETE FROM theirs",
        "DROP TABLE mine",
        "ALTER TABLE mine ADD COLUMN y",
        "CREATE TABLE new(x)",
        "CREATE TABLE copy AS SELECT * FROM mine",
        "CREATE TRIGGER t AFTER INSERT ON mine BEGIN DELETE FROM theirs; END",
        "CREATE INDEX i ON mine(x)",
        "PRAGMA table_info('theirs')",
    ] {
        let (code, text) = error(execute(&mut little, refused, Value::Null).await);
        assert_eq!(code, 1001, "{refused}: {text}");
    }
    let hidden =
        json!({"database": "d", "table": "mine", "where": "x IN (SELECT x FROM theirs)", "namespace": null});
    assert_eq!(little.fails("sqlite", "delete", hidden).await.0, 1001);
    for refused in [
        "ATTACH DATABASE '/tmp/x' AS other",
        "SELECT load_extension('x')",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = ON",
        "VACUUM INTO '/tmp/x.sqlite'",
        "BEGIN",
        "CREATE TEMP TABLE t(x)",
        "PRAGMA database_list",
    ] {
        let (code, text) = error(execute(&mut a, refused, Value::Null).await);
        assert!(matches!(code, 1001 | 1002), "{refused}: {code} {text}");
    }
    // What was refused left the connection as it was.
    assert_eq!(query(&mut a, "SELECT count(*) AS n FROM mine", Value::Null).await, [json!({"n": 2})]);
    done(&mut a, "CREATE TABLE copy AS SELECT * FROM mine").await;
    done(&mut a, "CREATE VIRTUAL TABLE f USING fts5(body)").await;
    done(&mut a, "INSERT INTO f VALUES ('hello there')").await;
    assert_eq!(query(&mut a, "SELECT body FROM f WHERE f MATCH 'there'", Value::Null).await.len(), 1);
    done(&mut a, "DROP TABLE f").await;
}

#[tokio::test]
async fn open_queries_stream_and_end_with_their_caller() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    database(&mut a, "d").await;
    done(&mut a, "CREATE TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n").await;
    assert_eq!(query(&mut a, "SELECT i FROM n", Value::Null).await.len(), 20_000);
    let open = async |client: &mut Client| {
        let Content::Binary { headers, .. } = execute(client, "SELECT i FROM n", Value::Null).await else {
            panic!()
        };
        headers["query_id"].as_str().unwrap().to_owned()
    };
    let id = open(&mut a).await;
    let mut b = edge.join("b").await;
    let start = json!({"kind": "start", "query_id": id});
    let call = b.open("sqlite", "read_sql_query", "stolen").await;
    b.item("stolen", Content::binary(start, Bytes::new())).await;
    assert_eq!(error(b.answer(call).await).0, 1003, "a query belongs to its connection");
    let cancelled = a.invoke("sqlite", "cancel_sql_query", json!({"query_id": id})).await;
    assert_eq!(json_of(cancelled), json!({"status": "cancelled"}));
    let again = a.invoke("sqlite", "cancel_sql_query", json!({"query_id": id})).await;
    assert_eq!(json_of(again), json!({"status": "not_cancellable"}));
    let mut open_queries = vec![];
    loop {
        match execute(&mut a, "SELECT i FROM n", Value::Null).await {
            Content::Binary { headers, .. } => open_queries.push(headers["query_id"].clone()),
            refused => {
                assert_eq!(error(refused).0, 1006);
                break;
            }
        }
        assert!(open_queries.len() < 100, "open queries are bounded");
    }
    // Dropping the database ends them all.
    let dropped = a
        .invoke("sqlite", "drop_database", json!({"name": "d", "namespace": null, "ignore_missing": false}))
        .await;
    assert_eq!(dropped, Content::Empty);
    assert_eq!(
        json_of(a.invoke("sqlite", "list_databases", json!({"namespace": null})).await),
        json!({"databases": []})
    );
}

/// The block that nobody takes is no reason to wait: the next one is interrupted while it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_dropped_while_a_query_reads_on_that_nobody_takes_from() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    for n in 0..5 {
        database(&mut a, "d").await;
        done(&mut a, "CREATE TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n").await;
        let opened = execute(&mut a, "SELECT i FROM n WHERE i < 5000 OR i > 199000", Value::Null).await;
        assert!(matches!(opened, Content::Binary { .. }), "{opened:?}");
        let drop_it = json!({"name": "d", "namespace": null, "ignore_missing": false});
        assert_eq!(a.invoke("sqlite", "drop_database", drop_it).await, Content::Empty, "round {n}");
    }
}

#[tokio::test]
async fn settings_namespaces_and_schemas() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let made = json!({"name": "D/../x", "namespace": ["Team", "ä"], "mode": "create", "replication_mode": "asynchronous", "flush_interval_ms": 5});
    assert_eq!(a.invoke("sqlite", "create_database", made.clone()).await, Content::Empty);
    assert_eq!(a.fails("sqlite", "create_database", made).await.0, 1004);
    let at = json!({"name": "D/../x", "namespace": ["Team", "ä"]});
    let settings = json_of(a.invoke("sqlite", "get_database_settings", at.clone()).await);
    assert_eq!(settings, json!({"replication_mode": "asynchronous", "flush_interval_ms": 5}));
    let listed = a.invoke("sqlite", "list_databases", json!({"namespace": ["Team", "ä"]})).await;
    assert_eq!(json_of(listed), json!({"databases": ["D/../x"]}));
    let listed = a.invoke("sqlite", "list_databases", json!({"namespace": null})).await;
    assert_eq!(json_of(listed), json!({"databases": []}));
    let change = json!({"name": "D/../x", "namespace": ["Team", "ä"], "replication_mode": "synchronous"});
    let settings = json_of(a.invoke("sqlite", "update_database_settings", change).await);
    assert_eq!(settings, json!({"replication_mode": "synchronous", "flush_interval_ms": 5}));
    let wrong = json!({"name": "D/../x", "namespace": ["Team", "ä"], "flush_interval_ms": 0});
    assert_eq!(a.fails("sqlite", "update_database_settings", wrong).await.0, 1002);
    assert!(matches!(a.invoke("sqlite", "flush_database", at.clone()).await, Content::Json(_)));
    let details = json_of(a.invoke("sqlite", "inspect_database", at).await);
    assert_eq!(details["tables"], 0);
    assert!(details["size_bytes"].as_u64().unwrap() > 0);
    assert_eq!(details["namespace"], json!(["Team", "ä"]));

    database(&mut a, "d").await;
    let start = json!({"kind": "start", "database": "d", "name": "t", "mode": "create", "namespace": null});
    let schema = batch(&[]).schema();
    write(&mut a, "create_table", start, ipc::encode_schema(&schema).unwrap(), vec![]).await;
    let inspect = json!({"database": "d", "table": "t", "namespace": null});
    let Content::Binary { data, .. } = a.invoke("sqlite", "inspect", inspect).await else {
        panic!("no schema")
    };
    assert_eq!(ipc::decode_schema(&data).unwrap(), schema);
    let more = Content::binary(
        json!({"database": "d", "table": "t", "namespace": null}),
        ipc::encode_schema(&arrow_schema::Schema::new(vec![arrow_schema::Field::new(
            "more",
            arrow_schema::DataType::Float32,
            true,
        )]))
        .unwrap(),
    );
    let id = a.begin("sqlite", "add_columns", more).await;
    assert_eq!(a.answer(id).await, Content::Empty);
    let drop = json!({"database": "d", "table": "t", "columns": ["name"], "namespace": null});
    assert_eq!(a.invoke("sqlite", "drop_columns", drop).await, Content::Empty);
    let rename = json!({"database": "d", "name": "t", "new_name": "T 2", "namespace": null});
    assert_eq!(a.invoke("sqlite", "rename_table", rename).await, Content::Empty);
    let tables = a.invoke("sqlite", "list_tables", json!({"database": "d", "namespace": null})).await;
    assert_eq!(json_of(tables), json!({"tables": ["T 2"]}));
    let drop = json!({"database": "d", "name": "T 2", "ignore_missing": false, "namespace": null});
    assert_eq!(a.invoke("sqlite", "drop_table", drop.clone()).await, Content::Empty);
    assert_eq!(a.fails("sqlite", "drop_table", drop).await.0, 1003);
}
