//! The SQL dialect through the port: types that survive, what the public clients write, parameters, limits.

use super::rig::{place, rig, table, write};
use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use meshagent::dataset::{
    CreateMode, DatasetError, DatasetStore, Search, SqlOutcome, SqlRequest, SqliteDatasets, WriteKind,
};
use meshagent::error_code::RoomCode;
use std::collections::BTreeMap;
use std::sync::Arc;

const ID: [u8; 16] = [0x12; 16];

fn rows() -> RecordBatch {
    let mut tags = ListBuilder::new(Int64Builder::new());
    tags.append_value([Some(1), Some(2)]);
    tags.append_null();
    let ids = FixedSizeBinaryArray::try_from_iter([ID, [0; 16]].into_iter()).unwrap();
    let tags = tags.finish();
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Oslo".into()));
    let uuid = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
    let fields = vec![
        Field::new("n", DataType::Int64, false),
        Field::new("id", DataType::FixedSizeBinary(16), true)
            .with_metadata(uuid.into_iter().collect::<std::collections::HashMap<String, String>>()),
        Field::new("at", zoned, true),
        Field::new("tags", tags.data_type().clone(), true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("who", DataType::Utf8, true),
    ];
    let at = TimestampMicrosecondArray::from(vec![1_700_000_000_000_000, 0]).with_timezone("Europe/Oslo");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(ids),
        Arc::new(at),
        Arc::new(tags),
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(StringArray::from(vec!["it's", "b"])),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

async fn made() -> super::rig::Rig {
    let rig = rig();
    let create = WriteKind::Create { mode: CreateMode::Create, schema: None, metadata: BTreeMap::new() };
    write(&rig.store, &table("t"), create, [rows()]).await.unwrap();
    rig
}

fn params() -> RecordBatch {
    let at = TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("who", Arc::new(StringArray::from(vec!["it's"]))),
        ("n", Arc::new(Int64Array::from(vec![2]))),
        ("at", Arc::new(at)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn run(
    store: &SqliteDatasets,
    text: &str,
    params: Option<RecordBatch>,
) -> Result<SqlOutcome, DatasetError> {
    store.sql(&place(), SqlRequest { query: text.to_owned(), tables: Vec::new(), params }).await
}

/// Rows as texts, with the schema.
async fn rows_of(
    store: &SqliteDatasets,
    text: &str,
    params: Option<RecordBatch>,
) -> (Arc<Schema>, Vec<String>) {
    let SqlOutcome::Rows(mut reader) = run(store, text, params).await.unwrap() else { panic!("no rows") };
    let mut all = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
            all.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    (reader.schema(), all)
}

#[tokio::test]
async fn columns_keep_their_types_and_metadata_in_results() {
    let rig = made().await;
    let (schema, found) = rows_of(&rig.store, "SELECT * FROM t ORDER BY n", None).await;
    assert_eq!(schema.fields(), rows().schema().fields());
    assert_eq!(found[0], "1|12121212121212121212121212121212|2023-11-14T23:13:20+01:00|[1, 2]|true|it's");
    let text = "SELECT date_trunc('day', at) AS d, tags[1] AS first, count(*) AS c, array_agg(n) AS ns
                FROM t GROUP BY d, first ORDER BY d";
    let (schema, found) = rows_of(&rig.store, text, None).await;
    assert_eq!(schema.field(0).data_type(), rows().schema().field(2).data_type());
    assert_eq!(found, ["1970-01-01T00:00:00+01:00||1|[2]", "2023-11-14T00:00:00+01:00|1|1|[1]"]);
    let (schema, found) = rows_of(&rig.store, "SELECT n FROM t WHERE FALSE", None).await;
    assert_eq!((schema.field(0).data_type(), found.len()), (&DataType::Int64, 0));
}

#[tokio::test]
async fn conditions_that_the_public_client_writes_select_their_rows() {
    let rig = made().await;
    let conditions = [
        "n = 1 AND ok = TRUE AND who = 'it''s'",
        "id = X'12121212121212121212121212121212'",
        "at = '2023-11-14T22:13:20Z'",
        "tags = [1, 2]",
        "who = 'it''s' AND n = 1.0",
    ];
    for filter in conditions {
        let search = Search { filter: Some(filter.to_owned()), ..Search::default() };
        assert_eq!(rig.store.count(&table("t"), search).await.unwrap(), 1, "{filter}");
    }
}

#[tokio::test]
async fn parameters_serve_queries_and_writes() {
    let rig = made().await;
    let one = |text: &'static str| rows_of(&rig.store, text, Some(params()));
    assert_eq!(one("SELECT n FROM t WHERE who = $who").await.1, ["1"]);
    assert_eq!(one("SELECT n FROM t WHERE at = $3").await.1, ["2"]);
    assert_eq!(one("SELECT n FROM t WHERE who = ? OR n = ? ORDER BY n").await.1, ["1", "2"]);
    assert_eq!(one("SELECT n FROM t ORDER BY n").await.1, ["1", "2"], "parameters may be unused");
    let update = "UPDATE t AS x SET who = upper($who), ok = x.n > 1 WHERE x.n = $n";
    assert!(matches!(run(&rig.store, update, Some(params())).await, Ok(SqlOutcome::Affected(1))));
    assert_eq!(one("SELECT who, ok FROM t ORDER BY n").await.1, ["it's|true", "IT'S|true"]);
    let delete = run(&rig.store, "DELETE FROM t WHERE at = $at", Some(params())).await;
    assert!(matches!(delete, Ok(SqlOutcome::Affected(1))));
    let error = run(&rig.store, "SELECT $nope", Some(params())).await.unwrap_err();
    assert!(error.text.contains("no parameter was sent for `$nope`"), "{}", error.text);
}

#[tokio::test]
async fn values_that_fail_while_they_are_read_are_the_callers_error() {
    let rig = made().await;
    for (text, says) in [
        ("SELECT CAST(who AS BIGINT) FROM t", "Cannot cast string 'it's' to value of Int64"),
        ("SELECT n + x FROM t", "line 1 column 12: there is no column `x`"),
        ("SELECT factorial(n + 30) FROM t", "larger than 64 bits"),
    ] {
        let error = run(&rig.store, text, None).await.unwrap_err();
        assert_eq!(error.code, RoomCode::InvalidRequest, "{text}: {}", error.text);
        assert!(error.text.contains(says), "{text}: {}", error.text);
    }
    let still = rows_of(&rig.store, "SELECT count(*) FROM t", None).await.1;
    assert_eq!(still, ["2"]);
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_ends() {
    let rig = made().await;
    let forever = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT sum(i) FROM c";
    let waited =
        tokio::time::timeout(std::time::Duration::from_millis(300), run(&rig.store, forever, None)).await;
    assert!(waited.is_err(), "it does not end by itself");
    // readers are few: were those queries still running, nothing else could read
    for _ in 0..8 {
        let _ =
            tokio::time::timeout(std::time::Duration::from_millis(50), run(&rig.store, forever, None)).await;
    }
    let quick = tokio::time::timeout(
        std::time::Duration::from_secs(20),
        rows_of(&rig.store, "SELECT count(*) FROM t", None),
    );
    assert_eq!(quick.await.unwrap().1, ["2"]);
}
