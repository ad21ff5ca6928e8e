//! Search by text and by vector.

use super::rig::{ids_of, make, named, rig, search, table, write};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use meshagent::dataset::{CreateMode, DatasetStore, IndexConfig, OptimizeConfig, Search, TableAt, WriteKind};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn by_text(text: &str) -> Search {
    Search { text: Some(text.to_owned()), ..Search::default() }
}

fn by_vector(vector: &[f32]) -> Search {
    Search { vector: Some(vector.to_vec()), ..Search::default() }
}

fn index(index_type: &str, column: &str, settings: serde_json::Value) -> IndexConfig {
    let settings: Map<String, serde_json::Value> = serde_json::from_value(settings).unwrap();
    IndexConfig {
        columns: vec![column.into()],
        index_type: index_type.into(),
        name: None,
        replace: true,
        settings,
    }
}

#[tokio::test]
async fn text_is_found_with_and_without_an_index_in_every_version() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, []).await;
    let animals = [(1, "the quick brown fox"), (2, "a lazy dog sleeps"), (3, "foxes and dogs, and foxes")];
    write(&rig.store, &t, WriteKind::Insert, [named(&animals)]).await.unwrap();
    for indexed in [false, true] {
        if indexed {
            rig.store.create_index(&t, index("FTS", "name", json!({}))).await.unwrap();
            assert_eq!(rig.store.indexes(&t).await.unwrap()[0].details["engine"], "fts5");
        }
        let found = search(&rig.store, &t, by_text("fox")).await.unwrap();
        assert_eq!(ids_of(&found), [3, 1], "the stem, most often first");
        let scores = found[0].column_by_name("_score").unwrap().as_primitive::<Float32Type>().clone();
        assert!(scores.value(0) >= scores.value(1) && scores.value(1) > 0.0);
        assert_eq!(ids_of(&search(&rig.store, &t, by_text("\"brown fox\"")).await.unwrap()), [1]);
        let filtered = Search { filter: Some("id > 1".into()), ..by_text("fox dog") };
        assert_eq!(rig.store.count(&t, filtered).await.unwrap(), 2);
        assert!(search(&rig.store, &t, by_text("cat OR )(")).await.unwrap().is_empty());
    }
    write(&rig.store, &t, WriteKind::Insert, [named(&[(4, "one more fox")])]).await.unwrap();
    rig.store.delete(&t, "id = 3").await.unwrap();
    let mut now = ids_of(&search(&rig.store, &t, by_text("fox")).await.unwrap());
    now.sort_unstable();
    assert_eq!(now, [1, 4]);
    let before = TableAt { version: Some(2), ..t.clone() };
    assert_eq!(ids_of(&search(&rig.store, &before, by_text("fox")).await.unwrap()), [3, 1]);
    let forget = OptimizeConfig { retain_versions: Some(0), ..OptimizeConfig::default() };
    rig.store.optimize(&t, forget).await.unwrap();
    assert_eq!(rig.store.count(&t, by_text("fox")).await.unwrap(), 2);
    let column = Search { text_columns: Some(vec!["id".into()]), ..by_text("fox") };
    assert!(search(&rig.store, &t, column).await.unwrap_err().text.contains("holds no text"));
}

fn vectors(rows: &[(i64, [f32; 2])]) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values: ArrayRef = Arc::new(Float32Array::from_iter_values(rows.iter().flat_map(|row| row.1)));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let vectors: ArrayRef = Arc::new(FixedSizeListArray::new(item, 2, values, None));
    RecordBatch::try_from_iter([("id", ids), ("v", vectors)]).unwrap()
}

#[tokio::test]
async fn the_nearest_vectors_come_first() {
    let rig = rig();
    let t = table("t");
    let create = WriteKind::Create { mode: CreateMode::Create, schema: None, metadata: BTreeMap::new() };
    let rows = vectors(&[(1, [0.0, 1.0]), (2, [5.0, 5.0]), (3, [1.0, 0.0]), (4, [0.1, 9.0])]);
    write(&rig.store, &t, create, [rows]).await.unwrap();
    let found = search(&rig.store, &t, by_vector(&[0.9, 0.0])).await.unwrap();
    assert_eq!(ids_of(&found), [3, 1, 2, 4]);
    let distances = found[0].column_by_name("_distance").unwrap().as_primitive::<Float32Type>().clone();
    assert!((distances.value(0) - 0.01).abs() < 1e-6);
    let some = Search { offset: 1, limit: Some(2), filter: Some("id <> 1".into()), ..by_vector(&[0.9, 0.0]) };
    assert_eq!(ids_of(&search(&rig.store, &t, some).await.unwrap()), [2, 4]);
    rig.store.create_index(&t, index("IVF_PQ", "v", json!({"metric": "cosine"}))).await.unwrap();
    assert_eq!(ids_of(&search(&rig.store, &t, by_vector(&[0.0, 3.0])).await.unwrap()), [1, 4, 2, 3]);
    for (request, says) in [
        (by_vector(&[1.0]), "the vector has 1 numbers"),
        (Search { text: Some("x".into()), ..by_vector(&[0.0, 1.0]) }, "the table has no text"),
        (Search { limit: Some(1 << 40), ..by_vector(&[0.0, 1.0]) }, "at most"),
    ] {
        let error = search(&rig.store, &t, request).await.unwrap_err();
        assert!(error.text.contains(says), "{}", error.text);
    }
    make(&rig.store, &table("plain"), [1]).await;
    let error = search(&rig.store, &table("plain"), by_vector(&[1.0])).await.unwrap_err();
    assert!(error.text.contains("no vectors"), "{}", error.text);
}
