//! Care of a table: segments made, old versions forgotten; and what there is of it.

use super::catalog::{Head, micros, newest_only, signed, unsigned};
use super::database::Tx;
use super::segment::{self, wanted};
use super::{index, text};
use crate::dataset::{DatasetError, OptimizeConfig, OptimizeReport, TableAt, TableStats};
use chrono::Duration;
use rusqlite::params;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn optimize(
    tx: &Tx<'_>,
    at: &TableAt,
    config: &OptimizeConfig,
) -> Result<OptimizeReport, DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    let mut report = OptimizeReport::default();
    if tx.line(head.line)?.columns.is_none() {
        return Ok(report);
    }
    let mut removed_rows = 0;
    if config.older_than_seconds.is_some() || config.retain_versions.is_some() {
        report.old_versions_removed = forget_versions(tx, &head, config)?;
        if report.old_versions_removed > 0 {
            removed_rows = purge(tx, &head, &mut report)?;
        }
    }
    if config.compact || removed_rows > 0 {
        compact(tx, &head, &mut report)?;
    }
    if config.optimize_indices {
        tx.c.execute_batch(&format!("ANALYZE r{}", head.line))?;
        report.indices_optimized = true;
    }
    Ok(report)
}

/// Versions that somebody needs: the newest, those tagged, those branches began from, those being read.
fn needed(tx: &Tx<'_>, head: &Head) -> Result<BTreeSet<u64>, DatasetError> {
    let mut needed = BTreeSet::from([head.version]);
    for sql in [
        "SELECT version FROM tag WHERE line = ?1",
        "SELECT fork_version FROM line WHERE parent = ?1",
        // What a branch's own tags say of its parent's versions.
        "SELECT tag.version FROM tag JOIN line ON line.id = tag.line WHERE line.parent = ?1",
    ] {
        let mut select = tx.c.prepare_cached(sql)?;
        for version in select.query_map([head.line], |row| row.get::<_, i64>(0))? {
            needed.insert(unsigned(version?));
        }
    }
    needed.extend(tx.shared.pinned(head.line));
    Ok(needed)
}

fn forget_versions(tx: &Tx<'_>, head: &Head, config: &OptimizeConfig) -> Result<u64, DatasetError> {
    let needed = needed(tx, head)?;
    let seconds = config.older_than_seconds.unwrap_or(0);
    let age = Duration::try_seconds(signed(seconds)).unwrap_or(Duration::MAX);
    let before = tx.shared.clock.now().checked_sub_signed(age).map_or(i64::MIN, micros);
    let keep = config.retain_versions.map_or(i64::MAX, |keep| signed(head.version.saturating_sub(keep)));
    // A branch's first version stands for the place where it began.
    let first = signed(tx.line(head.line)?.fork_version);
    let mut select = tx.c.prepare(
        "SELECT version FROM version WHERE line = ?1 AND at < ?2 AND version <= ?3 AND version > ?4",
    )?;
    let old = select.query_map(params![head.line, before, keep, first], |row| row.get::<_, i64>(0))?;
    let old = old.collect::<Result<Vec<i64>, _>>()?;
    let mut forget = tx.c.prepare("DELETE FROM version WHERE line = ?1 AND version = ?2")?;
    let mut count = 0;
    for version in old.into_iter().filter(|version| !needed.contains(&unsigned(*version))) {
        forget.execute(params![head.line, version])?;
        count += 1;
    }
    Ok(count)
}

