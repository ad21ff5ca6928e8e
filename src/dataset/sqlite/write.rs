//! Writes of one version: new tables, rows added, rows merged.

use super::catalog::{Change, Head, TableSchema, check_name, check_schema, gone, newest_only};
use super::database::{Database, Tx};
use super::error::broken;
use super::fit::fit;
use super::merge;
use super::rows::Appender;
use super::stage::Stage;
use crate::clock::IdSource;
use crate::dataset::{CreateMode, DatasetError, TableAt, TableWriter, WriteKind, Written};
use crate::error_code::RoomCode;
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is to become of the rows.
#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// The table is there and is left alone.
    Nothing {
        version: u64,
    },
    Create {
        mode: CreateMode,
        metadata: BTreeMap<String, String>,
    },
    Insert {
        line: i64,
    },
    Merge {
        line: i64,
        on: String,
    },
}

/// A write that has begun.
pub(super) struct Writer {
    database: Arc<Database>,
    at: TableAt,
    goal: Goal,
    /// Of the rows that are staged; `None` until a first batch gives a new table its schema.
    schema: Option<SchemaRef>,
    stage: Stage,
    ids: Arc<dyn IdSource>,
}

impl Writer {
    pub async fn begin(
        database: Arc<Database>,
        at: TableAt,
        kind: WriteKind,
        ids: Arc<dyn IdSource>,
    ) -> Result<Self, DatasetError> {
        newest_only(&at)?;
        let (goal, schema) = match kind {
            WriteKind::Insert => {
                let (line, schema) = database.head(&at).await?;
                (Goal::Insert { line }, Some(Arc::clone(&schema.arrow)))
            }
            WriteKind::Merge { on } => {
                let (line, schema) = database.head(&at).await?;
                merge::check_column(&schema, &on)?;
                (Goal::Merge { line, on }, Some(Arc::clone(&schema.arrow)))
            }
            WriteKind::Create { mode, schema, metadata } => {
                let asked = at.clone();
                database.read(move |tx| create_goal(tx, &asked, mode, schema, metadata)).await?
            }
        };
        Ok(Self { database, at, goal, schema, stage: Stage::default(), ids })
    }
}

fn create_goal(
    tx: &Tx<'_>,
    at: &TableAt,
    mode: CreateMode,
    schema: Option<SchemaRef>,
    metadata: BTreeMap<String, String>,
) -> Result<(Goal, Option<SchemaRef>), DatasetError> {
    check_name("table", &at.table)?;
    let schema = schema.map(|schema| with_metadata(&schema, &metadata));
    if let Some(schema) = &schema {
        check_schema(schema)?;
    }
    match (tx.find_head(at)?, mode) {
        (Some(_), CreateMode::Create) => Err(exists(&at.table)),
        (Some(head), CreateMode::CreateIfNotExists) => Ok((Goal::Nothing { version: head.version }, None)),
        _ => Ok((Goal::Create { mode, metadata }, schema)),
    }
}

fn exists(table: &str) -> DatasetError {
    DatasetError::new(
        RoomCode::AlreadyExists,
        format!(
            "table `{table}` exists already; choose another name, or a mode that takes one that is there (`overwrite`, `create_if_not_exists`; to import: `replace`, `merge`)"
        ),
    )
}

fn with_metadata(schema: &Schema, metadata: &BTreeMap<String, String>) -> SchemaRef {
    let mut all = schema.metadata().clone();
    all.extend(metadata.iter().map(|(key, value)| (key.clone(), value.clone())));
    Arc::new(schema.clone().with_metadata(all))
}

#[async_trait]
impl TableWriter for Writer {
    async fn push(&mut self, batch: RecordBatch) -> Result<(), DatasetError> {
        let schema = match (&self.goal, &self.schema) {
            (Goal::Nothing { .. }, _) => return Ok(()),
            (_, Some(schema)) => Arc::clone(schema),
            (Goal::Create { metadata, .. }, None) => {
                let schema = with_metadata(&batch.schema(), metadata);
                check_schema(&schema)?;
                Arc::clone(self.schema.insert(schema))
            }
            (_, None) => return Err(broken("a write without a schema")),
        };
        let batch = fit(&schema, &batch)?;
        if batch.num_rows() == 0 || !self.stage.push(batch)? {
            return Ok(());
        }
        let (dir, name) = (self.database.dir.clone(), self.ids.fresh().to_string());
        let mut stage = std::mem::take(&mut self.stage);
        let spilled = tokio::task::spawn_blocking(move || stage.spill(&dir, &name, &schema).map(|()| stage));
        self.stage = spilled
            .await
            .map_err(|e| DatasetError::failed(format!("keeping rows aside broke off: {e}")))??;
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<Written, DatasetError> {
        let Self { database, at, goal, schema, mut stage, .. } = *self;
        let alters = matches!(goal, Goal::Create { .. });
        let job = move |tx: &Tx<'_>| {
            if let Goal::Nothing { version } = goal {
                return Ok(((Written { version, rows: 0 }, None), None));
            }
            let (line, written, dropped) = run(tx, &at, &goal, schema, &mut stage)?;
            Ok(((written, dropped), Some((line, written.version))))
        };
        let (written, dropped) =
            if alters { database.write(job).await? } else { database.write_rows(job).await? };
        if let Some(line) = dropped {
            database.forget(line);
        }
        Ok(written)
    }
}

