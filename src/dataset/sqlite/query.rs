//! Results of SQL queries: read to the end at one moment, kept aside, handed out in batches. So a slow client holds no
//! transaction, and what a result may take is bounded.

use super::database::{Database, Tx};
use super::error::{broken, of_query};
use super::rows::{BATCH_BYTES, BATCH_ROWS, plain_field, size};
use super::scan::batch;
use super::stage::{Stage, Staged};
use crate::columnar::cell::{CellBuilder, batch_rows_max};
use crate::dataset::sql::QueryPlan;
use crate::dataset::{DatasetError, TableReader};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use rusqlite::{Row, params_from_iter};
use std::path::Path;
use std::sync::Arc;

/// Most bytes of one result.
const RESULT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Runs a query to its end. `file`: where rows that are too many for memory go, in the folder `dir`.
pub(super) fn run(tx: &Tx<'_>, query: &QueryPlan, dir: &Path, file: &str) -> Result<Stage, DatasetError> {
    let schema = &query.schema;
    let rows_max = BATCH_ROWS.min(batch_rows_max(schema));
    let mut stage = Stage::default();
    let mut select = tx.c.prepare(&query.sql).map_err(of_query)?;
    if select.column_count() != schema.fields().len() {
        return Err(broken("a query yields other columns than it should"));
    }
    let params = query.bound(&select).to_vec();
    let mut rows = select.query(params_from_iter(params)).map_err(of_query)?;
    loop {
        let mut block = Block::new(schema)?;
        let mut ended = false;
        while block.rows < rows_max && block.bytes < BATCH_BYTES {
            let Some(row) = rows.next().map_err(of_query)? else {
                ended = true;
                break;
            };
            block.add(row)?;
        }
        if block.rows > 0 && stage.push(block.finish(schema)?)? {
            stage.spill(dir, file, schema)?;
        }
        if stage.total_bytes > RESULT_BYTES_MAX {
            return Err(DatasetError::invalid(format!(
                "the result has more than {RESULT_BYTES_MAX} bytes; select fewer columns or rows"
            )));
        }
        if ended {
            return Ok(stage);
        }
    }
}

struct Block {
    builders: Vec<CellBuilder>,
    rows: usize,
    bytes: usize,
}

impl Block {
    fn new(schema: &SchemaRef) -> Result<Self, DatasetError> {
        let builders = schema.fields().iter().map(|field| CellBuilder::new(&plain_field(field)));
        Ok(Self { builders: builders.collect::<Result<_, _>>()?, rows: 0, bytes: 0 })
    }

    fn add(&mut self, row: &Row<'_>) -> Result<(), DatasetError> {
        self.rows += 1;
        for (index, builder) in self.builders.iter_mut().enumerate() {
            let value = row.get_ref(index)?;
            self.bytes += size(value);
            builder.push(value)?;
        }
        Ok(())
    }

    fn finish(self, schema: &SchemaRef) -> Result<RecordBatch, DatasetError> {
        let columns = self.builders.into_iter().map(CellBuilder::finish).collect::<Result<_, _>>()?;
        batch(schema, columns, self.rows)
    }
}

/// Hands out a result that was kept aside.
pub(super) struct ResultReader {
    schema: SchemaRef,
    rows: Option<Staged>,
    /// Keeps the namespace open as long as files of it are read.
    _database: Arc<Database>,
}

impl ResultReader {
    pub fn new(database: Arc<Database>, schema: SchemaRef, stage: Stage) -> Self {
        Self { schema, rows: Some(stage.into_batches()), _database: database }
    }
}

#[async_trait]
impl TableReader for ResultReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, DatasetError> {
        let Some(mut rows) = self.rows.take() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || rows.batch().map(|batch| (rows, batch)));
        let (rows, batch) =
            read.await.map_err(|e| DatasetError::failed(format!("reading the result broke off: {e}")))??;
        if batch.is_some() {
            self.rows = Some(rows);
        }
        Ok(batch)
    }
}
