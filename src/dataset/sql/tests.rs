//! Conditions and expressions: what they are printed as, what they give on real rows, and what is refused.

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
    let table: &[(&str, &[i64])] = &[
        ("a = 1", &[0]),
        ("a <> 1", &[1]),
        ("a != 1 OR a IS NULL", &[1, 2]),
        ("a IN (1, 2, 3)", &[0, 1]),
        ("a NOT IN (1)", &[1]),
        ("a NOT IN (1, NULL)", &[]),
        ("a BETWEEN 1 AND 1", &[0]),
        ("a NOT BETWEEN 1 AND 1", &[1]),
        ("a IS DISTINCT FROM 1", &[1, 2]),
        ("a IS NOT DISTINCT FROM NULL", &[2]),
        ("a = '1'", &[0]),
        ("a + 1 > 2", &[1]),
        ("-a = -2", &[1]),
        ("a % 2 = 1", &[0]),
        ("a / 2 = 1", &[1]),
        ("a * 1.5 = 1.5", &[0]),
        ("b", &[0]),
        ("NOT b", &[1]),
        ("b = TRUE", &[0]),
        ("b IS NOT TRUE", &[1, 2]),
        ("b IS UNKNOWN", &[2]),
        ("s = 'Hello'", &[0]),
        ("s LIKE 'H%'", &[0]),
        ("s LIKE 'h%'", &[]),
        ("s ILIKE 'h_LLO'", &[0]),
        (r"s LIKE 'x\%y'", &[1]),
        ("s LIKE 'x#%y' ESCAPE '#'", &[1]),
        ("s NOT LIKE 'H%'", &[1]),
        ("s LIKE lower('X') || '%'", &[1]),
        ("s SIMILAR TO 'H(e|a)%'", &[0]),
        ("s ~ '^H'", &[0]),
        ("s ~* '^h'", &[0]),
        ("s !~ '^H'", &[1]),
        ("regexp_like(s, 'l{2}')", &[0]),
        ("starts_with(s, 'He') AND ends_with(s, 'lo') AND contains(s, 'ell')", &[0]),
        ("lower(s) = 'hello' AND length(s) = 5", &[0]),
        ("s > 'I'", &[1]),
        ("ts > '2020-01-01'", &[0]),
        ("ts >= TIMESTAMP '2023-11-14T22:13:20.123456'", &[0]),
        ("ts = '2023-11-14T22:13:20.123456Z'", &[0]),
        ("tz = '2023-11-14T22:13:20Z'", &[0]),
        ("tz < '1970-01-01T00:00:01+00:00'", &[1]),
        ("d = '2022-01-08'", &[0]),
        ("d = DATE '1970-01-01'", &[1]),
        ("d < ts", &[0]),
        ("d = ts", &[1]),
        ("ts - INTERVAL '1 day' < '1970-01-01'", &[1]),
        ("d + INTERVAL '1 month' = '2022-02-08'", &[0]),
        ("date_trunc('day', ts) = '2023-11-14'", &[0]),
        ("date_part('year', ts) = 1970", &[1]),
        ("extract(hour FROM tz) = 23", &[0]),
        ("now() > ts", &[0, 1]),
        ("u = 18446744073709551615 OR u = 1", &[0]),
        ("u > 1", &[1, 2]),
        ("dec = 1", &[0]),
        ("dec > 1.5", &[1]),
        ("dec < 0", &[2]),
        ("dec = '2.50'", &[1]),
        ("bin = X'6162'", &[0]),
        ("bin = 'ab'", &[0]),
        ("id = X'12121212121212121212121212121212'", &[0]),
        ("id = '12121212-1212-1212-1212-121212121212'", &[0]),
        ("id IN ('12121212121212121212121212121212')", &[0]),
        ("l = [1, 2]", &[0]),
        ("l[1] = 3", &[1]),
        ("l[-1] = 2", &[0]),
        ("l[n + 1] = 1", &[0]),
        ("array_has(l, 3)", &[1]),
        ("array_contains(l, '1')", &[0]),
        ("3 = ANY(l)", &[1]),
        ("array_has_any(l, [2, 3])", &[0, 1]),
        ("array_has_all(l, [1, 2])", &[0]),
        ("array_length(l) = 2", &[0]),
        ("cardinality(v) = 2", &[0, 1, 2]),
        ("v[1] = 2", &[2]),
        ("st.x = 2", &[1]),
        ("st['y'] = 'p'", &[0]),
        ("get_field(st, 'x') > 1", &[1, 2]),
        ("st = named_struct('x', 1, 'y', 'p')", &[0]),
        ("json_extract(js, '$.k') = '5'", &[0]),
        ("json_get_int(js, 'k') = 5", &[0]),
        ("js ->> 's' = 't'", &[0]),
        ("json_exists(js, '$.k')", &[0]),
        ("coalesce(a, 7) = 7", &[2]),
        ("nullif(a, 1) IS NULL", &[0, 2]),
        ("CASE WHEN a = 1 THEN 'x' ELSE 'y' END = 'y'", &[1, 2]),
        ("CASE a WHEN 1 THEN TRUE END", &[0]),
        ("CAST(a AS VARCHAR) = '2'", &[1]),
        ("a::double = 2.0", &[1]),
        ("TRY_CAST(s AS INT) IS NULL", &[0, 1, 2]),
        ("isnan(f)", &[2]),
        ("abs(f) = 2.5", &[1]),
        ("round(f) = 2", &[0]),
        ("\"select\" = 4", &[0]),
        ("`select` = 5", &[1]),
        ("S = 'Hello' AND N = 0", &[0]),
        ("TRUE", &[0, 1, 2]),
        ("a = 1 AND (b OR b IS NULL) OR n = 2", &[0, 2]),
        ("a = NULL", &[]),
        ("greatest(a, 2) = 2", &[0, 1, 2]),
    ];
    let wrong: Vec<String> = table
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
    let table = &[
        ("a + 1", "2 Int64"),
        ("a / 2", "0 Int64"),
        ("7 / 2", "3 Int64"),
        ("-7 % 3", "-1 Int64"),
        ("7.0 / 2", "3.5 Float64"),
        ("a * f", "1.5 Float64"),
        ("f % 1", "0.5 Float64"),
        ("s || a", "Hello1 Utf8"),
        ("s || NULL", " Utf8"),
        ("concat(s, a, NULL)", "Hello1 Utf8"),
        ("concat_ws('-', s, NULL, 'q')", "Hello-q Utf8"),
        ("length(s)", "5 Int32"),
        ("upper(s)", "HELLO Utf8"),
        ("initcap('ab cd')", "Ab Cd Utf8"),
        ("substr('abc', 0, 2)", "a Utf8"),
        ("substring('abc' FROM 2 FOR 1)", "b Utf8"),
        ("left('abc', 2)", "ab Utf8"),
        ("right('abc', -1)", "bc Utf8"),
        ("lpad('a', 3, 'xy')", "xya Utf8"),
        ("split_part('a,b', ',', 2)", "b Utf8"),
        ("split_part('a,b', ',', -1)", "b Utf8"),
        ("trim('  a ')", "a Utf8"),
        ("trim(LEADING 'x' FROM 'xax')", "ax Utf8"),
        ("position('b' IN 'abc')", "2 Int32"),
        ("replace('aa', 'a', 'b')", "bb Utf8"),
        ("reverse('abc')", "cba Utf8"),
        ("repeat('a', 3)", "aaa Utf8"),
        ("to_hex(255)", "ff Utf8"),
        ("chr(65)", "A Utf8"),
        ("ascii('a')", "97 Int32"),
        ("regexp_replace('abab', 'a', 'x', 'g')", "xbxb Utf8"),
        (r"regexp_replace('ab', '(a)(b)', '\2\1')", "ba Utf8"),
        ("regexp_match('a1', '([a-z])([0-9])')", "[a, 1] List(Utf8)"),
        ("round(2.567, 1)", "2.6 Float64"),
        ("round(a)", "1 Int32"),
        ("floor(-1.5)", "-2.0 Float64"),
        ("ceil(a)", "1.0 Float64"),
        ("abs(-5)", "5 Int64"),
        ("power(2, 3)", "8.0 Float64"),
        ("log(10, 100)", "2.0 Float64"),
        ("factorial(5)", "120 Int64"),
        ("gcd(4, 6)", "2 Int64"),
        ("1.5", "1.5 Float64"),
        ("1e3", "1000.0 Float64"),
        ("99999999999999999999", "100000000000000000000.0 Float64"),
        ("-9223372036854775808", "-9223372036854775808 Int64"),
        ("greatest(a, 5)", "5 Int64"),
        ("nvl(a, 7)", "1 Int64"),
        ("CASE WHEN a = 1 THEN 1 ELSE 2.5 END", "1.0 Float64"),
        ("date_trunc('month', ts)", "2023-11-01T00:00:00 Timestamp(µs)"),
        ("date_trunc('month', d)", "2022-01-01T00:00:00 Timestamp(ns)"),
        ("date_trunc('day', tz)", "2023-11-14T00:00:00+01:00 Timestamp(µs, \"Europe/Oslo\")"),
        ("date_bin(INTERVAL '1 hour', ts)", "2023-11-14T22:00:00 Timestamp(µs)"),
        ("extract(epoch FROM ts)", "1700000000.123456 Float64"),
        ("extract(week FROM d)", "1 Int32"),
        ("extract(dow FROM d)", "6 Int32"),
        ("date_part('doy', ts)", "318 Int32"),
        ("ts + INTERVAL '1 month 2 days'", "2023-12-16T22:13:20.123456 Timestamp(µs)"),
        ("d + INTERVAL '2 hours'", "2022-01-08 Date32"),
        ("d + 1", "2022-01-09 Date32"),
        ("d - DATE '2022-01-01'", "7 Int64"),
        ("make_date(2020, 2, 29)", "2020-02-29 Date32"),
        ("to_char(ts, '%Y/%m')", "2023/11 Utf8"),
        ("to_timestamp(5)", "1970-01-01T00:00:05 Timestamp(ns)"),
        ("to_timestamp_millis(5)", "1970-01-01T00:00:00.005 Timestamp(ms)"),
        ("to_date('2020-01-02')", "2020-01-02 Date32"),
        ("to_unixtime(ts)", "1700000000 Int64"),
        ("CAST(f AS INT)", "1 Int32"),
        ("CAST(b AS VARCHAR)", "true Utf8"),
        ("CAST(f AS VARCHAR)", "1.5 Utf8"),
        ("CAST(ts AS VARCHAR)", "2023-11-14T22:13:20.123456 Utf8"),
        ("CAST(d AS VARCHAR)", "2022-01-08 Utf8"),
        ("CAST('12' AS BIGINT)", "12 Int64"),
        ("CAST(a AS DECIMAL(10, 2))", "1.00 Decimal128(10, 2)"),
        ("CAST(id AS VARCHAR)", "12121212-1212-1212-1212-121212121212 Utf8"),
        ("arrow_cast(a, 'Int8')", "1 Int8"),
        ("arrow_typeof(ts)", "Timestamp(µs) Utf8"),
        ("l", "[1, 2] List(Int64)"),
        ("[a, 5]", "[1, 5] List(Int64)"),
        ("array_append(l, 4)", "[1, 2, 4] List(Int64)"),
        ("array_concat(l, [9])", "[1, 2, 9] List(Int64)"),
        ("array_slice(l, 2, 2)", "[2] List(Int64)"),
        ("array_sort([3, 1, 2])", "[1, 2, 3] List(Int64)"),
        ("array_distinct([1, 1])", "[1] List(Int64)"),
        ("array_max(l)", "2 Int64"),
        ("array_to_string(l, '-')", "1-2 Utf8"),
        ("array_position(l, 2)", "2 UInt64"),
        ("string_to_array('a b', ' ')", "[a, b] List(Utf8)"),
        ("v[2]", "0.5 Float32"),
        ("st", "{x: 1, y: p} Struct(\"x\": Int64, \"y\": Utf8)"),
        ("named_struct('k', a, 's', s)", "{k: 1, s: Hello} Struct(\"k\": Int32, \"s\": Utf8)"),
        ("NULL", " Null"),
    ];
    let wrong: Vec<String> = table
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
        ("a = 1 AND\n  ss = 'x'", "line 2 column 3: there is no column `ss`; did you mean `s`?"),
        ("\"S\" = 'x'", "there is no column `S`"),
        ("lowr(s) = 'x'", "line 1 column 1: there is no function `lowr`; did you mean `lower`?"),
        ("a = ", "line 1"),
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
