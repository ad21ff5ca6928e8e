//! Rows in and out: create, insert, search, merge, update, delete, and what they refuse.

use super::rig::{
    all, create, ids, ids_of, insert, make, named, on_branch, rig, rows, schema, search, table, write,
};
use arrow_array::{Array, ArrayRef, Float64Array, Int32Array, RecordBatch};
use meshagent::dataset::{Assignment, CreateMode, DatasetStore, NewValue, Place, Search, TableAt, WriteKind};
use meshagent::error_code::RoomCode;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

fn filter(text: &str) -> Search {
    Search { filter: Some(text.to_owned()), ..Search::default() }
}

fn set(column: &str, value: serde_json::Value) -> Assignment {
    Assignment { column: column.to_owned(), value: NewValue::Typed(value) }
}

#[tokio::test]
async fn a_table_is_created_once_replaced_or_left_alone() {
    let rig = rig();
    let t = table("t");
    assert_eq!(rig.store.list_tables(&t.place).await.unwrap(), Vec::<String>::new());
    assert_eq!(make(&rig.store, &t, [1, 2]).await.version, 1);
    let again = write(&rig.store, &t, create(CreateMode::Create), []).await.unwrap_err();
    assert_eq!(again.code, RoomCode::AlreadyExists);
    let kept = write(&rig.store, &t, create(CreateMode::CreateIfNotExists), [rows([9])]).await.unwrap();
    assert_eq!((kept.version, kept.rows), (1, 0));
    assert_eq!(ids(&rig.store, &t).await, [1, 2]);
    let replaced = write(&rig.store, &t, create(CreateMode::Overwrite), [rows([7])]).await.unwrap();
    assert_eq!((replaced.version, replaced.rows), (1, 1));
    assert_eq!(ids(&rig.store, &t).await, [7]);
    assert_eq!(rig.store.versions(&t).await.unwrap().len(), 1);
    assert_eq!(rig.store.list_tables(&t.place).await.unwrap(), ["t"]);
    rig.store.rename_table(&t, "u").await.unwrap();
    assert_eq!(ids(&rig.store, &table("u")).await, [7]);
    rig.store.drop_table(&table("u"), false).await.unwrap();
    assert_eq!(rig.store.drop_table(&table("u"), false).await.unwrap_err().code, RoomCode::NotFound);
    rig.store.drop_table(&table("u"), true).await.unwrap();
}

#[tokio::test]
async fn a_table_takes_its_schema_from_the_first_rows_and_its_metadata() {
    let rig = rig();
    let metadata = BTreeMap::from([("owner".to_owned(), "me".to_owned())]);
    let kind = || WriteKind::Create { mode: CreateMode::Create, schema: None, metadata: metadata.clone() };
    write(&rig.store, &table("t"), kind(), [rows([1])]).await.unwrap();
    let found = rig.store.schema(&table("t")).await.unwrap();
    assert_eq!(found.fields(), schema().fields());
    assert_eq!(found.metadata().get("owner").unwrap(), "me");
    let empty = write(&rig.store, &table("u"), kind(), []).await.unwrap_err();
    assert!(empty.text.contains("needs a schema"), "{}", empty.text);
}

#[tokio::test]
async fn namespaces_are_apart_whatever_they_are_called() {
    let rig = rig();
    let names = [vec![], vec!["a"], vec!["a", "b"], vec![".."], vec!["a/b"], vec!["A"]];
    for (n, namespace) in (0..).zip(&names) {
        let at = in_namespace(namespace);
        make(&rig.store, &at, [n]).await;
    }
    for (n, namespace) in (0..).zip(&names) {
        assert_eq!(ids(&rig.store, &in_namespace(namespace)).await, [n]);
    }
    assert_eq!(rig.store.list_tables(&in_namespace(&["nowhere"]).place).await.unwrap(), Vec::<String>::new());
    rig.store.delete_room(super::rig::room()).await.unwrap();
    assert_eq!(rig.store.list_tables(&super::rig::place()).await.unwrap(), Vec::<String>::new());
}

