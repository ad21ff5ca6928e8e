//! SQL statements over tables of a namespace.

use super::rig::{all, at_version, ids, ids_of, insert, make, on_branch, place, rig, table};
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use meshagent::dataset::{
    DatasetError, DatasetStore, SqlOutcome, SqlRequest, SqlTable, SqliteDatasets, TableAt,
};
use meshagent::error_code::RoomCode;
use std::sync::Arc;

fn request(query: &str, tables: &[(&str, TableAt)]) -> SqlRequest {
    let tables = tables.iter().map(|(alias, at)| SqlTable { at: at.clone(), alias: (*alias).to_owned() });
    SqlRequest { query: query.to_owned(), tables: tables.collect(), params: None }
}

async fn query(store: &SqliteDatasets, request: SqlRequest) -> Result<Vec<RecordBatch>, DatasetError> {
    let SqlOutcome::Rows(mut reader) = store.sql(&place(), request).await? else { panic!("not a query") };
    let mut batches = Vec::new();
    while let Some(batch) = reader.next().await? {
        batches.push(batch);
    }
    Ok(batches)
}

async fn execute(store: &SqliteDatasets, text: &str) -> Result<u64, DatasetError> {
    match store.sql(&place(), request(text, &[])).await? {
        SqlOutcome::Affected(rows) => Ok(rows),
        SqlOutcome::Rows(_) => panic!("a query"),
    }
}

#[tokio::test]
async fn queries_join_tables_versions_and_branches() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2, 3]).await;
    rig.store.create_branch(&place(), "b", None).await.unwrap();
    insert(&rig.store, &on_branch("t", "b"), [4]).await;
    rig.store.delete(&t, "id = 1").await.unwrap();
    let plain = request("SELECT id FROM t WHERE id > $1 ORDER BY id DESC", &[]);
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let params = Some(RecordBatch::try_from_iter([("a", one)]).unwrap());
    let found = query(&rig.store, SqlRequest { params, ..plain }).await.unwrap();
    assert_eq!(ids_of(&found), [3, 2]);
    let tables = [("old", at_version("t", 1)), ("new", t.clone()), ("other", on_branch("t", "b"))];
    let text = "SELECT old.id AS id FROM old LEFT JOIN new ON old.id = new.id WHERE new.id IS NULL \
                UNION ALL SELECT id FROM other WHERE id > 3";
    let mut found = ids_of(&query(&rig.store, request(text, &tables)).await.unwrap());
    found.sort_unstable();
    assert_eq!(found, [1, 4]);
    let elsewhere =
        TableAt { place: meshagent::dataset::Place { namespace: vec!["n".into()], ..place() }, ..table("t") };
    let apart = query(&rig.store, request("SELECT 1", &[("a", t), ("b", elsewhere)])).await.unwrap_err();
    assert!(apart.text.contains("different namespaces"), "{}", apart.text);
}

#[tokio::test]
async fn statements_write_versions() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2]).await;
    assert_eq!(
        execute(&rig.store, "INSERT INTO t (id, name) VALUES (7, 'seven'), (8, 'eight')").await.unwrap(),
        2
    );
    assert_eq!(execute(&rig.store, "UPDATE t SET name = 'x' WHERE id < 3").await.unwrap(), 2);
    assert_eq!(execute(&rig.store, "DELETE FROM t WHERE id = 2").await.unwrap(), 1);
    let wanted = [(1, "x".to_owned()), (7, "seven".to_owned()), (8, "eight".to_owned())];
    assert_eq!(all(&rig.store, &t).await, wanted);
    assert_eq!(rig.store.versions(&t).await.unwrap().len(), 4);
    execute(&rig.store, "CREATE TABLE u AS SELECT id, name FROM t WHERE id > 1").await.unwrap();
    assert_eq!(ids(&rig.store, &table("u")).await, [7, 8]);
    execute(&rig.store, "DROP TABLE u").await.unwrap();
    assert_eq!(rig.store.list_tables(&place()).await.unwrap(), ["t"]);
}

#[tokio::test]
async fn a_large_result_is_read_whole_and_bad_statements_change_nothing() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, 0..200_000).await;
    let found = query(&rig.store, request("SELECT id, name FROM t", &[])).await.unwrap();
    assert_eq!(ids_of(&found), (0..200_000).collect::<Vec<i64>>());
    for text in [
        "SELECT nope FROM t",
        "SELECT * FROM nowhere",
        "SELECT line FROM head",
        "ATTACH 'x' AS y",
        "PRAGMA journal_mode = off",
        "SELECT 1; DROP TABLE t",
        "INSERT INTO t (id) VALUES (NULL)",
        "",
    ] {
        let error = rig.store.sql(&place(), request(text, &[])).await.unwrap_err();
        assert!(
            matches!(error.code, RoomCode::InvalidRequest | RoomCode::NotFound),
            "{text}: {:?} {}",
            error.code,
            error.text
        );
    }
    assert_eq!(rig.store.versions(&t).await.unwrap().len(), 1);
}

#[tokio::test]
async fn columns_are_filled_from_sql() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2]).await;
    rig.store.create_branch(&place(), "b", None).await.unwrap();
    let b = on_branch("t", "b");
    for at in [&t, &b] {
        let columns = meshagent::dataset::AddColumns::Sql(vec![("twice".into(), "id * 2".into())]);
        rig.store.add_columns(at, columns).await.unwrap();
        let only = request("SELECT twice AS id FROM t ORDER BY twice", &[("t", at.clone())]);
        assert_eq!(ids_of(&query(&rig.store, only).await.unwrap()), [2, 4]);
        insert(&rig.store, at, [3]).await;
        assert_eq!(all(&rig.store, at).await.len(), 3);
    }
    assert_eq!(rig.store.schema(&at_version("t", 1)).await.unwrap().fields().len(), 2);
    assert_eq!(ids(&rig.store, &at_version("t", 1)).await, [1, 2]);
}
