//! Tables, as `kubectl get` shows them: the printer columns of the definitions.

use super::Asked;
use crate::app::plan::Resource;
use crate::crd::definition;
use axum::http::header::ACCEPT;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// Columns of a kind.
pub(super) struct Table {
    columns: Vec<Column>,
}

struct Column {
    name: String,
    kind: String,
    path: String,
    description: String,
    priority: i64,
}

/// What is asked for: the version of tables, and what rows carry.
#[derive(Clone, Debug)]
pub(super) struct Form {
    version: &'static str,
    include: String,
}

impl Table {
    /// Whether the client wants a table, and which.
    pub fn wanted(asked: &Asked) -> Option<Form> {
        let version = version(asked.header(ACCEPT))?;
        Some(Form { version, include: asked.options.include.clone() })
    }

    pub fn of(resource: &dyn Resource) -> Self {
        let definition = definition::definition(resource, false);
        let own = definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array().cloned();
        let text = |column: &Value, field: &str| column[field].as_str().unwrap_or_default().to_owned();
        let mut columns = vec![Column::name()];
        columns.extend(own.unwrap_or_default().iter().map(|column| Column {
            name: text(column, "name"),
            kind: text(column, "type"),
            path: text(column, "jsonPath"),
            description: text(column, "jsonPath"),
            priority: column["priority"].as_i64().unwrap_or_default(),
        }));
        Self { columns }
    }

    pub fn of_namespaces() -> Self {
        let column = |name: &str, kind: &str, path: &str| Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            path: path.to_owned(),
            description: path.to_owned(),
            priority: 0,
        };
        let project = Column {
            name: "Project".to_owned(),
            kind: "string".to_owned(),
            path: ".metadata.uid".to_owned(),
            description: "Id of the project".to_owned(),
            priority: 1,
        };
        Self {
            columns: vec![
                Column::name(),
                column("Status", "string", ".status.phase"),
                column("Age", "date", ".metadata.creationTimestamp"),
                project,
            ],
        }
    }

    /// These objects as a table.
    pub fn told(&self, form: &Form, asked: &Asked, objects: &[Value], metadata: &Value) -> Value {
        let now = asked.api.app.clock.now();
        let rows: Vec<Value> = objects.iter().map(|object| self.row(form, object, now)).collect();
        self.with_rows(form, &rows, metadata)
    }

    /// One object as a table, for a watch.
    pub fn one(&self, form: &Form, object: &Value, now: DateTime<Utc>) -> Value {
        let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
        self.with_rows(form, &[self.row(form, object, now)], &metadata)
    }

    /// A table that says only how far a watch is.
    pub fn mark(&self, form: &Form, metadata: &Value) -> Value {
        self.with_rows(form, &[], metadata)
    }

    fn with_rows(&self, form: &Form, rows: &[Value], metadata: &Value) -> Value {
        let columns: Vec<Value> = self
            .columns
            .iter()
            .map(|column| {
                let format = if column.name == "Name" { "name" } else { "" };
                json!({"name": column.name, "type": column.kind, "format": format,
                    "description": column.description, "priority": column.priority})
            })
            .collect();
        json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{}", form.version),
            "metadata": metadata, "columnDefinitions": columns, "rows": rows})
    }

    fn row(&self, form: &Form, object: &Value, now: DateTime<Utc>) -> Value {
        let cells: Vec<Value> = self.columns.iter().map(|column| column.cell(object, now)).collect();
        let mut row = json!({"cells": cells});
        match form.include.as_str() {
            "None" => {}
            "Object" => row["object"] = object.clone(),
            _ => {
                row["object"] = json!({"kind": "PartialObjectMetadata",
                    "apiVersion": format!("meta.k8s.io/{}", form.version), "metadata": object["metadata"]});
            }
        }
        row
    }
}

