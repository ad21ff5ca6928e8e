//! Databases and their tables are named one by one. What SQL touches is asked by the engine (`tests/it/room/sqlite.rs`).

use super::Row;
use serde_json::{Value, json};

/// A grant for one database, with only this flag, or only this flag of one table.
fn database(name: &str, flag: &str) -> Value {
    let mut entry = json!({
        "name": name, "create_table": false, "inspect": false, "list_tables": false, "execute": false, "tables": [],
    });
    entry[flag] = true.into();
    json!({"sqlite": {"databases": [entry], "create_database": false, "list_databases": false}})
}

fn table(name: &str, flag: &str) -> Value {
    let mut entry = json!({"database": "d", "table": name, "read": false, "write": false, "alter": false});
    entry[flag] = true.into();
    json!({"sqlite": {
        "databases": [{
            "name": "d", "create_table": false, "inspect": false, "list_tables": false, "execute": false,
            "tables": [entry],
        }],
        "create_database": false, "list_databases": false,
    }})
}

pub fn rows() -> Vec<Row> {
    let input = json!({
        "kind": "start", "database": "d", "name": "d", "table": "t", "query": "SELECT 1", "commands": [], "where": "1",
        "values": [], "columns": [], "namespace": null,
    });
    let of_database = |tool, flag: &str| {
        Row::new(tool, input.clone()).inside(database("d", flag)).outside(database("other", flag))
    };
    let of_table = |tool, flag: &str| {
        Row::new(tool, input.clone()).inside(table("t", flag)).outside(table("other", flag))
    };
    let named = |name: &str| json!({"kind": "start", "database": "d", "name": name, "new_name": name, "namespace": null});
    let of_named =
        |tool, flag: &str| Row::new(tool, named("t")).inside(table("t", flag)).outside(table("other", flag));
    let only = |flag: &str| {
        let mut grant = json!({"databases": [], "create_database": false, "list_databases": false});
        grant[flag] = true.into();
        json!({"sqlite": grant})
    };
    let none = json!({"sqlite": {"databases": [], "create_database": false, "list_databases": false}});
    let query = json!({"kind": "start", "query_id": "q"});
    let open = |name: &str| json!({"sqlite": {"databases": [{"name": name}], "create_database": true}});
    vec![
        Row::new("sqlite.list_databases", json!({"namespace": null}))
            .inside(only("list_databases"))
            .outside(none.clone()),
        Row::new("sqlite.create_database", input.clone()).inside(only("create_database")).outside(none),
        of_database("sqlite.get_database_settings", "inspect"),
        of_database("sqlite.inspect_database", "inspect"),
        of_database("sqlite.flush_database", "inspect"),
        of_database("sqlite.update_database_settings", "drop"),
        of_database("sqlite.drop_database", "drop"),
        of_database("sqlite.list_tables", "list_tables"),
        of_database("sqlite.create_table", "create_table").binary(),
        of_database("sqlite.execute_sql", "execute"),
        of_database("sqlite.open_sql_query", "execute"),
        of_database("sqlite.execute_sql_statement", "execute"),
        of_database("sqlite.execute_sql_batch", "execute"),
        Row::new("sqlite.read_sql_query", query.clone()).whole("sqlite").binary(),
        Row::new("sqlite.close_sql_query", query.clone()).whole("sqlite"),
        Row::new("sqlite.cancel_sql_query", query).whole("sqlite"),
        of_named("sqlite.drop_table", "alter"),
        of_named("sqlite.rename_table", "alter"),
        of_table("sqlite.add_columns", "alter"),
        of_table("sqlite.drop_columns", "alter"),
        of_table("sqlite.inspect", "read"),
        of_table("sqlite.search", "read").binary(),
        of_table("sqlite.count", "read"),
        of_table("sqlite.insert", "write").binary(),
        of_table("sqlite.update", "write"),
        of_table("sqlite.delete", "write"),
        Row::new("sqlite.backup", input.clone()).inside(open("d")).outside(table("t", "read")).binary(),
        Row::new("sqlite.restore", input.clone()).inside(open("d")).outside(table("t", "write")).binary(),
    ]
}
