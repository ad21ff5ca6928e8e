//! Conditions and expressions: what they are printed as, what they give on real rows, and what is refused.

mod queries;
mod tables;

use self::tables::{CONDITIONS, EXPRESSIONS};
use super::{expression, filter, functions};
use crate::clock::System;
use crate::columnar::cell::{CellSource, declared_type};
use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, Int64Builder, ListBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array,
    Int32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Fields, Schema};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::sync::Arc;

const ID: [u8; 16] = [0x12; 16];

fn rows() -> RecordBatch {
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), Some(2)]);
    lists.append_value([Some(3)]);
    lists.append_null();
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), 2);
    for row in 0..3_u8 {
        vectors.values().append_value(f32::from(row));
        vectors.values().append_value(0.5);
        vectors.append(true);
    }
    let fields: Fields =
        vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)].into();
    let structs = StructArray::new(
        fields,
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef,
            Arc::new(StringArray::from(vec!["p", "q", "r"])),
        ],
        None,
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Int32Array::from(vec![Some(1), Some(2), None]))),
        ("A", Arc::new(Int64Array::from(vec![9, 8, 7]))),
        ("f", Arc::new(Float64Array::from(vec![1.5, -2.5, f64::NAN]))),
        ("s", Arc::new(StringArray::from(vec![Some("Hello"), Some("x%y"), None]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), Some(0), None]))),
        (
            "tz",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_000), Some(0), None])
                    .with_timezone("Europe/Oslo"),
            ),
        ),
        ("d", Arc::new(Date32Array::from(vec![Some(19_000), Some(0), None]))),
        ("l", Arc::new(lists.finish())),
        ("v", Arc::new(vectors.finish())),
        ("st", Arc::new(structs)),
        ("u", Arc::new(UInt64Array::from(vec![1, 2, u64::MAX]))),
        (
            "dec",
            Arc::new(
                Decimal128Array::from(vec![100, 250, -50]).with_precision_and_scale(20, 2).expect("in range"),
            ),
        ),
        ("bin", Arc::new(BinaryArray::from(vec![Some(&b"ab"[..]), Some(&[0]), None]))),
        (
            "id",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [Some(ID), Some([0; 16]), None].into_iter(),
                    16,
                )
                .expect("same width"),
            ),
        ),
        ("js", Arc::new(StringArray::from(vec![r#"{"k": 5, "s": "t"}"#, "{}", "[1]"]))),
        ("select", Arc::new(Int64Array::from(vec![4, 5, 6]))),
        ("n", Arc::new(Int64Array::from(vec![0, 1, 2]))),
    ];
    let schema: Schema = Schema::new(
        columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect::<Vec<_>>(),
    );
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, c)| c).collect()).expect("one shape")
}

/// The rows as the engine would keep them, but for `A`, which SQLite cannot tell from `a`.
fn database(batch: &RecordBatch) -> Connection {
    let connection = Connection::open_in_memory().expect("opens");
    functions::register(&connection, Arc::new(System)).expect("registers");
    let schema = batch.schema();
    let fields: Vec<_> =
        schema.fields().iter().zip(batch.columns()).filter(|(f, _)| f.name() != "A").collect();
    let declared: Vec<String> =
        fields.iter().map(|(f, _)| format!("\"{}\" {}", f.name(), declared_type(f.data_type()))).collect();
    connection.execute_batch(&format!("CREATE TABLE t ({})", declared.join(", "))).expect("creates");
    let marks = vec!["?"; fields.len()].join(", ");
    for row in 0..batch.num_rows() {
        let sources: Vec<CellSource> =
            fields.iter().map(|(f, c)| CellSource::new(f, c).expect("kept")).collect();
        let cells: Vec<_> = sources.iter().map(|s| s.cell(row)).collect();
        connection
            .execute(&format!("INSERT INTO t VALUES ({marks})"), rusqlite::params_from_iter(cells))
            .expect("inserts");
    }
    connection
}

/// `n` of the rows that the condition selects.
fn selected(text: &str) -> Result<Vec<i64>, String> {
    let batch = rows();
    let condition = filter(&batch.schema(), text).map_err(|e| e.text)?;
    let connection = database(&batch);
    let sql = format!("SELECT n FROM t WHERE {}", condition.sql);
    let mut statement = connection.prepare(&sql).map_err(|e| format!("{sql}: {e}"))?;
    let found = statement.query_map([], |row| row.get(0)).map_err(|e| e.to_string())?;
    found.collect::<Result<_, _>>().map_err(|e| format!("{sql}: {e}"))
}

