//! Whole statements over two tables in memory.

use super::super::{Named, Plan, QueryPlan, Source, cells, functions, plan, tables_of};
use crate::clock::System;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field, Schema};
use rusqlite::{Connection, params_from_iter};
use std::sync::Arc;

fn sources() -> Vec<Source> {
    let schema = |fields: Vec<Field>| Arc::new(Schema::new(fields));
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    vec![
        Source {
            name: "t".to_owned(),
            schema: schema(vec![
                Field::new("id", DataType::Int32, false),
                Field::new("s", DataType::Utf8, true),
                Field::new("f", DataType::Float64, true),
                Field::new("l", list, true),
            ]),
            sql: "SELECT * FROM t0".to_owned(),
        },
        Source {
            name: "Orders".to_owned(),
            schema: schema(vec![
                Field::new("id", DataType::Int64, false),
                Field::new("t_id", DataType::Int32, true),
                Field::new("c0", DataType::Int64, true),
                Field::new("b", DataType::Boolean, true),
            ]),
            sql: "SELECT * FROM o0".to_owned(),
        },
    ]
}

fn database() -> Connection {
    let connection = Connection::open_in_memory().expect("opens");
    functions::register(&connection, Arc::new(System)).expect("registers");
    let rows = "CREATE TABLE t0 (id INTEGER, s TEXT, f BLOB, l TEXT);
        INSERT INTO t0 VALUES (1, 'a', 1.5, '[1,2]'), (2, 'b', 2.5, '[3]'), (3, NULL, NULL, NULL);
        CREATE TABLE o0 (id INTEGER, t_id INTEGER, c0 INTEGER, b INTEGER);
        INSERT INTO o0 VALUES (10, 1, 5, 1), (11, 1, 6, 0), (12, 2, NULL, 1), (13, 9, 7, NULL)";
    connection.execute_batch(rows).expect("fills");
    connection
}

fn run(text: &str, params: Option<RecordBatch>) -> Result<String, String> {
    match plan(text, &sources(), params).map_err(|e| e.text)? {
        Plan::Query(query) => rows(&query),
        other => Ok(format!("{other:?}")),
    }
}

/// `name type, … | value value; value value`.
fn rows(query: &QueryPlan) -> Result<String, String> {
    let connection = database();
    let mut statement = connection.prepare(&query.sql).map_err(|e| format!("{}: {e}", query.sql))?;
    let mut found = statement.query(params_from_iter(query.bound(&statement))).map_err(|e| e.to_string())?;
    let mut printed = Vec::new();
    while let Some(row) = found.next().map_err(|e| format!("{}: {e}", query.sql))? {
        let mut values = Vec::new();
        for (index, field) in query.schema.fields().iter().enumerate() {
            let value = row.get_ref(index).map_err(|e| e.to_string())?;
            let array = cells::array(field.data_type(), value)?;
            let shown = array_value_to_string(&array, 0).map_err(|e| e.to_string())?;
            values.push(if shown.is_empty() { "-".to_owned() } else { shown });
        }
        printed.push(values.join(" "));
    }
    let names: Vec<String> =
        query.schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    Ok(format!("{} | {}", names.join(", "), printed.join("; ")))
}

