//! Columns: every type comes back as it was, columns come and go, and indexes.

use super::rig::{all, create, ids, insert, make, rig, rows, schema, search, table, write};
use arrow_array::builder::{Int32Builder, ListBuilder, StringDictionaryBuilder};
use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, FixedSizeListArray,
    Float32Array, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};
use meshagent::dataset::{AddColumns, CreateMode, DatasetStore, IndexConfig, Search, TableAt, WriteKind};
use meshagent::error_code::RoomCode;
use serde_json::Map;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

fn dictionary(values: &[&str]) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int8Type>::new();
    values.iter().for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

/// Two rows of many types.
fn zoo() -> RecordBatch {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![1.5, -0.0, f32::MAX, 0.1]));
    let vectors = FixedSizeListArray::new(item, 2, floats, None);
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("x\"\n"), None]));
    let structs = StructArray::from(vec![(Arc::new(Field::new("s", DataType::Utf8, true)), inner)]);
    let zoned = TimestampNanosecondArray::from(vec![i64::MIN, 1]).with_timezone("Europe/Oslo");
    let decimals = Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(30, 3).unwrap();
    let uuids = FixedSizeBinaryArray::try_from_iter([[7_u8; 16], [0; 16]].iter()).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("tiny", Arc::new(Int8Array::from(vec![-128, 127]))),
        ("huge", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("real", Arc::new(Float64Array::from(vec![0.1, f64::INFINITY]))),
        ("exact", Arc::new(decimals)),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
        ("uuid", Arc::new(uuids)),
        ("at", Arc::new(zoned)),
        ("list", Arc::new(lists.finish())),
        ("vector", Arc::new(vectors)),
        ("struct", Arc::new(structs)),
        ("word", dictionary(&["a", "b"])),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let plain = batch.schema();
    let fields = plain.fields().iter().map(|field| {
        let metadata = if field.name() == "uuid" {
            HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())])
        } else {
            HashMap::new()
        };
        field.as_ref().clone().with_metadata(metadata)
    });
    let schema = Schema::new(fields.collect::<Vec<_>>())
        .with_metadata(HashMap::from([("k".to_owned(), "v".to_owned())]));
    RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap()
}

#[tokio::test]
async fn every_type_and_all_metadata_come_back() {
    let rig = rig();
    let t = table("zoo");
    let given = zoo();
    let kind = WriteKind::Create { mode: CreateMode::Create, schema: None, metadata: BTreeMap::new() };
    write(&rig.store, &t, kind, [given.clone()]).await.unwrap();
    assert_eq!(rig.store.schema(&t).await.unwrap(), given.schema());
    assert_eq!(search(&rig.store, &t, Search::default()).await.unwrap(), std::slice::from_ref(&given));
    // Enough for segments; and more values than the narrow dictionary's batch can hold.
    let copies = (0..3_000).map(|_| given.clone());
    write(&rig.store, &t, WriteKind::Insert, copies).await.unwrap();
    let found = search(&rig.store, &t, Search::default()).await.unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 6_002);
    for batch in found {
        assert!(batch.num_rows() <= 127, "a batch holds what its keys can");
    }
    let last = Search { offset: 6_000, ..Search::default() };
    assert_eq!(search(&rig.store, &t, last).await.unwrap(), [given]);
}

#[tokio::test]
async fn schemas_that_cannot_be_kept_are_refused_by_name() {
    let rig = rig();
    let kind = |fields: Vec<Field>| WriteKind::Create {
        mode: CreateMode::Create,
        schema: Some(Arc::new(Schema::new(fields))),
        metadata: BTreeMap::new(),
    };
    let field = |name: &str| Field::new(name, DataType::Int8, true);
    let union = DataType::Union(arrow_schema::UnionFields::empty(), arrow_schema::UnionMode::Sparse);
    for (fields, says) in [
        (vec![], "1 to 1000 columns"),
        (vec![field("a"), field("A")], "`a` and `A`"),
        (vec![field("")], "cannot name a column"),
        (vec![field("__row")], "reserved"),
        (vec![Field::new("u", union, true)], "column `u` is a union"),
    ] {
        let error = rig.store.write(&table("t"), kind(fields)).await.err().unwrap();
        assert_eq!(error.code, RoomCode::InvalidRequest);
        assert!(error.text.contains(says), "{}", error.text);
    }
    let name = TableAt { table: "x".repeat(300), ..table("t") };
    assert!(rig.store.write(&name, kind(vec![field("a")])).await.is_err());
}