/// What an expression gives on the first row, read back through its type.
fn value(text: &str) -> Result<String, String> {
    let batch = rows();
    let printed = expression(&batch.schema(), text).map_err(|e| e.text)?;
    let sql = format!("SELECT {} FROM t WHERE n = 0", printed.sql);
    let found: Value =
        database(&batch).query_row(&sql, [], |row| row.get(0)).map_err(|e| format!("{sql}: {e}"))?;
    let array = super::cells::array(printed.field.data_type(), (&found).into())
        .map_err(|e| format!("{sql} gave {found:?}: {e}"))?;
    let shown = arrow_cast::display::array_value_to_string(&array, 0).map_err(|e| e.to_string())?;
    Ok(format!("{shown} {}", printed.field.data_type()))
}

fn refusal(text: &str) -> String {
    match filter(&rows().schema(), text) {
        Ok(condition) => format!("became {}", condition.sql),
        Err(error) => error.text,
    }
}

#[test]
fn conditions_select_what_datafusion_selects() {
    let wrong: Vec<String> = CONDITIONS
        .iter()
        .filter_map(|(text, wanted)| match selected(text) {
            Ok(found) if found == *wanted => None,
            found => Some(format!("{text}: wanted {wanted:?}, found {found:?}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn expressions_have_the_types_and_values_of_datafusion() {
    let wrong: Vec<String> = EXPRESSIONS
        .iter()
        .filter_map(|(text, wanted)| match value(text) {
            Ok(found) if found == *wanted => None,
            found => Some(format!("{text}: wanted {wanted}, found {found:?}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let table = &[
        ("nam = 1", "line 1 column 1: there is no column `nam`"),
        ("a = 1 AND\n  selct = 4", "line 2 column 3: there is no column `selct`; did you mean `select`?"),
        ("\"S\" = 'x'", "there is no column `S`"),
        ("lowr(s) = 'x'", "line 1 column 1: there is no function `lowr`; did you mean `lower`?"),
        ("a = ", "expected: an expression"),
        ("", "the condition is empty"),
        ("a = 1; DROP TABLE t", "stands after the end"),
        ("a = 1 b", "stands after the end"),
        ("a IN (SELECT 1)", "a subquery is not possible here"),
        ("EXISTS (SELECT 1)", "a subquery is not possible here"),
        ("count(*) > 1", "looks at many rows"),
        ("a", "a condition is wanted here"),
        ("b = 1", "there is no comparison of Boolean and Int64"),
        ("ts > 5", "there is no comparison of Timestamp(µs) and Int64"),
        ("a = 'x'", "line 1 column 5: this is not a value of Int32"),
        ("ts > 'yesterday'", "line 1 column 6: this is not a value of Timestamp(µs)"),
        ("id = 'nope'", "is not a UUID"),
        ("s + 1 > 2", "`+` is not for Utf8 and Int64"),
        ("a LIKE 'x'", "LIKE is for text"),
        ("s ~ '('", "regular expression cannot be read"),
        ("s ~ 'a{1000}{1000}'", "regular expression is too large"),
        ("regexp_like(s, 'a', 'q')", "is not a flag"),
        ("st.z = 1", "the struct has no field `z`; there are `x`, `y`"),
        ("s.x = 1", "which has no fields"),
        ("l['x'] = 1", "which has no fields"),
        ("a[1] = 1", "has no elements"),
        ("lower() = 'x'", "`lower` takes 1 arguments, and here are 0"),
        ("date_trunc('fortnight', ts) > '2020-01-01'", "is not a unit that times are cut to"),
        ("CAST(a AS GEOMETRY) = 1", "is not a type here"),
        ("a = $1", "a condition has no parameters"),
        ("'open", "is a quote open?"),
        ("l > [1]", "has no order"),
        ("load_extension('x')", "there is no function `load_extension`"),
        ("ma_now() = 1", "there is no function `ma_now`"),
        ("a = 1 COLLATE nocase", "is not known here"),
    ];
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(text, wanted)| {
            let said = refusal(text);
            (!said.contains(wanted)).then(|| format!("{text}: wanted {wanted}, said {said}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn columns_read_are_named() {
    let condition = filter(&rows().schema(), "n = 1 AND st.x > a OR n = 2").expect("reads");
    assert_eq!(condition.columns, ["a", "st", "n"]);
}

#[test]
fn a_text_with_quotes_and_nul_stays_a_text() {
    let schema = Schema::new(vec![Field::new("we\"ird", DataType::Utf8, true)]);
    let condition = filter(&schema, "\"we\"\"ird\" = 'it''s; --\0'").expect("reads");
    assert_eq!(condition.sql, "((\"we\"\"ird\" = CAST(X'697427733b202d2d00' AS TEXT)))");
}

#[test]
fn long_chains_are_wide_not_deep() {
    let members: Vec<String> = (0..1_500).map(|n| format!("a = {n}")).collect();
    assert_eq!(selected(&members.join(" OR ")).expect("selects"), [0, 1]);
    let many: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    assert_eq!(selected(&format!("a IN ({})", many.join(", "))).expect("selects"), [0, 1]);
    let sum = vec!["a"; 2_990].join(" + ");
    assert!(filter(&rows().schema(), &format!("{sum} > 0")).is_ok());
    let calls = format!("{}s{} = 'hello'", "lower(".repeat(30), ")".repeat(30));
    assert_eq!(selected(&calls).expect("selects"), [0]);
    let casts = format!("a{} = 1", "::int".repeat(1_000));
    assert!(refusal(&casts).contains("deep"));
    let too_many: Vec<String> = (0..50_000).map(|n| format!("a = {n}")).collect();
    assert!(refusal(&too_many.join(" OR ")).contains("too many operators in a row"));
    let deep = format!("{}a = 1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(refusal(&deep).contains("deep"));
    let nots = format!("{} b", "NOT ".repeat(100_000));
    assert!(!refusal(&nots).is_empty());
    let minus = format!("{}1 = 1", "- ".repeat(100_000));
    assert!(!refusal(&minus).is_empty());
}

#[test]
fn every_function_that_is_printed_is_registered() {
    let batch = rows();
    let connection = database(&batch);
    for entry in super::catalogue::ENTRIES {
        let args: Vec<&str> = entry
            .args
            .iter()
            .take(entry.least)
            .map(|kind| match kind {
                super::catalogue::Kind::Text => "s",
                super::catalogue::Kind::Whole => "a",
                _ => "f",
            })
            .collect();
        for name in entry.names {
            let text = format!("{name}({})", args.join(", "));
            // JSON of a text that is none, and patterns, are for other tests
            let printed = expression(&batch.schema(), &text).unwrap_or_else(|e| panic!("{text}: {e}"));
            connection
                .prepare(&format!("SELECT {} FROM t", printed.sql))
                .unwrap_or_else(|e| panic!("{text}: {}: {e}", printed.sql));
        }
    }
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("s".to_owned()),
        Just("ts".to_owned()),
        Just("st.x".to_owned()),
        Just("l[1]".to_owned()),
        Just("NULL".to_owned()),
        Just("'x'".to_owned()),
        Just("INTERVAL '1 day'".to_owned()),
        Just("[1, 'x']".to_owned()),
        Just("dec".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        "[a-z_]{1,8}\\(",
        "[ ()\\[\\]+\\-*/%<>=!,.:'\"$a-zA-Z0-9]{0,6}",
    ]
}

proptest! {
    #[test]
    fn the_translator_never_panics(parts in prop::collection::vec((fragment(), prop::sample::select(vec![
        " ", " + ", " - ", " = ", " < ", " AND ", " OR ", " || ", " LIKE ", " IS NULL ", " IN (", ") ", ", ",
        "::int ", " BETWEEN ", " ~ ", " NOT ", " CASE WHEN ", " THEN ", " END ", " % ", "[", "]", "->>",
    ])), 0..12)) {
        let text: String = parts.into_iter().flat_map(|(a, b)| [a, b.to_owned()]).collect();
        if let Ok(condition) = filter(&rows().schema(), &text) {
            let batch = rows();
            // what is translated is SQL that SQLite takes
            let sql = format!("SELECT n FROM t WHERE {}", condition.sql);
            let connection = database(&batch);
            let prepared = connection.prepare(&sql);
            if let Err(error) = &prepared {
                prop_assert!(error.to_string().contains("too") || condition.columns.contains(&"A".to_owned()), "{text} became {sql}: {error}");
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}") {
        let _ = filter(&rows().schema(), &text);
    }

    #[test]
    fn strings_are_never_more_than_strings(text in ".{0,40}") {
        let schema = Schema::new(vec![Field::new("s", DataType::Utf8, true)]);
        let literal = text.replace('\'', "''");
        let condition = filter(&schema, &format!("s = '{literal}'")).expect("reads");
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch("CREATE TABLE t (s TEXT)").expect("creates");
        connection.execute("INSERT INTO t VALUES (?)", [&text]).expect("inserts");
        let sql = format!("SELECT count(*) FROM t WHERE {}", condition.sql);
        let found: i64 = connection.query_row(&sql, [], |row| row.get(0)).expect("runs");
        prop_assert_eq!(found, 1);
    }
}

#[test]
fn rows_of_the_test_are_kept_without_loss() {
    let batch = rows();
    assert_eq!(batch.column(8).as_list::<i32>().value(0).len(), 2);
}
