//! Tables are named one by one. What an SQL statement names is checked by the toolkit (`tests/it/room/dataset.rs`).

use super::Row;
use serde_json::{Value, json};

/// A grant for one table with only this flag.
fn table(name: &str, flag: &str) -> Value {
    let mut entry = json!({"name": name, "read": false, "write": false, "alter": false});
    entry[flag] = true.into();
    json!({"dataset": {"tables": [entry], "list_tables": false}})
}

pub fn rows() -> Vec<Row> {
    let input = json!({
        "kind": "start", "table": "t", "on": "id", "where": "true", "values": [], "columns": [], "column": "c",
        "metadata": [], "config": {}, "version": null, "namespace": null, "branch": null,
    });
    let of = |tool, flag: &str| {
        Row::new(tool, input.clone()).inside(table("t", flag)).outside(table("other", flag))
    };
    let named = json!({"kind": "start", "name": "t", "new_name": "t", "namespace": null});
    let of_named =
        |tool| Row::new(tool, named.clone()).inside(table("t", "alter")).outside(table("other", "alter"));
    let sql = json!({"query": "SELECT 1", "tables": [{"name": "t"}], "namespace": null});
    let of_sql =
        |tool| Row::new(tool, sql.clone()).inside(table("t", "read")).outside(table("other", "read"));
    let query = json!({"kind": "start", "query_id": "q"});
    let listing = |list: bool| json!({"dataset": {"tables": [], "list_tables": list}});
    let branch = json!({"branch": "b", "from_branch": null, "namespace": null});
    let of_branch =
        |tool| Row::new(tool, branch.clone()).inside(json!({"dataset": {}})).outside(table("t", "alter"));
    let with_storage = |mut scope: Value, action: &str| {
        let mut entry = json!({"path": "a"});
        entry["read_only"] = (action == "read").into();
        scope["storage"] = json!({"paths": [entry]});
        scope
    };
    let file = json!({"table": "t", "path": "a/t.csv", "mode": "create", "format": "csv", "namespace": null});
    vec![
        Row::new("dataset.list_tables", json!({"namespace": null}))
            .inside(listing(true))
            .outside(listing(false)),
        Row::new("dataset.list_branches", json!({"namespace": null}))
            .inside(listing(true))
            .outside(listing(false)),
        of_branch("dataset.create_branch"),
        of_branch("dataset.delete_branch"),
        of("dataset.inspect", "read"),
        of("dataset.search", "read").binary(),
        of("dataset.count", "read"),
        of("dataset.stats", "read"),
        of("dataset.list_versions", "read"),
        of("dataset.list_indexes", "read"),
        of("dataset.watch_table", "read").binary(),
        of("dataset.insert", "write").binary(),
        of("dataset.merge", "write").binary(),
        of("dataset.update", "write"),
        of("dataset.delete", "write"),
        of_named("dataset.create_table").binary(),
        of_named("dataset.drop_table"),
        of_named("dataset.rename_table"),
        of("dataset.add_columns", "alter"),
        of("dataset.drop_columns", "alter"),
        of("dataset.update_column_metadata", "alter"),
        of("dataset.create_index", "alter"),
        of("dataset.drop_index", "alter"),
        of("dataset.optimize", "alter"),
        of("dataset.restore", "alter"),
        of_sql("dataset.execute_sql"),
        of_sql("dataset.open_sql_query"),
        of_sql("dataset.execute_sql_statement"),
        Row::new("dataset.read_sql_query", query.clone()).whole("dataset").binary(),
        Row::new("dataset.close_sql_query", query.clone()).whole("dataset"),
        Row::new("dataset.cancel_sql_query", query).whole("dataset"),
        Row::new("dataset.import_storage", file.clone())
            .inside(with_storage(table("t", "alter"), "read"))
            .outside(with_storage(table("other", "alter"), "read")),
        Row::new("dataset.export_storage", file)
            .inside(with_storage(table("t", "read"), "write"))
            .outside(with_storage(table("t", "write"), "write")),
    ]
}