const QUERIES: &[(&str, &str)] = &[
    ("SELECT id, s FROM t", "id Int32, s Utf8 | 1 a; 2 b; 3 -"),
    ("SELECT ID AS X, s AS \"Y\" FROM t WHERE id = 1", "x Int32, Y Utf8 | 1 a"),
    (
        "SELECT count(*), sum(id), avg(f) FROM t",
        "count(*) Int64, sum(t.id) Int64, avg(t.f) Float64 | 3 6 2.0",
    ),
    ("SELECT id + 1, 'x' FROM t LIMIT 1", "t.id + Int64(1) Int64, Utf8(\"x\") Utf8 | 2 x"),
    ("SELECT s FROM t ORDER BY s", "s Utf8 | a; b; -"),
    ("SELECT s FROM t ORDER BY s DESC", "s Utf8 | -; b; a"),
    ("SELECT s FROM t ORDER BY 1 DESC NULLS LAST", "s Utf8 | b; a; -"),
    ("SELECT id AS k FROM t ORDER BY -k", "k Int32 | 3; 2; 1"),
    ("SELECT id FROM t ORDER BY f DESC NULLS LAST, id LIMIT 2 OFFSET 1", "id Int32 | 1; 3"),
    (
        "SELECT t.id, o.id FROM t JOIN Orders o ON o.t_id = t.id ORDER BY 2",
        "id Int32, id Int64 | 1 10; 1 11; 2 12",
    ),
    (
        "SELECT t.id, count(o.id) AS n FROM t LEFT JOIN Orders AS o ON o.t_id = t.id GROUP BY t.id ORDER BY n DESC, 1",
        "id Int32, n Int64 | 1 2; 2 1; 3 0",
    ),
    ("SELECT c0 FROM Orders ORDER BY c0", "c0 Int64 | 5; 6; 7; -"),
    ("SELECT b, c0 FROM Orders ORDER BY c0 DESC NULLS LAST LIMIT 1", "b Boolean, c0 Int64 | - 7"),
    (
        "SELECT * FROM t JOIN Orders USING (id)",
        "s Utf8, f Float64, l List(Int64), t_id Int32, c0 Int64, b Boolean, id Int32 | ",
    ),
    ("SELECT o.* EXCLUDE (b) FROM Orders o WHERE o.id = 10", "id Int64, t_id Int32, c0 Int64 | 10 1 5"),
    ("WITH x AS (SELECT id, f * 2 AS g FROM t) SELECT g FROM x WHERE id = 2", "g Float64 | 5.0"),
    ("WITH x(n) AS (SELECT id FROM t) SELECT max(n) FROM x", "max(x.n) Int32 | 3"),
    (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) SELECT sum(i) AS s FROM n",
        "s Int64 | 10",
    ),
    ("SELECT id FROM t UNION ALL SELECT id FROM Orders ORDER BY id DESC LIMIT 2", "id Int64 | 13; 12"),
    ("SELECT 1 AS a UNION SELECT 2.5", "a Float64 | 1.0; 2.5"),
    ("SELECT id FROM t EXCEPT SELECT t_id FROM Orders", "id Int32 | 3"),
    ("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v(n, m) WHERE n = 2", "n Int64, m Utf8 | 2 b"),
    ("SELECT id FROM t WHERE id IN (SELECT t_id FROM Orders WHERE b)", "id Int32 | 1; 2"),
    (
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM Orders o WHERE o.t_id = t.id AND o.c0 > 5)",
        "id Int32 | 1",
    ),
    ("SELECT (SELECT max(id) FROM Orders) AS m", "m Int64 | 13"),
    (
        "SELECT s, (SELECT count(*) FROM Orders o WHERE o.t_id = t.id) AS n FROM t",
        "s Utf8, n Int64 | a 2; b 1; - 0",
    ),
    (
        "SELECT id, row_number() OVER (ORDER BY id DESC) AS r, sum(id) OVER (ORDER BY id) AS c FROM t ORDER BY id",
        "id Int32, r UInt64, c Int64 | 1 3 1; 2 2 3; 3 1 6",
    ),
    ("SELECT lag(s) OVER w AS p FROM t WINDOW w AS (ORDER BY id)", "p Utf8 | -; a; b"),
    ("SELECT count(*) FILTER (WHERE b) AS n FROM Orders", "n Int64 | 2"),
    ("SELECT array_agg(id ORDER BY id DESC) AS a FROM t", "a List(Int32) | [3, 2, 1]"),
    ("SELECT string_agg(s, '-' ORDER BY s DESC) AS a FROM t", "a Utf8 | b-a"),
    ("SELECT median(f), stddev_pop(f) FROM t", "median(t.f) Float64, stddev_pop(t.f) Float64 | 2.0 0.5"),
    (
        "SELECT bool_and(b), bool_or(b) FROM Orders",
        "bool_and(orders.b) Boolean, bool_or(orders.b) Boolean | false true",
    ),
    ("SELECT approx_distinct(t_id) AS n FROM Orders", "n UInt64 | 3"),
    ("SELECT count(DISTINCT t_id) AS n FROM Orders", "n Int64 | 3"),
    (
        "SELECT t_id % 2 AS m, count(*) FROM Orders GROUP BY m HAVING count(*) > 1 ORDER BY m",
        "m Int64, count(*) Int64 | 1 3",
    ),
    ("SELECT t_id + 1 FROM Orders GROUP BY t_id + 1 ORDER BY 1 LIMIT 1", "orders.t_id + Int64(1) Int64 | 2"),
    ("SELECT DISTINCT t_id FROM Orders ORDER BY t_id", "t_id Int32 | 1; 2; 9"),
    ("SELECT t.id, u.x FROM t, UNNEST(t.l) AS u(x) ORDER BY 1, 2", "id Int32, x Int64 | 1 1; 1 2; 2 3"),
    ("SELECT l FROM t WHERE id = 1", "l List(Int64) | [1, 2]"),
    ("SELECT first_value(s ORDER BY id DESC) AS x FROM t WHERE s IS NOT NULL", "x Utf8 | b"),
    ("SELECT id FROM t FETCH FIRST 1 ROWS ONLY", "id Int32 | 1"),
    ("SELECT a.id FROM t a CROSS JOIN t b WHERE a.id = 1", "id Int32 | 1; 1; 1"),
    ("SELECT t.id FROM t RIGHT JOIN Orders o ON t.id = o.t_id WHERE o.id = 13", "id Int32 | -"),
    (
        "VALUES (1, 'a', NULL), (2, NULL, 1.5)",
        "column1 Int64, column2 Utf8, column3 Float64 | 1 a -; 2 - 1.5",
    ),
    ("SELECT coalesce(NULL, 'a', s) AS x FROM t LIMIT 1", "x Utf8 | a"),
    ("SELECT 1 + 1 AS two", "two Int64 | 2"),
];

