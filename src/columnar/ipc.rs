//! Arrow IPC streams as they cross the wire: a schema, batches, an end. What comes in is checked before it is
//! decoded, so that a few hostile bytes cannot ask for much memory.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_ipc::{MessageHeader, RecordBatch as BatchHeader, root_as_message};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Media type of these streams.
pub const MIME_TYPE: &str = "application/vnd.apache.arrow.stream";
/// Largest stream taken at once, bytes, as sent and again as unpacked.
pub const STREAM_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most rows taken at once.
pub const STREAM_ROWS_MAX: usize = 1_000_000;
/// Most columns of a schema, those inside lists and structs included.
pub const COLUMNS_MAX: usize = 10_000;

/// Marks the length of a message's header.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Bytes before a compressed buffer that tell its length unpacked.
const PREFIX_BYTES: usize = 8;

/// Why bytes are not taken as Arrow, or values cannot be written as Arrow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpcError {
    #[error("the data is no Arrow IPC stream: {0}; send a schema, batches and an end in the stream format")]
    NotArrow(String),
    #[error("the Arrow data has more than {max} {what}; send it in smaller blocks")]
    TooLarge { what: &'static str, max: usize },
    #[error("cannot write the rows as Arrow: {0}")]
    Encode(String),
}

/// Reads the schema at the head of a stream; batches that follow are left unread.
pub fn decode_schema(data: &[u8]) -> Result<SchemaRef, IpcError> {
    let (schema, _) = decode(data)?;
    Ok(schema)
}

/// Reads a whole stream of at most [`STREAM_BYTES_MAX`] bytes and [`STREAM_ROWS_MAX`] rows.
pub fn decode(data: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), IpcError> {
    check(data)?;
    // The library is written to return errors; should it panic on some input nevertheless, that input is refused.
    catch_unwind(AssertUnwindSafe(|| read(data)))
        .unwrap_or_else(|_| Err(IpcError::NotArrow("it contradicts itself".into())))
}

fn read(data: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), IpcError> {
    let mut decoder = StreamDecoder::new();
    let mut left = Buffer::from(data);
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut left).map_err(not_arrow)? {
        batches.push(batch);
    }
    decoder.finish().map_err(not_arrow)?;
    let schema = decoder.schema().ok_or_else(|| IpcError::NotArrow("it has no schema".into()))?;
    Ok((schema, batches))
}

/// Writes a stream of a schema and no rows.
pub fn encode_schema(schema: &Schema) -> Result<Bytes, IpcError> {
    encode(schema, &[])
}

/// Writes a whole stream, not compressed: some clients cannot unpack.
pub fn encode(schema: &Schema, batches: &[RecordBatch]) -> Result<Bytes, IpcError> {
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
        for batch in batches {
            writer.write(batch)?;
        }
        writer.into_inner()
    };
    write().map(Bytes::from).map_err(|error: ArrowError| IpcError::Encode(error.to_string()))
}

/// Writes one batch as a whole stream.
pub fn encode_batch(batch: &RecordBatch) -> Result<Bytes, IpcError> {
    encode(batch.schema_ref(), std::slice::from_ref(batch))
}

/// Reads a stream that comes in pieces, or the file format, which holds one.
#[derive(Debug, Default)]
pub struct Framer {
    pending: Vec<u8>,
    /// The schema and the dictionaries, as they came.
    head: Vec<u8>,
    begun: bool,
    ended: bool,
}

/// The end of a stream.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
/// What the file format begins with.
const FILE_MAGIC: &[u8; 8] = b"ARROW1\0\0";

impl Framer {
    /// Takes the next bytes; gives the batches that are whole.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<RecordBatch>, IpcError> {
        // What follows the end of the stream in a file is a directory of it.
        if self.ended {
            return Ok(vec![]);
        }
        self.pending.extend_from_slice(bytes);
        if !self.begun && self.pending.len() >= FILE_MAGIC.len() {
            self.begun = true;
            if self.pending.starts_with(FILE_MAGIC) {
                self.pending.drain(..FILE_MAGIC.len());
            }
        }
        let mut batches = Vec::new();
        while self.begun {
            let Some((length, kind)) = message(&self.pending)? else { break };
            let message: Vec<u8> = self.pending.drain(..length).collect();
            match kind {
                None => {
                    self.ended = true;
                    self.pending.clear();
                    break;
                }
                Some(MessageHeader::RecordBatch) => {
                    batches.extend(decode(&[&self.head[..], &message, &END].concat())?.1);
                }
                Some(_) => self.head.extend_from_slice(&message),
            }
        }
        if self.pending.len().max(self.head.len()) > STREAM_BYTES_MAX {
            return Err(IpcError::TooLarge { what: "bytes in one batch", max: STREAM_BYTES_MAX });
        }
        Ok(batches)
    }

    /// The schema, once it came.
    pub fn schema(&self) -> Result<Option<SchemaRef>, IpcError> {
        if self.head.is_empty() {
            return Ok(None);
        }
        decode_schema(&[&self.head[..], &END].concat()).map(Some)
    }

    /// Says that no more bytes come.
    pub fn finish(&self) -> Result<(), IpcError> {
        if self.head.is_empty() || !self.pending.is_empty() { Err(cut()) } else { Ok(()) }
    }
}