/// The version of tables that a client likes better than plain JSON; none where it likes that better.
fn version(accept: &str) -> Option<&'static str> {
    for one in accept.split(',') {
        let words: Vec<&str> = one.split(';').map(str::trim).collect();
        if words.len() == 1 && matches!(words[0], "application/json" | "*/*" | "") {
            return None;
        }
        if words.contains(&"as=Table") && words.contains(&"g=meta.k8s.io") {
            let known = ["v1", "v1beta1"].into_iter();
            let found = known.map(|version| (version, format!("v={version}")));
            let mut found = found.filter(|(_, word)| words.contains(&word.as_str()));
            if let Some((version, _)) = found.next() {
                return Some(version);
            }
        }
    }
    None
}

impl Column {
    fn name() -> Self {
        Self {
            name: "Name".to_owned(),
            kind: "string".to_owned(),
            path: ".metadata.name".to_owned(),
            description: "Name of the object".to_owned(),
            priority: 0,
        }
    }

    fn cell(&self, object: &Value, now: DateTime<Utc>) -> Value {
        let found = at(object, &self.path);
        match found.and_then(Value::as_str) {
            Some(text) if self.kind == "date" => {
                let at = text.parse::<DateTime<Utc>>();
                json!(at.map_or_else(|_| "<invalid>".to_owned(), |at| age((now - at).num_seconds())))
            }
            None if self.kind == "date" => json!("<unknown>"),
            _ => found.cloned().unwrap_or_default(),
        }
    }
}

/// What an object has at a path: fields, and `[?(@.type=="X")]` for the condition X.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = object;
    let mut rest = path;
    while let Some(after) = rest.strip_prefix('.') {
        let end = after.find(['.', '[']).unwrap_or(after.len());
        at = at.get(&after[..end])?;
        rest = &after[end..];
        if let Some(test) = rest.strip_prefix(r#"[?(@.type==""#) {
            let (wanted, tail) = test.split_once(r#"")]"#)?;
            at = at.as_array()?.iter().find(|one| one["type"] == wanted)?;
            rest = tail;
        }
    }
    rest.is_empty().then_some(at)
}

/// A time span as short as `kubectl` shows it: `5s`, `3m20s`, `5h`, `2d`.
fn age(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 3600;
    const DAY: i64 = 86_400;
    let two = |big: i64, name: char, small: i64, other: char| {
        let rest = seconds % big / small;
        let head = format!("{}{name}", seconds / big);
        if rest == 0 { head } else { format!("{head}{rest}{other}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, 'm', 1, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, 'h', MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, 'd', HOUR, 'h'),
        _ if seconds < 730 * DAY => format!("{}d", seconds / DAY),
        _ => two(365 * DAY, 'y', DAY, 'd'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::names;

    #[test]
    fn every_column_of_every_kind_has_a_path_that_is_read() {
        let object = json!({"metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"room": "desk"},
            "status": {"conditions": [{"type": "Stalled", "status": "x"},
                {"type": "Ready", "status": "True", "reason": "R", "message": "m"},
                {"type": "Paused", "status": "True"}]}});
        for resource in names::kinds() {
            for column in Table::of(resource).columns {
                assert!(at(&object, &column.path).is_some(), "{} {}", resource.kind(), column.path);
            }
        }
        assert_eq!(at(&object, r#".status.conditions[?(@.type=="Ready")].status"#).unwrap(), "True");
        assert!(at(&object, ".status.nothing").is_none() && at(&object, "spec").is_none());
    }

    #[test]
    fn tables_are_told_to_those_who_want_them() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(version(kubectl), Some("v1"));
        assert_eq!(version("application/json;as=Table;g=meta.k8s.io;v=v1beta1"), Some("v1beta1"));
        for plain in
            ["", "application/json", "*/*", "application/json, application/json;as=Table;v=v1;g=meta.k8s.io"]
        {
            assert_eq!(version(plain), None, "{plain}");
        }
        assert_eq!(
            version("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"),
            None
        );
    }

    #[test]
    fn ages_are_short() {
        let all = [(5, "5s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (700, "11m"), (10_860, "3h1m")];
        for (seconds, text) in all.into_iter().chain([(90_000, "25h"), (180_000, "2d2h"), (864_000, "10d")]) {
            assert_eq!(age(seconds), text);
        }
        assert_eq!(age(-100), "<invalid>");
        assert_eq!(age(3 * 365 * 86_400), "3y");
    }
}
