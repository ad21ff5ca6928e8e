//! Parquet: what it holds is told at its end, so a file that comes in pieces is put by first, in a file without a name.

use super::{FileError, io_failed};
use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use ::parquet::basic::{Compression, Type, ZstdLevel};
use ::parquet::column::page::{Page, PageReader};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::serialized_reader::SerializedPageReader;
use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// Largest file that is put by, bytes.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Rows of a row group that is written; so many are held in memory.
const GROUP_ROWS: usize = 65_536;
/// Columns of a file, counted within structures too.
pub(super) const COLUMNS_MAX: usize = 2_000;
/// Longest description at a file's end, bytes.
const FOOTER_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Rows that are decoded at once, at most: a few bytes of a file can stand for many.
const STEP_ROWS: usize = 128;
/// Bytes that rows decoded at once may have by what the dictionaries hold; else fewer are.
const STEP_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that rows decoded at once have at most.
const STEP_BYTES_MAX: usize = 256 * 1024 * 1024;
/// From so many bytes on a block gets no more rows.
pub(super) const BLOCK_BYTES: usize = 64 * 1024 * 1024;

/// A file without a name: gone with its handle, even when the process is killed.
pub(super) fn nameless(folder: &Path) -> Result<File, FileError> {
    std::fs::create_dir_all(folder).map_err(io_failed)?;
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| FileError::Format("the system gave no random bytes".into()))?;
    let path = folder.join(format!("meshagent-{}", Uuid::from_bytes(random).simple()));
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
    parts: ParquetRecordBatchReader,
    /// Rows of a part.
    pub step: usize,
    /// Rows of a block.
    rows: usize,
}

impl Whole {
    /// Blocks of `rows` rows, fewer where they are large.
    pub fn open(mut file: File, rows: usize) -> Result<Self, FileError> {
        check_footer(&mut file)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file.try_clone().map_err(io_failed)?);
        let builder = builder.map_err(wrong)?;
        let columns = builder.parquet_schema().num_columns();
        if columns > COLUMNS_MAX {
            let text = format!("the Parquet file has {columns} columns, at most {COLUMNS_MAX} are read");
            return Err(FileError::Format(text));
        }
        let schema = builder.schema().clone();
        let widest = widest(&Arc::new(file), builder.metadata())?.max(1);
        let step = (STEP_BYTES / widest).clamp(1, STEP_ROWS).min(rows);
        let parts = builder.with_batch_size(step).build().map_err(wrong)?;
        Ok(Self { schema, parts, step, rows })
    }

    pub fn next(&mut self) -> Result<Option<RecordBatch>, FileError> {
        let broken = |error: ArrowError| FileError::Format(format!("the Parquet file is broken: {error}"));
        let (mut parts, mut rows, mut bytes) = (vec![], 0, 0);
        while rows + self.step <= self.rows && bytes < BLOCK_BYTES {
            let Some(part) = self.parts.next().transpose().map_err(broken)? else { break };
            let size = part.get_array_memory_size();
            if size > STEP_BYTES_MAX {
                return Err(FileError::Format(format!(
                    "{} rows of the Parquet file have {size} bytes, at most {STEP_BYTES_MAX} are read at once; make its values smaller",
                    part.num_rows()
                )));
            }
            rows += part.num_rows();
            bytes += size;
            parts.push(part);
        }
        if parts.len() < 2 {
            return Ok(parts.pop());
        }
        concat_batches(&self.schema, &parts).map(Some).map_err(broken)
    }
}

/// The description at a file's end is read whole.
fn check_footer(file: &mut File) -> Result<(), FileError> {
    let mut tail = [0; 8];
    // Whatever is shorter is refused where it is read.
    if file.seek(SeekFrom::End(-8)).is_ok() {
        file.read_exact(&mut tail).map_err(io_failed)?;
    }
    let [a, b, c, d, magic @ ..] = tail;
    let length = u32::from_le_bytes([a, b, c, d]);
    if magic == *b"PAR1" && length > FOOTER_BYTES_MAX {
        let text = format!(
            "this is no Parquet file that can be read: its description has {length} bytes, the most is {FOOTER_BYTES_MAX}"
        );
        return Err(FileError::Format(text));
    }
    Ok(())
}

/// Bytes that a row can take by the longest values in the dictionaries: each is there once, for any number of rows.
fn widest(file: &Arc<File>, about: &ParquetMetaData) -> Result<usize, FileError> {
    let mut columns: Vec<usize> = vec![];
    for group in about.row_groups() {
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        columns.resize(columns.len().max(group.columns().len()), 0);
        for (column, longest) in group.columns().iter().zip(&mut columns) {
            let mut pages = SerializedPageReader::new(Arc::clone(file), column, rows, None).map_err(wrong)?;
            if !pages.peek_next_page().map_err(wrong)?.is_some_and(|page| page.is_dict) {
                continue;
            }
            if let Some(Page::DictionaryPage { buf, .. }) = pages.get_next_page().map_err(wrong)? {
                let texts = column.column_type() == Type::BYTE_ARRAY;
                *longest = (*longest).max(if texts { longest_text(&buf) } else { 0 });
            }
        }
    }
    Ok(columns.iter().fold(0, |sum, longest| sum.saturating_add(*longest)))
}

/// The longest of texts that each have their length before them.
fn longest_text(mut bytes: &[u8]) -> usize {
    let mut longest = 0;
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        longest = longest.max(length.min(rest.len()));
        bytes = rest.get(length..).unwrap_or_default();
    }
    longest
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
