//! Versions and tags of tables, branches of namespaces.

use super::catalog::{MAIN, check_name, signed, time, unsigned};
use super::database::Tx;
use super::view::View;
use crate::dataset::{BranchInfo, DatasetError, Place, TableAt, VersionInfo};
use crate::error_code::RoomCode;
use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most versions listed, the newest.
const VERSIONS_LISTED_MAX: usize = 10_000;
/// Most tags of a table, and most branches of a namespace.
const TAGS_MAX: i64 = 10_000;
const BRANCHES_MAX: i64 = 1_000;
/// Most branches that began one from the other.
const BRANCH_DEPTH_MAX: usize = 16;

pub(super) fn versions(tx: &Tx<'_>, at: &TableAt) -> Result<Vec<VersionInfo>, DatasetError> {
    let head = tx.head(at)?;
    let tags = tags(tx, at)?;
    let mut found = Vec::new();
    let (mut next, mut below) = (Some(head.line), i64::MAX);
    let mut select = tx.c.prepare_cached(
        "SELECT version, at, operation, rows, live FROM version WHERE line = ?1 AND version < ?2
         ORDER BY version DESC LIMIT ?3",
    )?;
    while let Some(id) = next {
        let wanted = VERSIONS_LISTED_MAX - found.len();
        let rows = select.query_map(params![id, below, signed(wanted as u64)], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, i64>(3)?,
                row.get::<_, i64>(4)?,
            ))
        })?;
        for row in rows {
            let (version, at, operation, rows, live) = row?;
            let version = unsigned(version);
            let of_version = tags.iter().filter(|(_, tagged)| **tagged == version);
            let names: Vec<&str> = of_version.map(|(name, _)| name.as_str()).collect();
            let mut metadata = Map::new();
            metadata.insert("operation".into(), json!(operation));
            metadata.insert("rows_changed".into(), json!(rows));
            metadata.insert("rows".into(), json!(live));
            if !names.is_empty() {
                metadata.insert("tags".into(), json!(names));
            }
            found.push(VersionInfo { version, at: time(at), metadata });
        }
        let line = tx.line(id)?;
        (next, below) = (line.parent, signed(line.fork_version));
    }
    found.reverse();
    Ok(found)
}

pub(super) fn tag(tx: &Tx<'_>, at: &TableAt, tag: &str, version: u64) -> Result<(), DatasetError> {
    check_name("tag", tag)?;
    let head = tx.head(at)?;
    View::resolve(tx, &TableAt { version: Some(version), ..at.clone() })?;
    let mut count = tx.c.prepare_cached("SELECT count(*) FROM tag WHERE line = ?1")?;
    if count.query_row([head.line], |row| row.get::<_, i64>(0))? >= TAGS_MAX {
        return Err(DatasetError::invalid(format!("a table has at most {TAGS_MAX} tags; remove one first")));
    }
    tx.c.prepare_cached(
        "INSERT INTO tag (line, name, version) VALUES (?1, ?2, ?3)
         ON CONFLICT (line, name) DO UPDATE SET version = excluded.version",
    )?
    .execute(params![head.line, tag, signed(version)])?;
    Ok(())
}

pub(super) fn untag(tx: &Tx<'_>, at: &TableAt, tag: &str) -> Result<(), DatasetError> {
    let head = tx.head(at)?;
    let removed =
        tx.c.prepare_cached("DELETE FROM tag WHERE line = ?1 AND name = ?2")?
            .execute(params![head.line, tag])?;
    if removed == 0 {
        return Err(DatasetError::new(
            RoomCode::NotFound,
            format!("table `{}` has no tag `{tag}`; list its tags to see those it has", at.table),
        ));
    }
    Ok(())
}