fn in_namespace(names: &[&str]) -> TableAt {
    let namespace = names.iter().map(|&name| name.to_owned()).collect();
    TableAt { place: Place { namespace, ..super::rig::place() }, ..table("t") }
}

#[tokio::test]
async fn search_filters_selects_and_pages() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, 0..100).await;
    let found = search(&rig.store, &t, filter("id >= 10 AND name <> 'n11' AND id < 14")).await.unwrap();
    assert_eq!(ids_of(&found), [10, 12, 13]);
    let some = Search { offset: 5, limit: Some(3), select: Some(vec!["id".into()]), ..Search::default() };
    let found = search(&rig.store, &t, some).await.unwrap();
    assert_eq!(ids_of(&found), [5, 6, 7]);
    assert_eq!(found[0].num_columns(), 1);
    let both = Search { offset: 2, limit: Some(2), ..filter("id % 10 = 3") };
    assert_eq!(ids_of(&search(&rig.store, &t, both.clone()).await.unwrap()), [23, 33]);
    assert_eq!(rig.store.count(&t, both).await.unwrap(), 2);
    assert_eq!(rig.store.count(&t, filter("id > 97")).await.unwrap(), 2);
    assert_eq!(rig.store.count(&t, Search { offset: 97, ..Search::default() }).await.unwrap(), 3);
    let none = Search { limit: Some(0), ..Search::default() };
    assert_eq!(search(&rig.store, &t, none).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_search_is_said() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1]).await;
    let select = |names: &[&str]| Search {
        select: Some(names.iter().map(|&n| n.to_owned()).collect()),
        ..Search::default()
    };
    for (request, says) in [
        (filter("nope = 1"), "nope"),
        (filter("id = "), ""),
        (filter("id = 1; DROP TABLE r1"), ""),
        (filter("id IN (SELECT line FROM head)"), ""),
        (select(&["nope"]), "no column `nope`"),
        (select(&["id", "id"]), "twice"),
    ] {
        let error = search(&rig.store, &t, request.clone()).await.unwrap_err();
        assert_eq!(error.code, RoomCode::InvalidRequest, "{request:?}");
        assert!(error.text.contains(says), "{}", error.text);
    }
    assert_eq!(search(&rig.store, &table("u"), filter("id = 1")).await.unwrap_err().code, RoomCode::NotFound);
    let branch = search(&rig.store, &on_branch("t", "b"), Search::default()).await.unwrap_err();
    assert_eq!(branch.code, RoomCode::NotFound);
    assert!(branch.text.contains("branch `b`"), "{}", branch.text);
}

#[tokio::test]
async fn a_large_table_reads_the_same_by_segments_and_by_rows() {
    let rig = rig();
    let t = table("t");
    let wanted: Vec<i64> = (0..70_010).collect();
    let batches = wanted.chunks(10_000).map(|ids| rows(ids.iter().copied()));
    write(&rig.store, &t, create(CreateMode::Create), batches).await.unwrap();
    assert_eq!(rig.store.stats(&t).await.unwrap().segments, 2);
    assert_eq!(ids_of(&search(&rig.store, &t, Search::default()).await.unwrap()), wanted);
    assert_eq!(ids_of(&search(&rig.store, &t, filter("id >= 0")).await.unwrap()), wanted);
    rig.store.delete(&t, "id % 3 = 0 OR id = 65536").await.unwrap();
    insert(&rig.store, &t, [80_000]).await;
    let mut left: Vec<i64> = wanted.into_iter().filter(|id| id % 3 != 0 && *id != 65_536).collect();
    left.push(80_000);
    assert_eq!(ids_of(&search(&rig.store, &t, Search::default()).await.unwrap()), left);
    assert_eq!(ids_of(&search(&rig.store, &t, filter("id >= 0")).await.unwrap()), left);
    assert_eq!(rig.store.count(&t, Search::default()).await.unwrap(), left.len() as u64);
    for (offset, limit) in [(0, 10), (43_680, 20), (46_670, 100), (46_672, 3)] {
        let page = Search { offset, limit: Some(limit), ..Search::default() };
        let found = ids_of(&search(&rig.store, &t, page).await.unwrap());
        let expected: Vec<i64> = left.iter().copied().skip(offset as usize).take(limit as usize).collect();
        assert_eq!(found, expected, "offset {offset}");
    }
}

