//! Versions: time travel, restore, tags, differences, watching, and forgetting them.

use super::rig::{all, at_version, ids, ids_of, insert, make, open_at, rig, rows, search, table, write};
use meshagent::clock::Fixed;
use meshagent::dataset::{Assignment, DatasetStore, NewValue, OptimizeConfig, Search, TableAt, WriteKind};
use meshagent::error_code::RoomCode;
use serde_json::json;
use std::sync::Arc;

fn rename(to: &str) -> Vec<Assignment> {
    vec![Assignment { column: "name".into(), value: NewValue::Typed(json!(to)) }]
}

#[tokio::test]
async fn every_version_stays_as_it_was() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2]).await;
    insert(&rig.store, &t, [3]).await;
    rig.store.update(&t, "id = 1", rename("one")).await.unwrap();
    rig.store.delete(&t, "id = 2").await.unwrap();
    let states = [
        vec![(1, "n1"), (2, "n2")],
        vec![(1, "n1"), (2, "n2"), (3, "n3")],
        vec![(1, "one"), (2, "n2"), (3, "n3")],
        vec![(1, "one"), (3, "n3")],
    ];
    for (version, state) in (1..).zip(states) {
        let state: Vec<(i64, String)> = state.into_iter().map(|(id, name)| (id, name.to_owned())).collect();
        assert_eq!(all(&rig.store, &at_version("t", version)).await, state, "version {version}");
        let count = rig.store.count(&at_version("t", version), Search::default()).await.unwrap();
        assert_eq!(count, state.len() as u64);
    }
    let missing = rig.store.schema(&at_version("t", 5)).await.unwrap_err();
    assert_eq!(missing.code, RoomCode::NotFound);
    assert!(missing.text.contains("the newest is 4"), "{}", missing.text);
    let listed = rig.store.versions(&t).await.unwrap();
    let operations: Vec<&str> = listed.iter().map(|v| v.metadata["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["create", "insert", "update", "delete"]);
    assert_eq!(listed.iter().map(|v| v.version).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let old = rig.store.write(&at_version("t", 1), WriteKind::Insert).await.err().unwrap();
    assert_eq!(old.code, RoomCode::InvalidRequest);
}

#[tokio::test]
async fn a_reader_stays_at_its_version() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2, 3]).await;
    let mut reader = rig.store.search(&t, Search::default()).await.unwrap();
    rig.store.delete(&t, "true").await.unwrap();
    insert(&rig.store, &t, [4]).await;
    let forget = OptimizeConfig { compact: true, retain_versions: Some(0), ..OptimizeConfig::default() };
    rig.store.optimize(&t, forget.clone()).await.unwrap();
    assert_eq!(ids_of(&[reader.next().await.unwrap().unwrap()]), [1, 2, 3]);
    assert!(reader.next().await.unwrap().is_none());
    drop(reader);
    rig.store.optimize(&t, forget).await.unwrap();
    assert_eq!(rig.store.stats(&t).await.unwrap().deleted_rows, 0);
    assert_eq!(ids(&rig.store, &t).await, [4]);
}

#[tokio::test]
async fn restore_makes_an_old_version_the_newest() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2, 3]).await;
    rig.store.update(&t, "id = 1", rename("one")).await.unwrap();
    rig.store.delete(&t, "id = 2").await.unwrap();
    insert(&rig.store, &t, [4]).await;
    let before = all(&rig.store, &at_version("t", 1)).await;
    let done = rig.store.restore(&t, 1).await.unwrap();
    assert_eq!(done.version, 5);
    assert_eq!(all(&rig.store, &t).await, before);
    assert_eq!(rig.store.count(&t, Search::default()).await.unwrap(), 3);
    rig.store.restore(&t, 4).await.unwrap();
    assert_eq!(ids(&rig.store, &t).await, [1, 3, 4]);
    assert_eq!(all(&rig.store, &t).await[0], (1, "one".to_owned()));
    assert_eq!(rig.store.restore(&t, 99).await.unwrap_err().code, RoomCode::NotFound);
}

#[tokio::test]
async fn differences_are_what_was_added_and_removed() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2]).await;
    insert(&rig.store, &t, [3]).await;
    rig.store.update(&t, "id = 1", rename("one")).await.unwrap();
    rig.store.delete(&t, "id = 3").await.unwrap();
    let (added, removed) = rig.store.changes(&t, 1, 4).await.unwrap();
    assert_eq!((ids_of(&added), ids_of(&removed)), (vec![1], vec![1]));
    let (added, removed) = rig.store.changes(&t, 2, 4).await.unwrap();
    assert_eq!((ids_of(&added), ids_of(&removed)), (vec![1], vec![1, 3]));
    let (added, removed) = rig.store.changes(&t, 0, 2).await.unwrap();
    assert_eq!((ids_of(&added), ids_of(&removed)), (vec![1, 2, 3], vec![]));
    assert!(rig.store.changes(&t, 3, 2).await.is_err());
}