/// Length in bytes and kind of the message at the start, if it is whole; the end of the stream has no kind.
fn message(data: &[u8]) -> Result<Option<(usize, Option<MessageHeader>)>, IpcError> {
    let word = |at: usize| data.get(at..at + 4).and_then(|w| w.try_into().ok());
    let Some(first) = word(0) else { return Ok(None) };
    let at = if first == CONTINUATION { 4 } else { 0 };
    let Some(length) = word(at).map(u32::from_le_bytes) else { return Ok(None) };
    let (start, length) = (at + 4, length as usize);
    if length == 0 {
        return Ok(Some((start, None)));
    }
    if length > STREAM_BYTES_MAX {
        return Err(IpcError::TooLarge { what: "bytes in a header", max: STREAM_BYTES_MAX });
    }
    let Some(header) = data.get(start..start + length) else { return Ok(None) };
    let message = root_as_message(header).map_err(|error| IpcError::NotArrow(error.to_string()))?;
    let body = usize::try_from(message.bodyLength()).map_err(|_| cut())?;
    if body > STREAM_BYTES_MAX {
        return Err(IpcError::TooLarge { what: "bytes in one batch", max: STREAM_BYTES_MAX });
    }
    let end = start + length + body;
    Ok((data.len() >= end).then_some((end, Some(message.header_type()))))
}

fn not_arrow(error: ArrowError) -> IpcError {
    IpcError::NotArrow(error.to_string())
}

/// Walks the messages without decoding them: lengths that lie, too many rows and buffers that would unpack to too
/// much are refused here.
fn check(data: &[u8]) -> Result<(), IpcError> {
    if data.is_empty() {
        return Err(IpcError::NotArrow("it is empty".into()));
    }
    if data.len() > STREAM_BYTES_MAX {
        return Err(IpcError::TooLarge { what: "bytes", max: STREAM_BYTES_MAX });
    }
    let mut sums = Sums::default();
    let mut left = data;
    loop {
        let mut word = take(&mut left, 4)?;
        if word == CONTINUATION {
            word = take(&mut left, 4)?;
        }
        let length = word.try_into().map(u32::from_le_bytes).unwrap_or_default() as usize;
        if length == 0 {
            return Ok(());
        }
        let header = take(&mut left, length)?;
        let message = root_as_message(header).map_err(|error| IpcError::NotArrow(error.to_string()))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| cut())?;
        let body = take(&mut left, body)?;
        match message.header_type() {
            MessageHeader::Schema => {
                let schema = message.header_as_schema().ok_or_else(cut)?;
                let mut columns = 0;
                count_columns(schema.fields().iter().flatten(), &mut columns)?;
            }
            MessageHeader::RecordBatch => sums.add(message.header_as_record_batch(), body, true)?,
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch().ok_or_else(cut)?;
                sums.add(dictionary.data(), body, false)?;
            }
            other => return Err(IpcError::NotArrow(format!("it holds a message of type {other:?}"))),
        }
        if left.is_empty() {
            return Ok(());
        }
    }
}

fn count_columns<'a>(
    fields: impl Iterator<Item = arrow_ipc::Field<'a>>,
    columns: &mut usize,
) -> Result<(), IpcError> {
    for field in fields {
        *columns += 1;
        if *columns > COLUMNS_MAX {
            return Err(IpcError::TooLarge { what: "columns", max: COLUMNS_MAX });
        }
        count_columns(field.children().iter().flatten(), columns)?;
    }
    Ok(())
}

/// What all batches of a stream come to.
#[derive(Default)]
struct Sums {
    rows: usize,
    bytes: usize,
}

