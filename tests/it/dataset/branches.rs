//! Branches: as their parent was, then on their own way.

use super::rig::{all, create, ids, insert, make, on_branch, place, rig, rows, table, write};
use meshagent::dataset::{AddColumns, CreateMode, DatasetStore, Search, TableAt, WriteKind};
use meshagent::error_code::RoomCode;

#[tokio::test]
async fn a_branch_goes_its_own_way() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2, 3]).await;
    rig.store.delete(&t, "id = 3").await.unwrap();
    rig.store.create_branch(&place(), "b", None).await.unwrap();
    let b = on_branch("t", "b");
    assert_eq!(ids(&rig.store, &b).await, [1, 2]);
    insert(&rig.store, &t, [10]).await;
    let first = insert(&rig.store, &b, [20, 21]).await;
    assert_eq!(first.version, 3);
    rig.store.delete(&b, "id = 1").await.unwrap();
    rig.store.delete(&t, "id = 2").await.unwrap();
    assert_eq!(ids(&rig.store, &t).await, [1, 10]);
    assert_eq!(ids(&rig.store, &b).await, [2, 20, 21]);
    assert_eq!(rig.store.count(&b, Search::default()).await.unwrap(), 3);
    let old = |version| TableAt { version: Some(version), ..b.clone() };
    assert_eq!(ids(&rig.store, &old(1)).await, [1, 2, 3]);
    assert_eq!(ids(&rig.store, &old(2)).await, [1, 2]);
    assert_eq!(ids(&rig.store, &old(3)).await, [1, 2, 20, 21]);
    let versions = rig.store.versions(&b).await.unwrap();
    assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [1, 2, 3, 4]);
    rig.store.restore(&b, 1).await.unwrap();
    assert_eq!(ids(&rig.store, &b).await, [1, 2, 3]);
    assert_eq!(ids(&rig.store, &t).await, [1, 10]);
}

#[tokio::test]
async fn branches_of_branches_see_their_ancestors() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1]).await;
    rig.store.create_branch(&place(), "a", None).await.unwrap();
    insert(&rig.store, &on_branch("t", "a"), [2]).await;
    rig.store.create_branch(&place(), "b", Some("a")).await.unwrap();
    let b = on_branch("t", "b");
    insert(&rig.store, &on_branch("t", "a"), [3]).await;
    rig.store.delete(&on_branch("t", "a"), "id = 1").await.unwrap();
    insert(&rig.store, &b, [4]).await;
    assert_eq!(ids(&rig.store, &b).await, [1, 2, 4]);
    write(&rig.store, &b, WriteKind::Merge { on: "id".into() }, [rows([1, 2, 5])]).await.unwrap();
    assert_eq!(ids(&rig.store, &b).await, [1, 2, 4, 5]);
    assert_eq!(ids(&rig.store, &on_branch("t", "a")).await, [2, 3]);
    let infos = rig.store.branches(&place()).await.unwrap();
    let named: Vec<(&str, Option<&str>)> =
        infos.iter().map(|info| (info.name.as_str(), info.parent.as_deref())).collect();
    assert_eq!(named, [("a", None), ("b", Some("a"))]);
    let parent = rig.store.delete_branch(&place(), "a").await.unwrap_err();
    assert_eq!(parent.code, RoomCode::Conflict);
    rig.store.delete_branch(&place(), "b").await.unwrap();
    rig.store.delete_branch(&place(), "a").await.unwrap();
    assert_eq!(ids(&rig.store, &t).await, [1]);
    assert_eq!(rig.store.delete_branch(&place(), "a").await.unwrap_err().code, RoomCode::NotFound);
}

#[tokio::test]
async fn tables_dropped_or_made_on_one_branch_are_nothing_to_the_other() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2]).await;
    rig.store.create_branch(&place(), "b", None).await.unwrap();
    rig.store.drop_table(&t, false).await.unwrap();
    let b = on_branch("t", "b");
    assert_eq!(ids(&rig.store, &b).await, [1, 2]);
    write(&rig.store, &on_branch("u", "b"), create(CreateMode::Create), [rows([9])]).await.unwrap();
    assert_eq!(rig.store.list_tables(&place()).await.unwrap(), Vec::<String>::new());
    assert_eq!(rig.store.list_tables(&b.place).await.unwrap(), ["t", "u"]);
    insert(&rig.store, &b, [3]).await;
    assert_eq!(ids(&rig.store, &b).await, [1, 2, 3]);
    make(&rig.store, &t, [100]).await;
    assert_eq!(ids(&rig.store, &t).await, [100]);
    rig.store.delete_branch(&place(), "b").await.unwrap();
    assert_eq!(ids(&rig.store, &t).await, [100]);
}

#[tokio::test]
async fn columns_added_on_a_branch_are_its_own() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1]).await;
    rig.store.create_branch(&place(), "b", None).await.unwrap();
    let b = on_branch("t", "b");
    let field = arrow_schema::Field::new("extra", arrow_schema::DataType::Int32, true);
    let schema = std::sync::Arc::new(arrow_schema::Schema::new(vec![field]));
    rig.store.add_columns(&b, AddColumns::Schema(schema)).await.unwrap();
    insert(&rig.store, &b, [2]).await;
    assert_eq!(rig.store.schema(&b).await.unwrap().fields().len(), 3);
    assert_eq!(rig.store.schema(&t).await.unwrap().fields().len(), 2);
    assert_eq!(all(&rig.store, &b).await.len(), 2);
    rig.store.drop_columns(&t, &["name".to_owned()]).await.unwrap();
    assert_eq!(ids(&rig.store, &b).await, [1, 2]);
}

#[tokio::test]
async fn a_branch_needs_a_name_of_its_own_and_a_parent() {
    let rig = rig();
    make(&rig.store, &table("t"), [1]).await;
    rig.store.create_branch(&place(), "b", None).await.unwrap();
    for (name, from, code) in [
        ("b", None, RoomCode::AlreadyExists),
        ("main", None, RoomCode::AlreadyExists),
        ("", None, RoomCode::InvalidRequest),
        ("c", Some("nope"), RoomCode::NotFound),
    ] {
        assert_eq!(rig.store.create_branch(&place(), name, from).await.unwrap_err().code, code, "{name}");
    }
    assert!(rig.store.delete_branch(&place(), "main").await.is_err());
}
