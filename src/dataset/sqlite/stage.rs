//! Rows on their way in, kept aside until they are committed: in memory while they are few, then in a file.

use super::database::STAGE_DIR;
use crate::dataset::DatasetError;
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes kept in memory per write.
const MEMORY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of one write.
const WRITE_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// What is staged; goes, file and all, when it is dropped.
#[derive(Default)]
pub(super) struct Stage {
    memory: Vec<RecordBatch>,
    memory_bytes: usize,
    pub total_bytes: u64,
    spool: Option<Spool>,
    pub rows: u64,
}

struct Spool {
    path: PathBuf,
    writer: StreamWriter<BufWriter<File>>,
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "staged rows remain until the next start");
        }
    }
}

impl Stage {
    /// Keeps a batch. True when [`Stage::spill`] is due.
    pub fn push(&mut self, batch: RecordBatch) -> Result<bool, DatasetError> {
        let bytes = batch.get_array_memory_size();
        self.total_bytes += bytes as u64;
        if self.total_bytes > WRITE_BYTES_MAX {
            return Err(DatasetError::invalid(format!(
                "one write takes at most {WRITE_BYTES_MAX} bytes; commit what was sent and send the rest in another"
            )));
        }
        self.rows += batch.num_rows() as u64;
        self.memory_bytes += bytes;
        self.memory.push(batch);
        Ok(self.memory_bytes >= MEMORY_BYTES_MAX)
    }

    /// Moves what is in memory to the file `name` in the namespace's folder. Blocking.
    pub fn spill(&mut self, dir: &Path, name: &str, schema: &SchemaRef) -> Result<(), DatasetError> {
        let failed = |e: &dyn std::fmt::Display| {
            DatasetError::failed(format!("cannot keep rows aside: {e}; free some disk space and retry"))
        };
        if self.spool.is_none() {
            let dir = dir.join(STAGE_DIR);
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|e| failed(&e))?;
            let path = dir.join(name);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let writer = StreamWriter::try_new(BufWriter::new(file.map_err(|e| failed(&e))?), schema);
            self.spool = Some(Spool { path, writer: writer.map_err(|e| failed(&e))? });
        }
        if let Some(spool) = &mut self.spool {
            for batch in self.memory.drain(..) {
                spool.writer.write(&batch).map_err(|e| failed(&e))?;
            }
        }
        self.memory_bytes = 0;
        Ok(())
    }

    /// Gives all batches one by one, as often as is asked.
    pub fn into_batches(self) -> Staged {
        Staged { stage: self, file: None, place: 0 }
    }

    /// Opens the file, if there is one.
    fn open(&mut self) -> Result<Option<StreamReader<BufReader<File>>>, DatasetError> {
        let Some(spool) = &mut self.spool else { return Ok(None) };
        spool.writer.flush().map_err(|e| unreadable(&e))?;
        let file = File::open(&spool.path).map_err(|e| unreadable(&e))?;
        StreamReader::try_new(BufReader::new(file), None).map(Some).map_err(|e| unreadable(&e))
    }

    /// Gives all batches in their order. Blocking where there is a file; can be called again.
    pub fn each(
        &mut self,
        mut take: impl FnMut(&RecordBatch) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        for batch in self.open()?.into_iter().flatten() {
            take(&batch.map_err(|e| unreadable(&e))?)?;
        }
        self.memory.iter().try_for_each(take)
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> DatasetError {
    DatasetError::failed(format!("cannot read rows kept aside: {error}; send the request again"))
}

/// What was staged, on its way out again.
pub(super) struct Staged {
    stage: Stage,
    file: Option<StreamReader<BufReader<File>>>,
    /// 0 before the file, then one more than the batches of memory that were given.
    place: usize,
}

impl Staged {
    /// The next batch. Blocking where there is a file.
    pub fn batch(&mut self) -> Result<Option<RecordBatch>, DatasetError> {
        if self.place == 0 {
            self.file = self.stage.open()?;
            self.place = 1;
        }
        if let Some(file) = &mut self.file {
            if let Some(batch) = file.next() {
                return batch.map(Some).map_err(|e| unreadable(&e));
            }
            self.file = None;
        }
        self.place += 1;
        Ok(self.stage.memory.get(self.place - 2).cloned())
    }
}
