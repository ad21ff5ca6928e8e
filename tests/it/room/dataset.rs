//! Datasets over the socket: streams in and out, SQL against grants, watching, and what must leave nothing.

use super::client::{Client, error, json_of};
use super::harness::Edge;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use meshagent::columnar::{ipc, typed};
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};
use std::sync::Arc;

const CLOSED: Content = Content::Control(Control::END);

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

fn rows_of(item: &Content) -> Vec<Value> {
    let Content::Binary { data, .. } = item else { panic!("{item:?}") };
    let batches = ipc::decode(data).unwrap().1;
    batches.iter().flat_map(|batch| typed::objects(batch, typed::Form::Plain).unwrap()).collect()
}

/// Writes blocks the way the clients do: one for each pull.
async fn write(client: &mut Client, tool: &str, start: Content, blocks: Vec<Content>) -> Content {
    let call = format!("{tool}-{:p}", &raw const start);
    let id = client.open("dataset", tool, &call).await;
    client.item(&call, start).await;
    let answer = client.answer(id).await;
    if answer != Content::Control(Control::Open) {
        return answer;
    }
    let mut blocks = blocks.into_iter();
    loop {
        let item = client.chunk(&call).await;
        if item.kind() != Some("pull") {
            return item;
        }
        match blocks.next() {
            Some(block) => client.item(&call, block).await,
            None => client.end(&call).await,
        }
    }
}

fn create(name: &str) -> Content {
    Content::binary(json!({"kind": "start", "name": name, "mode": "create"}), Bytes::new())
}

fn into(table: &str) -> Content {
    Content::binary(json!({"kind": "start", "table": table, "on": "id"}), Bytes::new())
}

/// Pulls all rows of a stream out.
async fn read(client: &mut Client, tool: &str, start: Value) -> Vec<Value> {
    let call = format!("{tool}-{start}-{}", client.id);
    let id = client.open("dataset", tool, &call).await;
    client.item(&call, Content::binary(start, Bytes::new())).await;
    assert_eq!(client.answer(id).await, Content::Control(Control::Open), "{tool}");
    let mut rows = vec![];
    loop {
        client.item(&call, Content::binary(json!({"kind": "pull"}), Bytes::new())).await;
        match client.chunk(&call).await {
            Content::Control(control) => {
                assert_eq!(control, Control::END);
                return rows;
            }
            item => rows.extend(rows_of(&item)),
        }
    }
}

async fn search(client: &mut Client, extra: Value) -> Vec<Value> {
    let mut start =
        json!({"kind": "start", "table": "t", "namespace": null, "branch": null, "version": null});
    start.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    read(client, "search", start).await
}

async fn execute(client: &mut Client, tool: &str, query: &str, tables: Value) -> Content {
    let input = Content::binary(json!({"query": query, "tables": tables, "namespace": null}), Bytes::new());
    let id = client.begin("dataset", tool, input).await;
    client.answer(id).await
}

#[tokio::test]
async fn rows_go_in_and_come_out() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    assert_eq!(
        write(&mut a, "create_table", create("t"), vec![data(&batch(&[1, 2])), data(&batch(&[3]))]).await,
        CLOSED
    );
    assert_eq!(error(write(&mut a, "create_table", create("t"), vec![]).await).0, 1004);
    assert_eq!(write(&mut a, "insert", into("t"), vec![data(&batch(&[4]))]).await, CLOSED);
    assert_eq!(write(&mut a, "merge", into("t"), vec![data(&batch(&[4, 5]))]).await, CLOSED);
    let found = search(&mut a, json!({"where": "id >= 2 AND name <> 'n3'", "select": ["name"]})).await;
    assert_eq!(found, [json!({"name": "n2"}), json!({"name": "n4"}), json!({"name": "n5"})]);
    assert_eq!(search(&mut a, json!({"where": "id > 99"})).await, Vec::<Value>::new());
    let update = json!({"table": "t", "where": "id = 1", "values": [
        {"column": "name", "value_json": "\"one\""}, {"column": "id", "value_json": "{\"expression\": \"id + 10\"}"},
    ]});
    assert!(!matches!(a.invoke("dataset", "update", update).await, Content::Error { .. }));
    assert_eq!(search(&mut a, json!({"where": "id = 11"})).await, [json!({"id": 11, "name": "one"})]);
    assert_eq!(json_of(a.invoke("dataset", "count", json!({"table": "t"})).await), json!({"count": 5}));
    assert!(!matches!(
        a.invoke("dataset", "delete", json!({"table": "t", "where": "id = 11"})).await,
        Content::Error { .. }
    ));

    let rows = json!({"kind": "rows", "rows": [{"columns": [{"name": "u", "value": {"uuid": "7f6c9a52-8c7e-4b8e-8d0a-0d9b6f0f7c11"}}]}]});
    let start = Content::Json(
        json!({"kind": "start", "name": "j", "mode": "create", "metadata": [{"key": "k", "value": "v"}]}),
    );
    assert_eq!(write(&mut a, "create_table", start, vec![Content::Json(rows)]).await, CLOSED);
    let Content::Binary { headers, data } = a.invoke("dataset", "inspect", json!({"table": "j"})).await
    else {
        panic!()
    };
    assert_eq!(headers["kind"], "schema");
    let schema = ipc::decode_schema(&data).unwrap();
    assert!(typed::is_uuid(schema.field(0)));
    assert_eq!(schema.metadata().get("k").map(std::string::String::as_str), Some("v"));
    assert_eq!(json_of(a.invoke("dataset", "list_tables", json!({})).await), json!({"tables": ["j", "t"]}));
}

