//! A text and a vector at once, and filters in the SQL dialect over what is ranked.

use super::rig::{ids_of, rig, search, table, write};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use meshagent::dataset::{CreateMode, DatasetStore, Search, WriteKind};
use std::collections::BTreeMap;
use std::sync::Arc;

const ROWS: &[(i64, &str, [f32; 2])] = &[
    (1, "red fox", [0.0, 9.0]),
    (2, "blue whale", [1.0, 0.0]),
    (3, "red whale of the sea", [1.0, 0.2]),
    (4, "nothing of it", [9.0, 9.0]),
];

fn rows() -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values: ArrayRef = Arc::new(Float32Array::from_iter_values(ROWS.iter().flat_map(|row| row.2)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(ROWS.iter().map(|row| row.0)))),
        ("words", Arc::new(StringArray::from_iter_values(ROWS.iter().map(|row| row.1)))),
        ("v", Arc::new(FixedSizeListArray::new(item, 2, values, None))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn both(text: &str, vector: [f32; 2]) -> Search {
    Search { text: Some(text.to_owned()), vector: Some(vector.to_vec()), ..Search::default() }
}

#[tokio::test]
async fn a_row_that_both_rankings_find_comes_first() {
    let rig = rig();
    let t = table("t");
    let create = WriteKind::Create { mode: CreateMode::Create, schema: None, metadata: BTreeMap::new() };
    write(&rig.store, &t, create, [rows()]).await.unwrap();

    // by vector 2, 3, 1, 4; by text 1 and 3
    let found = search(&rig.store, &t, both("red", [1.0, 0.0])).await.unwrap();
    let ids = ids_of(&found);
    assert_eq!((ids.len(), ids[3]), (4, 4), "{ids:?}: every row has a distance, the last has nothing else");
    assert_eq!(ids[2], 2, "{ids:?}: nearest, but not red");
    let worth = found[0].column_by_name("_relevance_score").unwrap().as_primitive::<Float32Type>().clone();
    assert!(worth.values().windows(2).all(|pair| pair[0] >= pair[1]), "{worth:?}");
    assert!(found[0].column_by_name("_distance").is_none() && found[0].column_by_name("_score").is_none());

    let some = Search {
        filter: Some("words ILIKE '%WHALE%' AND v[1] = 1".into()),
        select: Some(vec!["id".into(), "_relevance_score".into()]),
        limit: Some(1),
        ..both("red", [1.0, 0.0])
    };
    let found = search(&rig.store, &t, some.clone()).await.unwrap();
    assert_eq!(ids_of(&found), [3]);
    assert_eq!(found[0].num_columns(), 2);
    let next = Search { offset: 1, ..some };
    assert_eq!(ids_of(&search(&rig.store, &t, next.clone()).await.unwrap()), [2]);
    assert_eq!(rig.store.count(&t, next).await.unwrap(), 1);

    let wrong = Search { filter: Some("wrods = 'x'".into()), ..both("red", [1.0, 0.0]) };
    let error = search(&rig.store, &t, wrong).await.unwrap_err();
    assert!(
        error.text.contains("line 1 column 1: there is no column `wrods`; did you mean `words`?"),
        "{}",
        error.text
    );
}