/// The table that the write began on, as it is now.
pub(super) fn same_line(tx: &Tx<'_>, at: &TableAt, line: i64) -> Result<Head, DatasetError> {
    match tx.find_head(at)? {
        Some(head) if head.line == line => Ok(head),
        _ => Err(gone(line)),
    }
}

/// The line written to, what was written, and the line that was dropped for it.
pub(super) type Done = (i64, Written, Option<i64>);

/// Writes what is staged.
pub(super) fn run(
    tx: &Tx<'_>,
    at: &TableAt,
    goal: &Goal,
    schema: Option<SchemaRef>,
    stage: &mut Stage,
) -> Result<Done, DatasetError> {
    match goal {
        Goal::Nothing { .. } => Err(broken("a write of nothing")),
        Goal::Create { mode, .. } => create(tx, at, *mode, schema, stage),
        Goal::Insert { line } => insert(tx, at, *line, stage),
        Goal::Merge { line, on } => {
            let head = same_line(tx, at, *line)?;
            Ok((*line, merge::merge(tx, &head, on, stage)?, None))
        }
    }
}

fn create(
    tx: &Tx<'_>,
    at: &TableAt,
    mode: CreateMode,
    schema: Option<SchemaRef>,
    stage: &mut Stage,
) -> Result<Done, DatasetError> {
    let schema = schema.ok_or_else(|| {
        DatasetError::invalid(format!("table `{}` needs a schema, or rows to take it from", at.table))
    })?;
    let mut dropped = None;
    if let Some(head) = tx.find_head(at)? {
        match mode {
            CreateMode::Create => return Err(exists(&at.table)),
            // Another made it meanwhile.
            CreateMode::CreateIfNotExists => {
                return Ok((head.line, Written { version: head.version, rows: 0 }, None));
            }
            CreateMode::Overwrite => {
                tx.remove_table(&head)?;
                dropped = Some(head.line);
            }
        }
    }
    let columns = tx.new_columns(schema.fields().len())?;
    let schema = tx.save_schema(schema, columns)?;
    let line = tx.new_table(tx.branch(&at.place)?, &at.table, &schema)?;
    let (last_row, rows) = append(tx, line, &schema, 0, stage)?;
    let change = Change { operation: "create", rows, last_row, live: rows, schema: schema.id };
    Ok((line, tx.record(line, 0, &change)?, dropped))
}

fn insert(tx: &Tx<'_>, at: &TableAt, line: i64, stage: &mut Stage) -> Result<Done, DatasetError> {
    let head = same_line(tx, at, line)?;
    if stage.rows == 0 {
        return Ok((line, Written { version: head.version, rows: 0 }, None));
    }
    tx.own_rows(line, &head.schema)?;
    let (last_row, rows) = append(tx, line, &head.schema, head.last_row, stage)?;
    let change =
        Change { operation: "insert", rows, last_row, live: head.live + rows, schema: head.schema.id };
    Ok((line, tx.record(line, head.version, &change)?, None))
}

/// Adds what is staged; gives the row number given last and how many rows there were.
pub(super) fn append(
    tx: &Tx<'_>,
    line: i64,
    schema: &Arc<TableSchema>,
    last_row: i64,
    stage: &mut Stage,
) -> Result<(i64, u64), DatasetError> {
    let mut appender = Appender::new(tx, line, schema, last_row);
    stage.each(|batch| {
        if batch.schema_ref().fields() == schema.arrow.fields() {
            appender.append(batch)
        } else {
            // The columns were changed since the rows were taken in.
            appender.append(&fit(&schema.arrow, batch)?)
        }
    })?;
    let last = appender.finish()?;
    Ok((last, stage.rows))
}