#[tokio::test]
async fn a_write_that_is_abandoned_or_refused_leaves_nothing() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    write(&mut a, "create_table", create("t"), vec![data(&batch(&[1]))]).await;
    let wrong = [
        Content::binary(json!({"kind": "data"}), Bytes::from_static(b"not arrow")),
        Content::binary(json!({"kind": "pull"}), Bytes::new()),
        Content::Json(json!({"kind": "rows", "rows": [{"columns": [{"name": "id", "value": [1]}]}]})),
        data(
            &RecordBatch::try_from_iter([("zap", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap(),
        ),
    ];
    for block in wrong {
        let end = write(&mut a, "insert", into("t"), vec![data(&batch(&[2])), block]).await;
        assert!(
            matches!(end, Content::Control(Control::Close { status: 1007, message: Some(_) })),
            "{end:?}"
        );
    }
    assert_eq!(error(write(&mut a, "insert", into("none"), vec![]).await).0, 1003);
    let no_start =
        write(&mut a, "insert", Content::binary(json!({"kind": "pull", "table": "t"}), Bytes::new()), vec![])
            .await;
    assert_eq!(error(no_start).0, 1002);
    let mut b = edge.join("b").await;
    let id = b.open("dataset", "insert", "gone").await;
    b.item("gone", into("t")).await;
    b.answer(id).await;
    b.chunk("gone").await;
    b.item("gone", data(&batch(&[7]))).await;
    b.chunk("gone").await;
    drop(b);
    assert_eq!(json_of(a.invoke("dataset", "count", json!({"table": "t"})).await), json!({"count": 1}));
}

#[tokio::test]
async fn sql_is_held_against_the_grants_of_each_table() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    write(&mut a, "create_table", create("mine"), vec![data(&batch(&[1, 2]))]).await;
    write(&mut a, "create_table", create("theirs"), vec![data(&batch(&[3]))]).await;
    let api = json!({"dataset": {"tables": [{"name": "mine", "read": true, "write": true}]}});
    let mut little = edge.join_as(&json!({"name": "little", "api": api})).await;
    let Content::Binary { headers, .. } =
        execute(&mut little, "execute_sql", "SELECT sum(id) AS s FROM mine", json!([])).await
    else {
        panic!("no query")
    };
    assert_eq!(headers.keys().map(String::as_str).collect::<Vec<_>>(), ["content_type", "kind", "query_id"]);
    let start = json!({"kind": "start", "query_id": headers["query_id"]});
    assert_eq!(read(&mut little, "read_sql_query", start).await, [json!({"s": 3})]);
    for (query, tables) in [
        ("SELECT * FROM theirs", json!([])),
        ("SELECT * FROM theirs", json!([{"name": "theirs"}])),
        ("SELECT * FROM mine", json!([{"name": "theirs", "alias": "mine"}])),
        ("SELECT (SELECT max(id) FROM theirs) FROM mine", json!([])),
        ("SELECT * FROM THEIRS", json!([])),
        ("INSERT INTO mine SELECT * FROM theirs", json!([])),
        ("DELETE FROM theirs", json!([])),
        ("DROP TABLE mine", json!([])),
    ] {
        let (code, text) = error(execute(&mut little, "execute_sql", query, tables).await);
        assert_eq!(code, 1001, "{query}: {text}");
    }
    let (code, text) = error(execute(&mut a, "execute_sql", "SELECT\n  nothin FROM mine", json!([])).await);
    assert_eq!(code, 1002);
    assert!(text.contains("line 2 column 3"), "{text}");
    assert_eq!(error(execute(&mut a, "execute_sql_statement", "SELECT 1", json!([])).await).0, 1002);
    assert_eq!(error(execute(&mut a, "open_sql_query", "DELETE FROM mine", json!([])).await).0, 1002);
    let deleted = execute(&mut little, "execute_sql", "DELETE FROM mine WHERE id = 1", json!([])).await;
    assert_eq!(json_of(deleted), json!({"kind": "statement", "rows_affected": 1}));
}

#[tokio::test]
async fn a_watch_tells_rows_and_then_each_change() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    write(&mut a, "create_table", create("t"), vec![data(&batch(&[1]))]).await;
    let mut b = edge.join("b").await;
    let id = b.open("dataset", "watch_table", "w").await;
    b.item(
        "w",
        Content::binary(json!({"kind": "start", "table": "t", "poll_interval_seconds": 0.5}), Bytes::new()),
    )
    .await;
    assert_eq!(b.answer(id).await, Content::Control(Control::Open));
    let pull = Content::binary(json!({"kind": "pull"}), Bytes::new());
    let header = |item: &Content, name: &str| match item {
        Content::Binary { headers, .. } => headers[name].clone(),
        other => panic!("{other:?}"),
    };
    b.item("w", pull.clone()).await;
    let rows = b.chunk("w").await;
    assert_eq!((header(&rows, "phase"), rows_of(&rows).len()), (json!("initial"), 1));
    b.item("w", pull.clone()).await;
    assert_eq!(json_of(b.chunk("w").await)["kind"], "ready");
    b.item("w", pull.clone()).await;
    write(&mut a, "insert", into("t"), vec![data(&batch(&[2]))]).await;
    let change = b.chunk("w").await;
    assert_eq!(
        (header(&change, "phase"), header(&change, "change_type")),
        (json!("delta"), json!("inserted"))
    );
    assert_eq!(rows_of(&change), [json!({"id": 2, "name": "n2"})]);
    b.item("w", pull.clone()).await;
    let update =
        json!({"table": "t", "where": "id = 2", "values": [{"column": "name", "value_json": "\"two\""}]});
    a.invoke("dataset", "update", update).await;
    let change = b.chunk("w").await;
    assert_eq!(header(&change, "change_type"), "updated");
    assert_eq!(rows_of(&change), [json!({"id": 2, "name": "two"})]);
    b.item("w", pull).await;
    a.invoke("dataset", "delete", json!({"table": "t", "where": "id = 1"})).await;
    let change = b.chunk("w").await;
    assert_eq!((header(&change, "change_type"), rows_of(&change).len()), (json!("deleted"), 1));
    b.end("w").await;
    assert_eq!(b.chunk("w").await, CLOSED);
}