impl Sums {
    fn add(&mut self, batch: Option<BatchHeader<'_>>, body: &[u8], rows: bool) -> Result<(), IpcError> {
        let batch = batch.ok_or_else(cut)?;
        let count = usize::try_from(batch.length()).map_err(|_| cut())?;
        let over = count > STREAM_ROWS_MAX || (rows && self.rows + count > STREAM_ROWS_MAX);
        if over {
            return Err(IpcError::TooLarge { what: "rows", max: STREAM_ROWS_MAX });
        }
        self.rows += if rows { count } else { 0 };
        // Values inside lists are more than rows, and may be nulls that take no bytes.
        let values = |length: i64| usize::try_from(length).is_ok_and(|n| n <= STREAM_BYTES_MAX);
        if !batch.nodes().iter().flatten().all(|node| values(node.length()) && values(node.null_count())) {
            return Err(IpcError::TooLarge { what: "values", max: STREAM_BYTES_MAX });
        }
        for buffer in batch.buffers().iter().flatten() {
            let start = usize::try_from(buffer.offset()).map_err(|_| cut())?;
            let length = usize::try_from(buffer.length()).map_err(|_| cut())?;
            let end = start.checked_add(length).ok_or_else(cut)?;
            let bytes = body.get(start..end).ok_or_else(cut)?;
            self.bytes += if batch.compression().is_some() { unpacked(bytes)? } else { 0 };
            if self.bytes > STREAM_BYTES_MAX {
                return Err(IpcError::TooLarge { what: "bytes unpacked", max: STREAM_BYTES_MAX });
            }
        }
        Ok(())
    }
}

/// Length of a compressed buffer when unpacked.
fn unpacked(bytes: &[u8]) -> Result<usize, IpcError> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let prefix = bytes.get(..PREFIX_BYTES).and_then(|b| b.try_into().ok()).ok_or_else(cut)?;
    match i64::from_le_bytes(prefix) {
        // Not compressed after all.
        -1 => Ok(bytes.len() - PREFIX_BYTES),
        length => usize::try_from(length)
            .ok()
            .filter(|length| *length <= STREAM_BYTES_MAX)
            .ok_or(IpcError::TooLarge { what: "bytes unpacked", max: STREAM_BYTES_MAX }),
    }
}

fn take<'a>(left: &mut &'a [u8], length: usize) -> Result<&'a [u8], IpcError> {
    let (taken, rest) = left.split_at_checked(length).ok_or_else(cut)?;
    *left = rest;
    Ok(taken)
}

fn cut() -> IpcError {
    IpcError::NotArrow("its lengths do not fit its bytes".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, NullArray, StringArray};
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::IpcWriteOptions;
    use arrow_schema::{DataType, Field};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn batch() -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
        RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
    }

    fn packed(kind: CompressionType) -> Vec<u8> {
        let options = IpcWriteOptions::default().try_with_compression(Some(kind)).unwrap();
        let batch = batch();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), batch.schema_ref(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn a_stream_comes_back_as_it_went() {
        let batch = batch();
        let (schema, batches) =
            decode(&encode(batch.schema_ref(), &[batch.clone(), batch.clone()]).unwrap()).unwrap();
        assert_eq!(&schema, batch.schema_ref());
        assert_eq!(batches, [batch.clone(), batch.clone()]);
        assert_eq!(decode_schema(&encode_schema(batch.schema_ref()).unwrap()).unwrap(), batch.schema());
        for kind in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            assert_eq!(decode(&packed(kind)).unwrap().1, [batch.clone()]);
        }
    }

    #[test]
    fn what_is_not_arrow_is_refused() {
        for data in
            [&b""[..], b"hello, this is text", &[0xff; 64], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]]
        {
            assert!(matches!(decode(data), Err(IpcError::NotArrow(_))), "{data:?}");
        }
        let whole = encode_batch(&batch()).unwrap();
        for cut in 1..whole.len() - 8 {
            // Cut between messages, less came, and nothing that did not.
            if let Ok((_, batches)) = decode(&whole[..cut]) {
                assert!(batches.is_empty() || batches == [batch()]);
            }
        }
    }

    #[test]
    fn rows_that_take_no_bytes_are_counted() {
        let nulls: ArrayRef = Arc::new(NullArray::new(STREAM_ROWS_MAX + 1));
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Null, true)]));
        let batch = RecordBatch::try_new(schema, vec![nulls]).unwrap();
        let refused = decode(&encode_batch(&batch).unwrap());
        assert_eq!(refused, Err(IpcError::TooLarge { what: "rows", max: STREAM_ROWS_MAX }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Bytes changed at random are refused or read, and never panic or ask for the moon.
        #[test]
        fn hostile_bytes_do_no_harm(
            kind in 0..3,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        ) {
            let mut data = match kind {
                0 => encode_batch(&batch()).unwrap().to_vec(),
                1 => packed(CompressionType::LZ4_FRAME),
                _ => packed(CompressionType::ZSTD),
            };
            for (at, byte) in changes {
                let at = at.index(data.len());
                data[at] = byte;
            }
            if let Ok((_, batches)) = decode(&data) {
                prop_assert!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() <= STREAM_ROWS_MAX);
            }
        }

        #[test]
        fn random_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&data);
        }
    }
}