#[tokio::test]
async fn many_small_writes_become_a_segment() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, []).await;
    for write in 0..50 {
        insert(&rig.store, &t, write * 700..(write + 1) * 700).await;
    }
    assert_eq!(rig.store.stats(&t).await.unwrap().segments, 1);
    assert_eq!(
        ids_of(&search(&rig.store, &t, Search::default()).await.unwrap()),
        (0..35_000).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_merge_replaces_by_key_and_adds_the_rest() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, 0..3_000).await;
    let merge = || WriteKind::Merge { on: "id".to_owned() };
    let done = write(&rig.store, &t, merge(), [named(&[(5, "five"), (9_000, "new")])]).await.unwrap();
    assert_eq!((done.version, done.rows), (2, 2));
    let many: Vec<(i64, &str)> = (0..1_000).map(|id| (id * 2, "even")).collect();
    write(&rig.store, &t, merge(), [named(&many)]).await.unwrap();
    let found = all(&rig.store, &t).await;
    assert_eq!(found.len(), 3_001);
    assert_eq!(found.iter().filter(|(_, name)| name == "even").count(), 1_000);
    assert_eq!(found[5], (5, "five".to_owned()));
    let twice = write(&rig.store, &t, merge(), [named(&[(1, "a"), (1, "b")])]).await.unwrap_err();
    assert!(twice.text.contains("same `id`"), "{}", twice.text);
    let unknown = WriteKind::Merge { on: "nope".to_owned() };
    assert!(rig.store.write(&t, unknown).await.err().unwrap().text.contains("no column `nope`"));
    assert_eq!(rig.store.versions(&t).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_update_sets_typed_values_and_expressions() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2, 3]).await;
    let done = rig.store.update(&t, "id >= 2", vec![set("name", json!("x"))]).await.unwrap();
    assert_eq!((done.version, done.rows), (2, 2));
    let expression = NewValue::Expression("id + 10".to_owned());
    let values = vec![Assignment { column: "id".into(), value: expression }, set("name", json!(null))];
    rig.store.update(&t, "id = 3", values).await.unwrap();
    let wanted = [(1, "n1".to_owned()), (2, "x".to_owned()), (13, "-".to_owned())];
    assert_eq!(all(&rig.store, &t).await, wanted);
    let none = rig.store.update(&t, "id = 99", vec![set("name", json!("y"))]).await.unwrap();
    assert_eq!((none.version, none.rows), (3, 0));
    for (values, says) in [
        (vec![], "at least one"),
        (vec![set("nope", json!(1))], "no column `nope`"),
        (vec![set("id", json!(null))], "column `id`"),
        (vec![set("id", json!("text"))], "`id`"),
        (vec![set("name", json!(["bare"]))], "`name`"),
        (vec![set("name", json!("a")), set("name", json!("b"))], "twice"),
    ] {
        let error = rig.store.update(&t, "true", values).await.unwrap_err();
        assert_eq!(error.code, RoomCode::InvalidRequest);
        assert!(error.text.contains(says), "{}", error.text);
    }
    assert!(rig.store.update(&t, " ", vec![set("name", json!("y"))]).await.is_err());
    assert_eq!(all(&rig.store, &t).await, wanted, "a refused update changes nothing");
}

