//! The port on these databases.

use super::database::{Database, Tx};
use super::pool::Pool;
use super::rank::{self, Ranking, RankingReader};
use super::scan::{Scan, ScanReader};
use super::statement::{self, Statement};
use super::view::View;
use super::write::Writer;
use super::{alter, change, diff, history, index, optimize};
use crate::clock::{Clock, IdSource};
use crate::dataset::{
    AddColumns, Assignment, BranchInfo, DatasetError, DatasetStore, IndexConfig, IndexInfo, OptimizeConfig,
    OptimizeReport, Place, Search, SqlOutcome, SqlRequest, TableAt, TableReader, TableStats, TableWriter,
    VersionInfo, WriteKind, Written,
};
use crate::error_code::RoomCode;
use crate::id::RoomId;
use crate::volume::Volume;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Datasets of rooms, in SQLite on their volume.
pub struct SqliteDatasets {
    pool: Pool,
    ids: Arc<dyn IdSource>,
}

impl fmt::Debug for SqliteDatasets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteDatasets").finish_non_exhaustive()
    }
}

impl SqliteDatasets {
    pub fn new(volume: Volume, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { pool: Pool::new(volume, clock), ids }
    }

    /// Closes what is open; for the end of the server.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The database of a table that should be there.
    async fn of_table(&self, at: &TableAt) -> Result<Arc<Database>, DatasetError> {
        self.pool.get(&at.place, false).await?.ok_or_else(|| DatasetError::no_table(&at.table))
    }

