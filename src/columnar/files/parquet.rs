//! Parquet: what it holds is told at its end, so a file that comes in pieces is put by first, in a file without a name.

use super::{FileError, io_failed};
use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use std::fs::File;
use std::io::{Seek, Write};
use uuid::Uuid;

/// Largest file that is put by, bytes.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Rows of a row group that is written; so many are held in memory.
const GROUP_ROWS: usize = 65_536;

/// A file without a name: gone with its handle, even when the process is killed.
pub(super) fn nameless() -> Result<File, FileError> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| FileError::Format("the system gave no random bytes".into()))?;
    let path = std::env::temp_dir().join(format!("meshagent-{}", Uuid::from_bytes(random).simple()));
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.read(true).write(true).create_new(true).open(&path).map_err(io_failed)?;
    std::fs::remove_file(&path).map_err(io_failed)?;
    Ok(file)
}

/// Reads Parquet.
pub(super) enum Source {
    /// It comes in pieces: so many bytes so far.
    Coming(File, u64),
    Whole(Box<Whole>),
}

/// The blocks of a whole file.
pub(super) struct Whole {
    pub schema: SchemaRef,
    blocks: ParquetRecordBatchReader,
}

impl Whole {
    pub fn open(file: File, rows: usize) -> Result<Self, FileError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(wrong)?;
        let schema = builder.schema().clone();
        let blocks = builder.with_batch_size(rows).build().map_err(wrong)?;
        Ok(Self { schema, blocks })
    }

    pub fn next(&mut self) -> Result<Option<RecordBatch>, FileError> {
        let block = self.blocks.next().transpose();
        block.map_err(|error| FileError::Format(format!("the Parquet file is broken: {error}")))
    }
}

impl Source {
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let Self::Coming(file, length) = self else { return Ok(()) };
        *length = length.saturating_add(bytes.len() as u64);
        if *length > FILE_BYTES_MAX {
            return Err(FileError::Format(format!("a Parquet file has at most {FILE_BYTES_MAX} bytes here")));
        }
        file.write_all(bytes).map_err(io_failed)
    }

    pub fn finish(&mut self, rows: usize) -> Result<SchemaRef, FileError> {
        if let Self::Coming(file, _) = self {
            file.rewind().map_err(io_failed)?;
            let whole = Whole::open(file.try_clone().map_err(io_failed)?, rows)?;
            *self = Self::Whole(Box::new(whole));
        }
        match self {
            Self::Whole(whole) => Ok(whole.schema.clone()),
            Self::Coming(..) => Err(FileError::Format("the file has not come whole".into())),
        }
    }

    pub fn next(&mut self) -> Result<Option<RecordBatch>, FileError> {
        match self {
            Self::Whole(whole) => whole.next(),
            Self::Coming(..) => Ok(None),
        }
    }
}

fn wrong(error: ParquetError) -> FileError {
    FileError::Format(format!("this is no Parquet file that can be read: {error}"))
}

/// Writes Parquet, compressed by Zstandard.
pub(super) struct Sink(ArrowWriter<Vec<u8>>);

impl Sink {
    pub fn new(schema: &SchemaRef) -> Result<Self, FileError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map(Self).map_err(cannot)
    }

    /// The bytes that are ready: those of whole row groups.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, FileError> {
        self.0.write(batch).map_err(cannot)?;
        // Where each group lies in the file the writer counts by itself.
        Ok(std::mem::take(self.0.inner_mut()))
    }

    pub fn finish(mut self) -> Result<Vec<u8>, FileError> {
        self.0.finish().map_err(cannot)?;
        Ok(std::mem::take(self.0.inner_mut()))
    }
}

fn cannot(error: ParquetError) -> FileError {
    FileError::Format(format!("these columns cannot be written as Parquet: {error}"))
}