/// Deletes rows that no version shows any more: those added after the last version kept before their removal.
fn purge(tx: &Tx<'_>, head: &Head, report: &mut OptimizeReport) -> Result<u64, DatasetError> {
    let line = head.line;
    let fork_row = tx.line(line)?.fork_row;
    let mut select = tx.c.prepare(&format!("SELECT DISTINCT version FROM g{line}"))?;
    let removals = select.query_map((), |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let mut shown_up_to =
        tx.c.prepare("SELECT coalesce(max(last_row), 0) FROM version WHERE line = ?1 AND version < ?2")?;
    let which = format!("SELECT row FROM g{line} WHERE version = ?1 AND row > ?2");
    let mut delete_rows = tx.c.prepare(&format!("DELETE FROM r{line} WHERE row IN ({which})"))?;
    let mut delete_marks = tx.c.prepare(&format!("DELETE FROM g{line} WHERE version = ?1 AND row > ?2"))?;
    let mut stale = tx.c.prepare(&format!(
        "SELECT id FROM segment WHERE line = ?3 AND EXISTS
         (SELECT 1 FROM g{line} WHERE row BETWEEN first_row AND last_row AND version = ?1 AND row > ?2)"
    ))?;
    let texts: Vec<_> = tx.indexes(line)?.into_iter().filter(|index| index::is_text(&index.kind)).collect();
    let mut removed = 0;
    for version in removals {
        let kept: i64 = shown_up_to.query_row(params![line, version], |row| row.get(0))?;
        let kept = kept.max(fork_row);
        let segments = stale.query_map(params![version, kept, line], |row| row.get(0))?;
        for segment in segments.collect::<Result<Vec<i64>, _>>()? {
            drop_segment(tx, segment, report)?;
        }
        for index in &texts {
            text::remove(tx, line, &index.name, &which, [version, kept])?;
        }
        removed += delete_rows.execute(params![version, kept])? as u64;
        delete_marks.execute(params![version, kept])?;
    }
    Ok(removed)
}

fn drop_segment(tx: &Tx<'_>, segment: i64, report: &mut OptimizeReport) -> Result<(), DatasetError> {
    let bytes: i64 = tx.c.query_row(
        "SELECT coalesce(sum(length(arrow)), 0) FROM segment_column WHERE segment = ?1",
        [segment],
        |row| row.get(0),
    )?;
    tx.c.prepare_cached("DELETE FROM segment_column WHERE segment = ?1")?.execute([segment])?;
    tx.c.prepare_cached("DELETE FROM segment WHERE id = ?1")?.execute([segment])?;
    report.segments_removed += 1;
    report.bytes_removed += unsigned(bytes);
    Ok(())
}

/// Makes segments where there are none. Those that lack a column of the newest version are made anew.
fn compact(tx: &Tx<'_>, head: &Head, report: &mut OptimizeReport) -> Result<(), DatasetError> {
    let line = head.line;
    for (_, number) in wanted(&head.schema) {
        let mut select = tx.c.prepare_cached(
            "SELECT id FROM segment WHERE line = ?1 AND NOT EXISTS
             (SELECT 1 FROM segment_column WHERE segment = segment.id AND number = ?2)",
        )?;
        let lacking = select.query_map([line, number], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        for segment in lacking {
            drop_segment(tx, segment, report)?;
        }
    }
    let mut select =
        tx.c.prepare_cached("SELECT first_row, last_row FROM segment WHERE line = ?1 ORDER BY last_row")?;
    let covered = select.query_map([line], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut covered = covered.collect::<Result<Vec<(i64, i64)>, _>>()?;
    covered.push((head.last_row + 1, head.last_row + 1));
    let mut after = tx.line(line)?.fork_row;
    for (first, last) in covered {
        if first > after + 1 {
            report.segments_added += segment::build(tx, line, &head.schema, after, first - 1)?;
        }
        after = last;
    }
    Ok(())
}

pub(super) fn stats(tx: &Tx<'_>, at: &TableAt) -> Result<TableStats, DatasetError> {
    let view = super::view::View::resolve(tx, at)?;
    let mut stats = TableStats {
        version: view.version,
        rows: view.live,
        deleted_rows: 0,
        segments: 0,
        size_bytes: 0,
        columns: BTreeMap::new(),
    };
    let mut stored = 0;
    for part in &view.parts {
        let line = part.line;
        let sql = format!("SELECT count(*) FROM r{line} WHERE row > ?1 AND row <= ?2");
        stored += unsigned(tx.c.query_row(&sql, [part.after, part.until], |row| row.get(0))?);
        let segments: i64 =
            tx.c.query_row("SELECT count(*) FROM segment WHERE line = ?1", [line], |row| row.get(0))?;
        stats.segments += unsigned(segments);
        let size: i64 = tx.c.query_row(
            "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN (?1, ?2) AND aggregate = TRUE",
            [format!("r{line}"), format!("g{line}")],
            |row| row.get(0),
        )?;
        stats.size_bytes += unsigned(size);
        for (field, number) in wanted(&view.schema) {
            if part.columns.contains(&number) {
                let sql = format!("SELECT coalesce(sum(octet_length(c{number})), 0) FROM r{line}");
                let size: i64 = tx.c.query_row(&sql, (), |row| row.get(0))?;
                *stats.columns.entry(field.name().clone()).or_default() += unsigned(size);
            }
        }
    }
    stats.deleted_rows = stored.saturating_sub(view.live);
    Ok(stats)
}