    async fn read<R, F>(&self, at: &TableAt, job: F) -> Result<R, DatasetError>
    where
        F: FnOnce(&Tx<'_>, &TableAt) -> Result<R, DatasetError> + Send + 'static,
        R: Send + 'static,
    {
        let at = at.clone();
        self.of_table(&at).await?.read(move |tx| job(tx, &at)).await
    }

    /// A write to a table that should be there.
    async fn write<R, F>(&self, at: &TableAt, job: F) -> Result<R, DatasetError>
    where
        F: FnOnce(&Tx<'_>, &TableAt) -> Result<R, DatasetError> + Send + 'static,
        R: Send + 'static,
    {
        let at = at.clone();
        let database = self.of_table(&at).await?;
        database.write(move |tx| job(tx, &at).map(|done| (done, None))).await
    }

    /// A write that makes a version of a line.
    async fn change<F>(&self, at: &TableAt, job: F) -> Result<Written, DatasetError>
    where
        F: FnOnce(&Tx<'_>, &TableAt) -> Result<(i64, Written), DatasetError> + Send + 'static,
    {
        let at = at.clone();
        let database = self.of_table(&at).await?;
        let job =
            move |tx: &Tx<'_>| job(tx, &at).map(|(line, written)| (written, Some((line, written.version))));
        database.write(job).await
    }

    /// The database of a namespace, made where it is not there.
    async fn of_place(&self, place: &Place) -> Result<Arc<Database>, DatasetError> {
        let database = self.pool.get(place, true).await?;
        database.ok_or_else(|| super::error::broken("a namespace that was made is not there"))
    }
}

#[async_trait]
impl DatasetStore for SqliteDatasets {
    async fn list_tables(&self, place: &Place) -> Result<Vec<String>, DatasetError> {
        match self.pool.get(place, false).await? {
            Some(database) => {
                let place = place.clone();
                database.read(move |tx| tx.tables(&place)).await
            }
            None if place.branch.as_deref().is_none_or(|branch| branch == super::catalog::MAIN) => {
                Ok(Vec::new())
            }
            None => Err(DatasetError::new(
                RoomCode::NotFound,
                "the branch does not exist here; dataset.list_branches shows those that do",
            )),
        }
    }

    async fn schema(&self, at: &TableAt) -> Result<SchemaRef, DatasetError> {
        self.read(at, |tx, at| View::resolve(tx, at).map(|view| view.schema())).await
    }

    async fn write(&self, at: &TableAt, kind: WriteKind) -> Result<Box<dyn TableWriter>, DatasetError> {
        let database = match kind {
            WriteKind::Create { .. } => self.of_place(&at.place).await?,
            _ => self.of_table(at).await?,
        };
        let writer = Writer::begin(database, at.clone(), kind, Arc::clone(&self.ids)).await?;
        Ok(Box::new(writer))
    }

    async fn update(
        &self,
        at: &TableAt,
        filter: &str,
        values: Vec<Assignment>,
    ) -> Result<Written, DatasetError> {
        let filter = filter.to_owned();
        self.change(at, move |tx, at| change::update(tx, at, &filter, &values)).await
    }

    async fn delete(&self, at: &TableAt, filter: &str) -> Result<Written, DatasetError> {
        let filter = filter.to_owned();
        self.change(at, move |tx, at| change::delete(tx, at, &filter)).await
    }

    async fn search(&self, at: &TableAt, search: Search) -> Result<Box<dyn TableReader>, DatasetError> {
        let database = self.of_table(at).await?;
        let at = at.clone();
        if search.text.is_some() || search.vector.is_some() {
            let rank = move |tx: &Tx<'_>| Ranking::new(tx, View::resolve(tx, &at)?, &search);
            let ranking = database.read(rank).await?;
            return Ok(Box::new(RankingReader::new(database, ranking)));
        }
        let scan = database.read(move |tx| Scan::new(View::resolve(tx, &at)?, &search)).await?;
        Ok(Box::new(ScanReader::new(database, scan)))
    }

    async fn count(&self, at: &TableAt, search: Search) -> Result<u64, DatasetError> {
        if search.text.is_some() || search.vector.is_some() {
            return self.read(at, move |tx, at| rank::count(tx, &View::resolve(tx, at)?, &search)).await;
        }
        self.read(at, move |tx, at| Scan::new(View::resolve(tx, at)?, &search)?.count(tx)).await
    }

    async fn sql(&self, place: &Place, request: SqlRequest) -> Result<SqlOutcome, DatasetError> {
        let place = statement::place_of(place, &request)?;
        let names = crate::dataset::sql::tables_of(&request.query)?;
        let makes = !names.alters.is_empty();
        let database = match self.pool.get(&place, makes).await? {
            Some(database) => database,
            // A query without tables needs none, but a database to run in.
            None => self.of_place(&place).await?,
        };
        let (dir, file) = (database.dir.clone(), self.ids.fresh().to_string());
        statement::run(database, Statement { place, request, names, dir, file }).await
    }

    async fn drop_table(&self, at: &TableAt, ignore_missing: bool) -> Result<(), DatasetError> {
        let Some(database) = self.pool.get(&at.place, false).await? else {
            return if ignore_missing { Ok(()) } else { Err(DatasetError::no_table(&at.table)) };
        };
        let at = at.clone();
        let drop = move |tx: &Tx<'_>| Ok((alter::drop_table(tx, &at, ignore_missing)?, None));
        if let Some(line) = database.write(drop).await? {
            database.forget(line);
        }
        Ok(())
    }

    async fn rename_table(&self, at: &TableAt, new_name: &str) -> Result<(), DatasetError> {
        let new_name = new_name.to_owned();
        self.write(at, move |tx, at| alter::rename_table(tx, at, &new_name)).await
    }

    async fn add_columns(&self, at: &TableAt, columns: AddColumns) -> Result<(), DatasetError> {
        self.change(at, move |tx, at| alter::add_columns(tx, at, &columns)).await.map(drop)
    }

    async fn drop_columns(&self, at: &TableAt, columns: &[String]) -> Result<(), DatasetError> {
        let columns = columns.to_vec();
        self.change(at, move |tx, at| alter::drop_columns(tx, at, &columns)).await.map(drop)
    }

    async fn set_column_metadata(
        &self,
        at: &TableAt,
        column: &str,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), DatasetError> {
        let column = column.to_owned();
        self.change(at, move |tx, at| alter::set_column_metadata(tx, at, &column, &metadata)).await.map(drop)
    }

    async fn versions(&self, at: &TableAt) -> Result<Vec<VersionInfo>, DatasetError> {
        self.read(at, history::versions).await
    }

    async fn restore(&self, at: &TableAt, version: u64) -> Result<Written, DatasetError> {
        self.change(at, move |tx, at| change::restore(tx, at, version)).await
    }

    async fn changes(
        &self,
        at: &TableAt,
        from: u64,
        to: u64,
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), DatasetError> {
        self.read(at, move |tx, at| diff::changes(tx, at, from, to)).await
    }

    async fn watch(&self, at: &TableAt) -> Result<tokio::sync::watch::Receiver<u64>, DatasetError> {
        let database = self.of_table(at).await?;
        let asked = at.clone();
        let line = database.read(move |tx| tx.head(&asked).map(|head| head.line)).await?;
        let watch = database.watch(line);
        // What was committed between the two looks is in the second.
        let asked = at.clone();
        let head = database.read(move |tx| tx.head(&asked)).await?;
        if head.line != line {
            return Err(super::catalog::gone(line));
        }
        database.saw(line, head.version);
        Ok(watch)
    }

    async fn tag(&self, at: &TableAt, tag: &str, version: u64) -> Result<(), DatasetError> {
        let tag = tag.to_owned();
        self.write(at, move |tx, at| history::tag(tx, at, &tag, version)).await
    }

    async fn untag(&self, at: &TableAt, tag: &str) -> Result<(), DatasetError> {
        let tag = tag.to_owned();
        self.write(at, move |tx, at| history::untag(tx, at, &tag)).await
    }

    async fn tags(&self, at: &TableAt) -> Result<BTreeMap<String, u64>, DatasetError> {
        self.read(at, history::tags).await
    }

    async fn branches(&self, place: &Place) -> Result<Vec<BranchInfo>, DatasetError> {
        match self.pool.get(place, false).await? {
            Some(database) => database.read(history::branches).await,
            None => Ok(Vec::new()),
        }
    }

    async fn create_branch(
        &self,
        place: &Place,
        branch: &str,
        from: Option<&str>,
    ) -> Result<(), DatasetError> {
        let (branch, from) = (branch.to_owned(), from.map(ToOwned::to_owned));
        let make = move |tx: &Tx<'_>| Ok((history::create_branch(tx, &branch, from.as_deref())?, None));
        self.of_place(place).await?.write(make).await
    }

    async fn delete_branch(&self, place: &Place, branch: &str) -> Result<(), DatasetError> {
        let database = self.of_place(place).await?;
        let (place, branch) = (place.clone(), branch.to_owned());
        let delete = move |tx: &Tx<'_>| Ok((history::delete_branch(tx, &place, &branch)?, None));
        let lines = database.write(delete).await?;
        lines.into_iter().for_each(|line| database.forget(line));
        Ok(())
    }

    async fn create_index(&self, at: &TableAt, config: IndexConfig) -> Result<(), DatasetError> {
        self.write(at, move |tx, at| index::create(tx, at, &config)).await
    }

    async fn drop_index(&self, at: &TableAt, name: &str) -> Result<(), DatasetError> {
        let name = name.to_owned();
        self.write(at, move |tx, at| index::drop(tx, at, &name)).await
    }

    async fn indexes(&self, at: &TableAt) -> Result<Vec<IndexInfo>, DatasetError> {
        self.read(at, index::list).await
    }

    async fn optimize(&self, at: &TableAt, config: OptimizeConfig) -> Result<OptimizeReport, DatasetError> {
        self.write(at, move |tx, at| optimize::optimize(tx, at, &config)).await
    }

    async fn stats(&self, at: &TableAt) -> Result<TableStats, DatasetError> {
        self.read(at, optimize::stats).await
    }

    async fn close_room(&self, room: RoomId) {
        self.pool.close_room(room).await;
    }

    async fn delete_room(&self, room: RoomId) -> Result<(), DatasetError> {
        self.pool.delete_room(room).await
    }
}