#[tokio::test]
async fn columns_are_added_dropped_and_described() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1, 2]).await;
    let extra = |nullable| {
        AddColumns::Schema(Arc::new(Schema::new(vec![Field::new("extra", DataType::Utf8, nullable)])))
    };
    assert!(rig.store.add_columns(&t, extra(false)).await.unwrap_err().text.contains("make it nullable"));
    rig.store.add_columns(&t, extra(true)).await.unwrap();
    assert!(rig.store.add_columns(&t, extra(true)).await.unwrap_err().text.contains("same name"));
    let found = search(&rig.store, &t, Search::default()).await.unwrap();
    assert_eq!((found[0].num_columns(), found[0].column(2).logical_null_count()), (3, 2));
    rig.store.drop_columns(&t, &["name".to_owned()]).await.unwrap();
    assert!(
        rig.store.drop_columns(&t, &["name".to_owned()]).await.unwrap_err().text.contains("no column `name`")
    );
    let left = ["id".to_owned(), "extra".to_owned()];
    assert!(rig.store.drop_columns(&t, &left).await.unwrap_err().text.contains("at least one"));
    let metadata = BTreeMap::from([("unit".to_owned(), "m".to_owned())]);
    rig.store.set_column_metadata(&t, "id", metadata).await.unwrap();
    let now = rig.store.schema(&t).await.unwrap();
    assert_eq!(now.field(0).metadata().get("unit").unwrap(), "m");
    assert_eq!(now.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["id", "extra"]);
    let first = TableAt { version: Some(1), ..t.clone() };
    assert_eq!(rig.store.schema(&first).await.unwrap(), schema());
    assert_eq!(all(&rig.store, &first).await, [(1, "n1".to_owned()), (2, "n2".to_owned())]);
    rig.store.restore(&t, 1).await.unwrap();
    assert_eq!(all(&rig.store, &t).await, [(1, "n1".to_owned()), (2, "n2".to_owned())]);
}

#[tokio::test]
async fn a_writer_that_began_before_a_column_was_added_still_fits() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, [1]).await;
    let mut writer = rig.store.write(&t, WriteKind::Insert).await.unwrap();
    writer.push(rows([2])).await.unwrap();
    let extra = Arc::new(Schema::new(vec![Field::new("extra", DataType::Int64, true)]));
    rig.store.add_columns(&t, AddColumns::Schema(extra)).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(ids(&rig.store, &t).await, [1, 2]);
    let mut writer = rig.store.write(&t, WriteKind::Insert).await.unwrap();
    writer.push(rows([3])).await.unwrap();
    rig.store.drop_columns(&t, &["name".to_owned()]).await.unwrap();
    assert!(writer.commit().await.unwrap_err().text.contains("no column `name`"));
}

fn index(index_type: &str, column: &str, replace: bool) -> IndexConfig {
    IndexConfig {
        columns: vec![column.to_owned()],
        index_type: index_type.to_owned(),
        name: None,
        replace,
        settings: Map::new(),
    }
}

#[tokio::test]
async fn indexes_are_made_listed_replaced_and_dropped() {
    let rig = rig();
    let t = table("t");
    make(&rig.store, &t, 0..100).await;
    rig.store.create_index(&t, index("BTREE", "id", false)).await.unwrap();
    let twice = rig.store.create_index(&t, index("BTREE", "id", false)).await.unwrap_err();
    assert_eq!(twice.code, RoomCode::AlreadyExists);
    rig.store.create_index(&t, index("BITMAP", "id", true)).await.unwrap();
    let listed = rig.store.indexes(&t).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].index_type.as_str()), ("id_idx", "BITMAP"));
    assert_eq!((&listed[0].columns[..], listed[0].rows_indexed), (&["id".to_owned()][..], 100));
    insert(&rig.store, &t, [500]).await;
    let found = search(&rig.store, &t, Search { filter: Some("id = 500".into()), ..Search::default() }).await;
    assert_eq!(found.unwrap()[0].num_rows(), 1);
    for (config, says) in [
        (index("BTREE", "nope", false), "no column `nope`"),
        (index("IVF_PQ", "id", false), "holds no vectors"),
        (index("MAGIC", "name", false), "not known"),
    ] {
        assert!(rig.store.create_index(&t, config).await.unwrap_err().text.contains(says));
    }
    rig.store.drop_index(&t, "id_idx").await.unwrap();
    assert_eq!(rig.store.drop_index(&t, "id_idx").await.unwrap_err().code, RoomCode::NotFound);
    rig.store.create_index(&t, index("BTREE", "name", false)).await.unwrap();
    rig.store.drop_columns(&t, &["name".to_owned()]).await.unwrap();
    assert_eq!(rig.store.indexes(&t).await.unwrap().len(), 0);
    let none: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("id", none)]).unwrap();
    write(&rig.store, &t, WriteKind::Insert, [batch]).await.unwrap();
    assert!(write(&rig.store, &t, create(CreateMode::Create), []).await.is_err());
}