#[tokio::test]
async fn files_of_the_room_become_tables_and_back() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    write(&mut a, "create_table", create("t"), vec![data(&batch(&[1, 2]))]).await;
    for (path, format) in [
        ("x/t.csv", "auto"),
        ("t.tsv", "tsv"),
        ("t.json", "json"),
        ("t.jsonl", "auto"),
        ("t.arrow", "arrow"),
        ("t.parquet", "auto"),
    ] {
        let export = json!({"table": "t", "path": path, "format": format});
        assert_eq!(json_of(a.invoke("dataset", "export_storage", export).await), json!({"rows": 2}));
        let import = json!({"table": "back", "path": path, "format": "auto", "mode": "replace"});
        assert_eq!(json_of(a.invoke("dataset", "import_storage", import).await)["rows"], 2, "{path}");
        let start = json!({"kind": "start", "table": "back"});
        let rows = read(&mut a, "search", start).await;
        assert_eq!(rows, [json!({"id": 1, "name": "n1"}), json!({"id": 2, "name": "n2"})], "{path}");
    }
    for (format, why) in [("parquet", "no Parquet file"), ("excel", "convert")] {
        let import = json!({"table": "x", "path": "x/t.csv", "format": format});
        let (code, text) = a.fails("dataset", "import_storage", import).await;
        assert_eq!(code, 1002);
        assert!(text.contains(why), "{text}");
    }
    assert_eq!(a.fails("dataset", "import_storage", json!({"table": "x", "path": "none.csv"})).await.0, 3001);
}

/// Whoever gets the work of a participant that died finds what that participant had asked for done, and nothing that
/// is done after.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_participant_asked_for_is_done_before_its_leased_items_go_to_another() {
    const ROWS: i64 = 200;
    let edge = Edge::start().await;
    let mut heir = edge.join("heir").await;
    let lease = |wait: bool| json!({"name": "q", "create": true, "wait": wait, "lease_ms": 60_000});
    for round in 0..5 {
        let table = format!("t{round}");
        let ids: Vec<i64> = (0..ROWS).collect();
        assert_eq!(write(&mut heir, "create_table", create(&table), vec![data(&batch(&ids))]).await, CLOSED);
        let mut dying = edge.join("dying").await;
        heir.invoke("queues", "send", json!({"name": "q", "create": true, "message": {"n": round}})).await;
        json_of(dying.invoke("queues", "lease", lease(false)).await);
        let inherited = heir.begin("queues", "lease", Content::Json(lease(true))).await;
        for id in 0..ROWS - 1 {
            let delete = json!({"table": table, "where": format!("id = {id}")});
            dying.begin("dataset", "delete", Content::Json(delete)).await;
        }
        drop(dying);
        let item = json_of(heir.answer(inherited).await);
        let count = json!({"table": table});
        let found = json_of(heir.invoke("dataset", "count", count.clone()).await);
        // It waits in line behind all that was begun before.
        let last = json!({"table": table, "where": format!("id = {}", ROWS - 1)});
        heir.invoke("dataset", "delete", last).await;
        let left = json_of(heir.invoke("dataset", "count", count).await);
        let number = |count: &Value| count["count"].as_i64().or(count.as_i64()).unwrap();
        assert_eq!(number(&found) - 1, number(&left), "round {round}");
        assert!(number(&found) < ROWS, "the deletions were under way in round {round}");
        let done = json!({"name": "q", "lease_token": item["lease_token"]});
        assert_eq!(heir.invoke("queues", "ack", done).await, Content::Empty);
    }
}