#[tokio::test]
async fn a_delete_removes_what_it_says_and_nothing_else() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, 0..10).await;
    assert_eq!(rig.store.delete(&t, "id < 4").await.unwrap().rows, 4);
    assert_eq!(rig.store.delete(&t, "id < 4").await.unwrap().rows, 0);
    assert!(rig.store.delete(&t, "").await.is_err());
    assert_eq!(ids(&rig.store, &t).await, [4, 5, 6, 7, 8, 9]);
    assert_eq!(rig.store.delete(&t, "true").await.unwrap().rows, 6);
    assert_eq!(rig.store.count(&t, Search::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn an_insert_is_held_to_the_schema_column_by_column() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, []).await;
    let one = |name: &str, array: ArrayRef| RecordBatch::try_from_iter([(name, array)]).unwrap();
    for (batch, says) in [
        (one("id", Arc::new(Float64Array::from(vec![1.5]))), "column `id`"),
        (one("nope", Arc::new(Int32Array::from(vec![1]))), "no column `nope`"),
        (one("name", Arc::new(arrow_array::StringArray::from(vec!["x"]))), "column `id` is missing"),
        (one("id", Arc::new(Int32Array::from(vec![None::<i32>]))), "column `id` cannot be null"),
    ] {
        let error = write(&rig.store, &t, WriteKind::Insert, [batch]).await.unwrap_err();
        assert_eq!(error.code, RoomCode::InvalidRequest);
        assert!(error.text.contains(says), "{}", error.text);
    }
    write(&rig.store, &t, WriteKind::Insert, [one("id", Arc::new(Int32Array::from(vec![4])))]).await.unwrap();
    let found = search(&rig.store, &t, Search::default()).await.unwrap();
    assert_eq!(ids_of(&found), [4]);
    assert_eq!(found[0].column(1).null_count(), 1);
}

#[tokio::test]
async fn an_abandoned_write_leaves_nothing() {
    let rig = rig();
    let t = table("t");
    let mut writer = rig.store.write(&t, create(CreateMode::Create)).await.unwrap();
    writer.push(rows([1])).await.unwrap();
    drop(writer);
    assert_eq!(rig.store.list_tables(&t.place).await.unwrap(), Vec::<String>::new());
    make(&rig.store, &t, [1]).await;
    let mut writer = rig.store.write(&t, WriteKind::Insert).await.unwrap();
    for start in 0..200 {
        writer.push(rows(start * 5_000..(start + 1) * 5_000)).await.unwrap();
    }
    let staged = || files_named_below(rig.folder.path(), "staged");
    assert_eq!(staged(), 1, "a large write waits in a file");
    drop(writer);
    assert_eq!(staged(), 0);
    assert_eq!(ids(&rig.store, &t).await, [1]);
}

fn files_named_below(folder: &std::path::Path, name: &str) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| {
            let path = entry.path();
            let here = if entry.file_name() == name { std::fs::read_dir(&path).unwrap().count() } else { 0 };
            here + files_named_below(&path, name)
        })
        .sum()
}

#[tokio::test]
async fn a_table_dropped_under_a_writer_or_a_reader_is_an_error() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, 0..10).await;
    let mut writer = rig.store.write(&t, WriteKind::Merge { on: "id".into() }).await.unwrap();
    writer.push(rows([1])).await.unwrap();
    let mut reader = rig.store.search(&t, Search::default()).await.unwrap();
    write(&rig.store, &t, create(CreateMode::Overwrite), [rows([77])]).await.unwrap();
    let error = writer.commit().await.unwrap_err();
    assert!(error.text.contains("dropped or replaced"), "{}", error.text);
    let error = reader.next().await.unwrap_err();
    assert!(error.text.contains("dropped or replaced"), "{}", error.text);
    assert_eq!(ids(&rig.store, &t).await, [77]);
}

#[tokio::test]
async fn concurrent_writers_lose_nothing() {
    let rig = Arc::new(rig());
    let t = table("t");
    make(&rig.store, &t, []).await;
    let tasks = (0..8).map(|writer: i64| {
        let (rig, t) = (Arc::clone(&rig), t.clone());
        tokio::spawn(async move {
            for n in 0..25 {
                insert(&rig.store, &t, [writer * 1_000 + n]).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let expected: Vec<i64> = (0..8).flat_map(|writer| (0..25).map(move |n| writer * 1_000 + n)).collect();
    assert_eq!(ids(&rig.store, &t).await, expected);
    assert_eq!(rig.store.versions(&t).await.unwrap().len(), 201);
}
