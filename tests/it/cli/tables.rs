//! Tables inside a room: datasets and SQLite databases.

use super::Person;
use crate::support::server::Server;
use serde_json::json;

fn desk() -> (Server, Person) {
    let server = Server::start(&[]);
    let person = Person::of(&server).with("MESHAGENT_ROOM", "desk");
    person.run(&["rooms", "create", "desk"]).ok();
    (server, person)
}

#[test]
fn datasets_are_made_filled_searched_and_asked() {
    let (_server, person) = desk();
    let dataset = |words: &[&str]| person.run(&[&["room", "dataset"][..], words].concat());
    assert_eq!(dataset(&["table"]).ok().stderr, "No tables found.\n");
    let columns = "id int not null, name text, tags list(text), v vector(2)";
    assert_eq!(dataset(&["create", "-t", "t", "-c", columns]).ok().stdout, "Created table: t\n");
    dataset(&["create", "-t", "t", "-c", columns]).fails(1, &["t"]);
    dataset(&["create", "-t", "x", "-c", "id zap"]).fails(2, &["there is no type `zap`"]);
    let rows = r#"[{"id": 1, "name": "a", "tags": ["x"], "v": [1, 0]}, {"id": 2, "name": "b"}]"#;
    assert_eq!(dataset(&["insert", "-t", "t", "--json", rows]).ok().stdout, "Inserted 2 record(s) into t\n");
    dataset(&[
        "merge",
        "-t",
        "t",
        "--on",
        "id",
        "--json",
        r#"[{"id": 2, "name": "B"}, {"id": 3, "name": "c"}]"#,
    ])
    .ok();
    dataset(&["update", "-t", "t", "--where", "id = 3", "--values-json", r#"{"name": "C", "tags": ["y"]}"#])
        .ok();
    let found = dataset(&["search", "-t", "t", "--where", "id >= 2", "--select", "name", "--no-pretty"]).ok();
    assert_eq!(found.stdout, "[{\"name\":\"B\"},{\"name\":\"C\"}]\n");
    let found = dataset(&["search", "-t", "t", "--where-json", r#"{"name": "a"}"#]).json();
    assert_eq!(found, json!([{"id": 1, "name": "a", "tags": ["x"], "v": [1.0, 0.0]}]));
    let sql = dataset(&[
        "sql",
        "-q",
        "SELECT count(*) AS n FROM t WHERE id > $least",
        "--params-json",
        r#"{"least": 1}"#,
        "--format",
        "json",
    ]);
    assert_eq!(sql.json(), json!([{"n": 2}]));
    let table = dataset(&["sql", "-q", "SELECT id, name FROM t ORDER BY id LIMIT 1"]).ok().stdout;
    assert_eq!(table, "id  name\n1   a\n");
    dataset(&["sql", "-q", "SELECT nix FROM t"]).fails(1, &["line 1 column 8"]);
    dataset(&["index-create", "-t", "t", "-c", "id", "--index-type", "BTREE", "--name", "by_id"]).ok();
    assert_eq!(dataset(&["index", "-t", "t"]).json()[0]["name"], "by_id");
    assert!(dataset(&["version", "-t", "t"]).json().as_array().unwrap().len() >= 4);
    dataset(&["branch", "create", "--branch", "work"]).ok();
    dataset(&["delete", "-t", "t", "--branch", "work", "--where", "true"]).ok();
    assert_eq!(
        dataset(&["search", "-t", "t", "--no-pretty", "--select", "id"]).json().as_array().unwrap().len(),
        3
    );
    let file = person.file("in.csv", "id,word\n1,one\n2,\"two, too\"\n");
    dataset(&["import", "-t", "csv", "-f", &file]).ok();
    dataset(&["sql", "-q", "SELECT * FROM csv ORDER BY id", "--format", "csv", "-o", "out.csv"]).ok();
    let out = std::fs::read_to_string(person.home().join("out.csv")).unwrap();
    assert_eq!(out, "id,word\n1,one\n2,\"two, too\"\n");
    dataset(&["sql", "-q", "SELECT * FROM csv ORDER BY id", "--format", "parquet", "-o", "out.parquet"]).ok();
    dataset(&["import", "-t", "csv", "-f", "out.parquet", "--mode", "merge", "--on", "id"]).ok();
    dataset(&["import", "-t", "again", "-f", "out.parquet", "--batch-size", "1"]).ok();
    let again =
        dataset(&["sql", "-q", "SELECT * FROM again UNION SELECT * FROM csv", "--format", "json"]).json();
    assert_eq!(again, json!([{"id": 1, "word": "one"}, {"id": 2, "word": "two, too"}]));
    dataset(&["drop", "-t", "again"]).ok();
    let cut = std::fs::read(person.home().join("out.parquet")).unwrap();
    std::fs::write(person.home().join("cut.parquet"), &cut[..cut.len() - 9]).unwrap();
    dataset(&["import", "-t", "bad", "-f", "cut.parquet"]).fails(1, &["no Parquet file"]);
    dataset(&["import", "-t", "bad", "-f", &person.file("x.xlsx", "PK")]).fails(1, &["no Excel file"]);
    dataset(&["import", "-t", "bad", "-f", &person.file("bad.csv", "a\n1,2\n")]).fails(1, &["row 2"]);
    assert_eq!(dataset(&["table"]).ok().stdout, "csv\nt\n", "a failed import leaves no table");
    dataset(&["drop", "-t", "csv"]).ok();
}

#[test]
fn databases_are_made_asked_saved_and_restored() {
    let (_server, person) = desk();
    let sqlite = |words: &[&str]| person.run(&[&["room", "sqlite"][..], words].concat());
    assert_eq!(sqlite(&["database", "create", "-d", "d"]).ok().stdout, "Created database: d\n");
    sqlite(&["create", "-d", "d", "-t", "t", "-c", "id int not null, name text, at timestamp"]).ok();
    let rows = r#"[{"id": 1, "name": "a", "at": "2026-01-02T03:04:05Z"}, {"id": 2}]"#;
    sqlite(&["insert", "-d", "d", "-t", "t", "--json", rows]).ok();
    let found = sqlite(&["search", "-d", "d", "-t", "t", "--where", "id = ?", "--params-json", "[1]"]).json();
    assert_eq!(found, json!([{"id": 1, "name": "a", "at": "2026-01-02T03:04:05Z"}]));
    assert_eq!(
        sqlite(&["count", "-d", "d", "-t", "t", "--where-json", r#"{"name": null}"#]).ok().stdout,
        "1\n"
    );
    let updated =
        sqlite(&["update", "-d", "d", "-t", "t", "--where", "id = 2", "--values-json", r#"{"name": "b"}"#]);
    assert_eq!(updated.ok().stdout, "Updated 1 row(s) in d.t\n");
    let sql = sqlite(&["sql", "-d", "d", "-q", "SELECT id, name FROM t ORDER BY id"]).ok().stdout;
    assert_eq!(sql, "id  name\n1   a\n2   b\n");
    assert_eq!(
        sqlite(&["sql", "-d", "d", "-q", "DELETE FROM t WHERE id = 9", "--format", "json"]).json(),
        json!([{"rows_affected": 0}])
    );
    sqlite(&["sql", "-d", "d", "-q", "SELEC 1"]).fails(1, &["line 1 column 1"]);
    sqlite(&["backup", "-d", "d", "-o", "d.sqlite"]).ok();
    let saved = person.home().join("d.sqlite");
    assert!(std::fs::read(&saved).unwrap().starts_with(b"SQLite format 3\0"));
    sqlite(&["backup", "-d", "none", "-o", "none.sqlite"]).fails(1, &["database `none` does not exist"]);
    assert!(!person.home().join("none.sqlite").exists(), "a failed backup leaves no file");
    sqlite(&["restore", "-d", "copy", "--input", saved.to_str().unwrap()]).ok();
    assert_eq!(sqlite(&["count", "-d", "copy", "-t", "t"]).ok().stdout, "2\n");
    assert_eq!(sqlite(&["database", "list"]).ok().stdout, "copy\nd\n");
    let settings = sqlite(&["database", "settings", "-d", "d", "--replication-mode", "asynchronous"]).json();
    assert_eq!(settings["replication_mode"], "asynchronous");
    sqlite(&["rename", "-d", "d", "-t", "t", "--new-name", "u"]).ok();
    assert_eq!(sqlite(&["table", "-d", "d"]).ok().stdout, "u\n");
    sqlite(&["database", "drop", "-d", "d"]).ok();
}