#[test]
fn queries_give_what_datafusion_gives() {
    let wrong: Vec<String> = QUERIES
        .iter()
        .filter_map(|(text, wanted)| match run(text, None) {
            Ok(found) if found == *wanted || found.replace("Orders.", "orders.") == *wanted => None,
            found => Some(format!("{text}:\n  wanted {wanted}\n  found  {found:?}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn queries_that_cannot_be_are_refused_with_a_place() {
    let table = &[
        ("SELECT x FROM t", "line 1 column 8: there is no column `x`"),
        ("SELECT * FROM tt", "line 1 column 15: there is no table `tt`; there are `t`, `Orders`"),
        ("SELECT id FROM t JOIN Orders o ON o.t_id = t.id", "`id` could be of `t` or of `o`"),
        ("SELECT s, count(*) FROM t", "`s` is neither in GROUP BY nor in an aggregate"),
        ("SELECT s FROM t GROUP BY id", "`s` is neither in GROUP BY"),
        ("SELECT id FROM t WHERE count(*) > 1", "looks at many rows"),
        ("SELECT id FROM t UNION SELECT id, s FROM t", "one side has 1 columns, the other 2"),
        ("SELECT l FROM t UNION SELECT b FROM Orders", "column 1 is List(Int64) on one side and Boolean"),
        ("SELECT id FROM t; SELECT 1", "2 statements came"),
        ("", "there is no statement"),
        ("ATTACH DATABASE 'x' AS y", "is not possible here"),
        ("PRAGMA user_version", "is not possible here"),
        ("ALTER TABLE t ADD COLUMN x INT", "dataset.add_columns"),
        ("CREATE TABLE x (a INT)", "dataset.create_table"),
        ("EXPLAIN SELECT 1", "plans are not shown"),
        ("SELECT load_extension('x')", "there is no function"),
        ("SELECT * FROM sqlite_master", "there is no table `sqlite_master`"),
        ("SELECT * FROM pragma_table_info('t')", "is not known in FROM"),
        ("SELECT id FROM t LIMIT -1", "is not negative"),
        ("SELECT id FROM t LIMIT 'x'", "a number of rows is wanted"),
        ("SELECT DISTINCT ON (id) id FROM t", "DISTINCT ON is not possible"),
        ("SELECT unnest(l) FROM t", "there is no function `unnest`"),
        ("SELECT $1", "no parameter was sent for `$1`"),
        ("SELECT rank() FROM t", "needs a window"),
        ("SELECT id FROM t FOR UPDATE", "FOR UPDATE is not known here"),
        ("SELECT * FROM t, t", "two tables are called `t`"),
        ("SELEC 1", "expected"),
        ("UPDATE t SET x = 1", "there is no column `x`"),
        ("UPDATE t SET id = 'x'", "this is not a value of Int32"),
        ("INSERT INTO t (id) VALUES (1, 2)", "1 columns are to be filled and 2 come"),
        ("DELETE FROM t WHERE id IN (SELECT 1)", "a subquery is not possible here"),
    ];
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(text, wanted)| {
            let said = run(text, None).map_or_else(|said| said, |ran| format!("ran: {ran}"));
            (!said.contains(wanted)).then(|| format!("{text}: wanted {wanted}, said {said}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn params() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(Int64Array::from(vec![2]))),
        ("name", Arc::new(StringArray::from(vec![r"\' OR 1=1 --'"]))),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![0]))),
    ];
    RecordBatch::try_from_iter(columns).expect("one shape")
}

#[test]
fn parameters_are_values_and_never_sql() {
    let run = |text: &str| run(text, Some(params())).expect("runs");
    assert_eq!(run("SELECT id FROM t WHERE id = $k"), "id Int32 | 2");
    assert_eq!(run("SELECT id FROM t WHERE id = $1"), "id Int32 | 2");
    assert_eq!(run("SELECT id FROM t WHERE id = ? AND s <> ?"), "id Int32 | 2");
    assert_eq!(run("SELECT $name AS n"), r"n Utf8 | \' OR 1=1 --'");
    assert_eq!(run("SELECT $at AS n"), "n Timestamp(ms) | 1970-01-01T00:00:00");
    assert_eq!(run("SELECT id FROM t LIMIT $k"), "id Int32 | 1; 2");
    let Plan::Delete { table, filter } =
        plan("DELETE FROM t x WHERE x.s = $name AND x.id <> -$k", &sources(), Some(params())).expect("plans")
    else {
        panic!("not a delete");
    };
    assert_eq!((table.as_str(), filter.as_str()), ("t", r"s = '\'' OR 1=1 --''' AND id <> -2"));
    super::filter(&sources()[0].schema, &filter).expect("reads back");
}

#[test]
fn writes_are_planned_for_the_port() {
    let plan = |text: &str| plan(text, &sources(), None).expect("plans");
    let Plan::Insert { table, rows } = plan("INSERT INTO T (s, id) SELECT s, id + 5 FROM t") else {
        panic!("not an insert");
    };
    assert_eq!(table, "t");
    assert_eq!(super::queries::rows(&rows).expect("runs"), "s Utf8, id Int32 | a 6; b 7; - 8");
    let Plan::Update { table, filter, values } = plan("UPDATE t SET s = upper(s) || 'it''s' WHERE t.id = 1")
    else {
        panic!("not an update");
    };
    assert_eq!((table.as_str(), filter.as_str()), ("t", "id = 1"));
    assert_eq!(values, [("s".to_owned(), "upper(s) || 'it''s'".to_owned())]);
    assert!(matches!(plan("DELETE FROM t"), Plan::Delete { filter, .. } if filter == "TRUE"));
    assert!(matches!(plan("CREATE TABLE x AS SELECT 1 AS a"), Plan::CreateAs { table, .. } if table == "x"));
    assert!(
        matches!(plan("DROP TABLE IF EXISTS x, \"Orders\""), Plan::Drop { tables, if_exists: true } if tables == ["x", "Orders"])
    );
}

#[test]
fn tables_of_a_statement_are_all_found() {
    let named = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
    let found = |text: &str| {
        let tables = tables_of(text).expect("reads");
        let names =
            |set: std::collections::BTreeSet<Named>| set.into_iter().map(|n| n.name).collect::<Vec<_>>();
        (names(tables.reads), names(tables.writes), names(tables.alters))
    };
    let none = Vec::<String>::new;
    assert_eq!(
        found(
            "WITH x AS (SELECT * FROM a) SELECT * FROM x, b WHERE c IN (SELECT d FROM e) UNION SELECT 1 FROM f"
        ),
        (named(&["a", "b", "e", "f"]), none(), none())
    );
    assert_eq!(found("INSERT INTO a SELECT * FROM b"), (named(&["b"]), named(&["a"]), none()));
    assert_eq!(found("INSERT INTO a SELECT * FROM a"), (named(&["a"]), named(&["a"]), none()));
    assert_eq!(found("UPDATE a SET x = 1"), (named(&["a"]), named(&["a"]), none()));
    assert_eq!(found("DELETE FROM a WHERE x = 1"), (named(&["a"]), named(&["a"]), none()));
    assert_eq!(found("CREATE TABLE a AS SELECT * FROM b"), (named(&["b"]), none(), named(&["a"])));
    assert_eq!(found("DROP TABLE a"), (none(), none(), named(&["a"])));
    assert_eq!(
        found("SELECT (SELECT max(x) FROM a) FROM b ORDER BY (SELECT 1 FROM c)"),
        (named(&["a", "b", "c"]), none(), none())
    );
    let upper = Named { name: "A".to_owned(), quoted: false };
    assert_eq!(upper.find(&["a", "b"]), Some("a"));
    assert_eq!(Named { quoted: true, ..upper }.find(&["a"]), None);
}