pub(super) fn tags(tx: &Tx<'_>, at: &TableAt) -> Result<BTreeMap<String, u64>, DatasetError> {
    let head = tx.head(at)?;
    let mut select = tx.c.prepare_cached("SELECT name, version FROM tag WHERE line = ?1")?;
    let rows = select.query_map([head.line], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn branches(tx: &Tx<'_>) -> Result<Vec<BranchInfo>, DatasetError> {
    let mut select = tx.c.prepare_cached(
        "SELECT branch.name, parent.name, branch.created_at FROM branch
         LEFT JOIN branch AS parent ON parent.id = branch.parent ORDER BY branch.id",
    )?;
    let rows = select.query_map((), |row| {
        Ok(BranchInfo { name: row.get(0)?, parent: row.get(1)?, created_at: time(row.get(2)?) })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn create_branch(tx: &Tx<'_>, name: &str, from: Option<&str>) -> Result<(), DatasetError> {
    check_name("branch", name)?;
    let find = |name: &str| {
        tx.c.query_row("SELECT id FROM branch WHERE name = ?1", [name], |row| row.get::<_, i64>(0)).optional()
    };
    if name == MAIN || find(name)?.is_some() {
        return Err(DatasetError::new(
            RoomCode::AlreadyExists,
            format!("branch `{name}` exists already; choose another name, or delete it first"),
        ));
    }
    let parent = tx.branch_named(from)?;
    let count: i64 = tx.c.query_row("SELECT count(*) FROM branch", (), |row| row.get(0))?;
    if count >= BRANCHES_MAX {
        return Err(DatasetError::invalid(format!(
            "a namespace has at most {BRANCHES_MAX} branches; delete one first"
        )));
    }
    if depth(tx, parent)? >= BRANCH_DEPTH_MAX {
        return Err(DatasetError::invalid(format!(
            "branches can begin from each other {BRANCH_DEPTH_MAX} deep; begin this one nearer to `{MAIN}`"
        )));
    }
    tx.c.execute(
        "INSERT INTO branch (name, parent, created_at) VALUES (?1, ?2, ?3)",
        params![name, parent, tx.now()],
    )?;
    let branch = tx.c.last_insert_rowid();
    let mut select = tx.c.prepare(
        "SELECT name, line, max(version), last_row FROM head JOIN version USING (line) WHERE branch = ?1 GROUP BY line",
    )?;
    let heads = select.query_map([parent], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let heads = heads.collect::<Result<Vec<(String, i64, i64, i64)>, _>>()?;
    for (table, line, version, last_row) in heads {
        tx.c.prepare_cached("INSERT INTO line (parent, fork_version, fork_row) VALUES (?1, ?2, ?3)")?
            .execute(params![line, version, last_row])?;
        let own = tx.c.last_insert_rowid();
        tx.c.prepare_cached(
            "INSERT INTO version SELECT ?1, version, at, operation, rows, last_row, live, schema
             FROM version WHERE line = ?2 AND version = ?3",
        )?
        .execute(params![own, line, version])?;
        tx.c.prepare_cached("INSERT INTO head (branch, name, line) VALUES (?1, ?2, ?3)")?
            .execute(params![branch, table, own])?;
    }
    Ok(())
}

fn depth(tx: &Tx<'_>, branch: i64) -> Result<usize, DatasetError> {
    let (mut next, mut depth) = (branch, 0);
    while next != 0 {
        next = tx.c.query_row("SELECT parent FROM branch WHERE id = ?1", [next], |row| row.get(0))?;
        depth += 1;
    }
    Ok(depth)
}

/// Gives the lines that went with it.
pub(super) fn delete_branch(tx: &Tx<'_>, place: &Place, name: &str) -> Result<Vec<i64>, DatasetError> {
    if name == MAIN {
        return Err(DatasetError::invalid(format!(
            "branch `{MAIN}` cannot be deleted; drop its tables instead"
        )));
    }
    let branch = tx.branch(&Place { branch: Some(name.to_owned()), ..place.clone() })?;
    let child: Option<String> =
        tx.c.query_row("SELECT name FROM branch WHERE parent = ?1 LIMIT 1", [branch], |row| row.get(0))
            .optional()?;
    if let Some(child) = child {
        return Err(DatasetError::conflict(format!(
            "branch `{child}` began from branch `{name}`; delete that one first"
        )));
    }
    let mut select = tx.c.prepare("SELECT line FROM head WHERE branch = ?1")?;
    let lines = select.query_map([branch], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    tx.c.execute("DELETE FROM head WHERE branch = ?1", [branch])?;
    for line in &lines {
        tx.remove_unused(*line)?;
    }
    tx.c.execute("DELETE FROM branch WHERE id = ?1", [branch])?;
    Ok(lines)
}

/// The value of a record's JSON column.
pub(super) fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}