#[tokio::test]
async fn tags_name_versions_and_keep_them() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Fixed::at(chrono::DateTime::from_timestamp(1_000_000, 0).unwrap()));
    let store = open_at(folder.path(), Arc::clone(&clock));
    let t = table("t");
    make(&store, &t, [1, 2, 3]).await;
    store.tag(&t, "first", 1).await.unwrap();
    for id in 1..4 {
        store.delete(&t, &format!("id = {id}")).await.unwrap();
    }
    clock.advance(chrono::Duration::seconds(100));
    insert(&store, &t, [4]).await;
    assert_eq!(store.tags(&t).await.unwrap(), std::collections::BTreeMap::from([("first".to_owned(), 1)]));
    let config = |seconds| OptimizeConfig {
        compact: true,
        older_than_seconds: Some(seconds),
        ..OptimizeConfig::default()
    };
    assert_eq!(store.optimize(&t, config(1_000)).await.unwrap().old_versions_removed, 0);
    assert_eq!(store.optimize(&t, config(50)).await.unwrap().old_versions_removed, 3);
    assert_eq!(store.stats(&t).await.unwrap().deleted_rows, 3, "the tagged version still shows them");
    assert_eq!(ids(&store, &at_version("t", 1)).await, [1, 2, 3]);
    assert_eq!(store.schema(&at_version("t", 2)).await.unwrap_err().code, RoomCode::NotFound);
    store.untag(&t, "first").await.unwrap();
    assert_eq!(store.untag(&t, "first").await.unwrap_err().code, RoomCode::NotFound);
    assert_eq!(store.optimize(&t, config(50)).await.unwrap().old_versions_removed, 1);
    assert_eq!(store.stats(&t).await.unwrap().deleted_rows, 0);
    assert_eq!(ids(&store, &t).await, [4]);
    assert_eq!(store.tag(&t, "x", 77).await.unwrap_err().code, RoomCode::NotFound);
    assert!(store.tag(&t, "", 5).await.is_err());
}

#[tokio::test]
async fn optimize_makes_segments_of_what_remains() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, []).await;
    for start in 0..10 {
        insert(&rig.store, &t, start * 1_000..(start + 1) * 1_000).await;
    }
    rig.store.delete(&t, "id % 2 = 0").await.unwrap();
    assert_eq!(rig.store.stats(&t).await.unwrap().segments, 0);
    let config = OptimizeConfig { compact: true, retain_versions: Some(0), ..OptimizeConfig::default() };
    let report = rig.store.optimize(&t, config.clone()).await.unwrap();
    assert_eq!((report.segments_added, report.old_versions_removed), (1, 11));
    let odd: Vec<i64> = (0..10_000).filter(|id| id % 2 == 1).collect();
    assert_eq!(ids_of(&search(&rig.store, &t, Search::default()).await.unwrap()), odd);
    rig.store.delete(&t, "id < 9001").await.unwrap();
    let left: Vec<i64> = odd.into_iter().filter(|id| *id >= 9_001).collect();
    assert_eq!(ids_of(&search(&rig.store, &t, Search::default()).await.unwrap()), left);
    let report = rig.store.optimize(&t, config).await.unwrap();
    assert_eq!((report.segments_removed, report.segments_added), (1, 0));
    assert_eq!(ids_of(&search(&rig.store, &t, Search::default()).await.unwrap()), left);
    let stats = rig.store.stats(&t).await.unwrap();
    assert_eq!((stats.rows, stats.deleted_rows), (500, 0));
    assert!(stats.size_bytes > 0 && stats.columns["name"] > 0);
}

#[tokio::test]
async fn watchers_hear_of_each_new_version() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1]).await;
    let mut watch = rig.store.watch(&t).await.unwrap();
    assert_eq!(*watch.borrow_and_update(), 1);
    insert(&rig.store, &t, [2]).await;
    watch.changed().await.unwrap();
    assert_eq!(*watch.borrow_and_update(), 2);
    rig.store.drop_table(&t, false).await.unwrap();
    assert!(watch.changed().await.is_err(), "a dropped table ends its watchers");
    let missing = TableAt { table: "u".into(), ..t };
    assert!(rig.store.watch(&missing).await.is_err());
}

#[tokio::test]
async fn a_write_without_rows_makes_no_version() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1]).await;
    let none = write(&rig.store, &t, WriteKind::Insert, [rows([])]).await.unwrap();
    assert_eq!((none.version, none.rows), (1, 0));
}
