//! Rows of a query as Arrow blocks. The types are those declared for the columns where all values of the first block
//! have them, else those of the values.

use super::access::Grants;
use super::error::SqliteError;
use super::handles::{Handle, Limit};
use super::run::{self, Text};
use super::{Expect, Outcome, decl, values};
use crate::columnar::typed::{self, Typed};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Rows, Statement};
use serde_json::Value as Json;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Most rows of a block.
const BLOCK_ROWS_MAX: usize = 4_096;
/// A block is full at this many bytes.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;
/// Blocks that wait for the reader.
const BLOCKS_AHEAD: usize = 1;
/// Most bytes of rows kept of statements that also write, or that stand in a batch.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Rows on their way out. Dropping them ends the query.
pub struct SqlRows {
    schema: SchemaRef,
    ready: VecDeque<RecordBatch>,
    stream: Option<Stream>,
}

struct Stream {
    blocks: mpsc::Receiver<Result<RecordBatch, SqliteError>>,
    limit: Arc<Limit>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.limit.stop();
    }
}

impl fmt::Debug for SqlRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlRows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl SqlRows {
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SqliteError> {
        if let Some(batch) = self.ready.pop_front() {
            return Ok(Some(batch));
        }
        match &mut self.stream {
            Some(stream) => stream.blocks.recv().await.transpose(),
            None => Ok(None),
        }
    }
}

/// Runs a statement of a caller.
pub(super) async fn run(
    handle: Handle,
    text: Text,
    params: Json,
    grants: Arc<dyn Grants>,
    expect: Expect,
) -> Result<Outcome, SqliteError> {
    let limit = Arc::clone(&handle.limit);
    let (begun, begin) = oneshot::channel();
    let (blocks, receiver) = mpsc::channel(BLOCKS_AHEAD);
    // Stops the statement when this future is dropped, or the rows are.
    let stream = Stream { blocks: receiver, limit };
    tokio::task::spawn_blocking(move || work(handle, &text, &params, &grants, expect, begun, &blocks));
    match begin.await {
        Ok(Ok(Begun::Rows(schema))) => {
            Ok(Outcome::Rows(SqlRows { schema, ready: VecDeque::new(), stream: Some(stream) }))
        }
        Ok(Ok(Begun::Kept(rows))) => Ok(Outcome::Rows(rows)),
        Ok(Ok(Begun::Affected(count))) => Ok(Outcome::Affected(count)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(SqliteError::failed("the statement stopped without an answer")),
    }
}

enum Begun {
    /// Blocks follow.
    Rows(SchemaRef),
    Kept(SqlRows),
    Affected(u64),
}

type Begin = oneshot::Sender<Result<Begun, SqliteError>>;

fn work(
    mut handle: Handle,
    text: &Text,
    params: &Json,
    grants: &Arc<dyn Grants>,
    expect: Expect,
    begun: Begin,
    blocks: &mpsc::Sender<Result<RecordBatch, SqliteError>>,
) {
    let limit = Arc::clone(&handle.limit);
    let told = |error: SqliteError| match error.code {
        crate::error_code::RoomCode::Timeout => limit.reason(),
        _ => error,
    };
    let kind = handle.connection().and_then(|connection| {
        run::with_grants(connection, grants, |connection| look(connection, text, expect))
    });
    let result = match kind {
        Err(error) => Err(error),
        Ok(Kind::Reads) => {
            let connection = match handle.connection() {
                Ok(connection) => connection,
                Err(error) => return drop(begun.send(Err(error))),
            };
            let mut begun = Some(begun);
            let result = run::with_grants(connection, grants, |connection| {
                stream(connection, text, params, &limit, &mut begun, blocks)
            });
            if let Err(error) = result.map_err(told) {
                match begun {
                    Some(begun) => drop(begun.send(Err(error))),
                    None => {
                        let _taken = send(blocks, Err(error), &limit);
                    }
                }
            }
            return;
        }
        Ok(kind) => handle.writing(|connection| {
            run::with_grants(connection, grants, |connection| match kind {
                Kind::Gives => {
                    kept(connection, text, params, KEPT_BYTES_MAX).map(|(rows, _)| Begun::Kept(rows))
                }
                _ => run::execute(connection, text, params).map(Begun::Affected),
            })
        }),
    };
    drop(begun.send(result.map_err(told)));
}

/// What a statement does.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Gives rows and changes nothing.
    Reads,
    /// Changes something and gives rows.
    Gives,
    /// Gives no rows.
    Writes,
}

/// Compiles a statement to see what it does, and holds that against what the caller expects.
pub(super) fn look(connection: &Connection, text: &Text, expect: Expect) -> Result<Kind, SqliteError> {
    let statement = connection.prepare(&text.full()).map_err(|error| text.error(&error))?;
    let rows = statement.column_count() > 0;
    match (expect, rows) {
        (Expect::Rows, false) => Err(SqliteError::invalid(
            "this statement gives no rows; run it with sqlite.execute_sql_statement",
        )),
        (Expect::Statement, true) => Err(SqliteError::invalid(
            "this statement gives rows; run it with sqlite.execute_sql or sqlite.open_sql_query",
        )),
        (_, true) if statement.readonly() => Ok(Kind::Reads),
        (_, true) => Ok(Kind::Gives),
        (_, false) => Ok(Kind::Writes),
    }
}

fn stream(
    connection: &Connection,
    text: &Text,
    params: &Json,
    limit: &Limit,
    begun: &mut Option<Begin>,
    blocks: &mpsc::Sender<Result<RecordBatch, SqliteError>>,
) -> Result<(), SqliteError> {
    let mut statement = connection.prepare(&text.full()).map_err(|error| text.error(&error))?;
    run::bind(&mut statement, params)?;
    let columns = Columns::of(&statement);
    let mut rows = statement.raw_query();
    let mut block = Block::read(&mut rows, text, columns.len())?;
    let schema = columns.settle(&block);
    if let Some(begun) = begun.take()
        && begun.send(Ok(Begun::Rows(Arc::clone(&schema)))).is_err()
    {
        return Ok(());
    }
    let mut done = 0;
    loop {
        let count = block.rows;
        let more = block.more;
        if count > 0 && !send(blocks, Ok(block.batch(&schema, done)?), limit) {
            return Ok(());
        }
        if !more {
            return Ok(());
        }
        done += count;
        limit.start();
        block = Block::read(&mut rows, text, columns.len())?;
    }
}

/// Waits until the reader takes a block, or the error that ends them; false when it is gone, or the database closes.
fn send(
    blocks: &mpsc::Sender<Result<RecordBatch, SqliteError>>,
    item: Result<RecordBatch, SqliteError>,
    limit: &Limit,
) -> bool {
    tokio::runtime::Handle::current().block_on(async {
        tokio::select! {
            sent = blocks.send(item) => sent.is_ok(),
            () = limit.closing() => {
                // Waits for no one: a reader that is behind sees the end of the stream instead.
                drop(blocks.try_send(Err(limit.reason())));
                false
            }
        }
    })
}

/// Runs a statement and keeps its rows, with the bytes they take.
pub(super) fn kept(
    connection: &Connection,
    text: &Text,
    params: &Json,
    bytes_max: usize,
) -> Result<(SqlRows, usize), SqliteError> {
    let mut statement = connection.prepare(&text.full()).map_err(|error| text.error(&error))?;
    run::bind(&mut statement, params)?;
    let columns = Columns::of(&statement);
    let mut rows = statement.raw_query();
    let mut block = Block::read(&mut rows, text, columns.len())?;
    let schema = columns.settle(&block);
    let (mut ready, mut bytes, mut done) = (VecDeque::new(), 0, 0);
    loop {
        bytes += block.bytes;
        if bytes > bytes_max {
            return Err(SqliteError::invalid(format!(
                "the rows are more than {bytes_max} bytes, which are kept until they are read; ask for less, or \
                 read them with a query of its own"
            )));
        }
        let (count, more) = (block.rows, block.more);
        if count > 0 {
            ready.push_back(block.batch(&schema, done)?);
        }
        if !more {
            return Ok((SqlRows { schema, ready, stream: None }, bytes));
        }
        done += count;
        block = Block::read(&mut rows, text, columns.len())?;
    }
}

/// The columns of a result: names, and the types that are declared for them.
struct Columns(Vec<(String, Option<Field>)>);

impl Columns {
    fn of(statement: &Statement<'_>) -> Self {
        let column = |column: rusqlite::Column<'_>| {
            let declared = column.decl_type().and_then(|declared| decl::field(column.name(), declared, true));
            (column.name().to_owned(), declared)
        };
        Self(statement.columns().map(column).collect())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// The schema, once the first block is there.
    fn settle(&self, block: &Block) -> SchemaRef {
        let field = |((name, declared), cells): (&(String, Option<Field>), &Vec<Value>)| match declared {
            Some(field) if cells.iter().all(|cell| values::load(field, cell.into()).is_some()) => {
                field.clone()
            }
            _ => Field::new(name, of_values(cells), true),
        };
        Arc::new(Schema::new(self.0.iter().zip(&block.columns).map(field).collect::<Vec<_>>()))
    }
}

/// The type of values that have none declared; text takes all of them but blobs.
fn of_values(cells: &[Value]) -> DataType {
    let (mut integers, mut reals, mut texts, mut blobs) = (0, 0, 0, 0);
    for cell in cells {
        match cell {
            Value::Null => {}
            Value::Integer(_) => integers += 1,
            Value::Real(_) => reals += 1,
            Value::Text(_) => texts += 1,
            Value::Blob(_) => blobs += 1,
        }
    }
    match (integers, reals, texts, blobs) {
        (1.., 0, 0, 0) => DataType::Int64,
        (_, 1.., 0, 0) => DataType::Float64,
        (0, 0, 0, 1..) => DataType::Binary,
        _ => DataType::Utf8,
    }
}

/// Some rows, column by column.
struct Block {
    columns: Vec<Vec<Value>>,
    rows: usize,
    bytes: usize,
    more: bool,
}

impl Block {
    fn read(rows: &mut Rows<'_>, text: &Text, columns: usize) -> Result<Self, SqliteError> {
        let mut block = Self { columns: vec![vec![]; columns], rows: 0, bytes: 0, more: true };
        while block.rows < BLOCK_ROWS_MAX && block.bytes < BLOCK_BYTES {
            let Some(row) = rows.next().map_err(|error| text.error(&error))? else {
                block.more = false;
                break;
            };
            for (n, cells) in block.columns.iter_mut().enumerate() {
                let cell = row.get_ref(n).map_err(|error| text.error(&error))?;
                block.bytes += size_of_val(&cell)
                    + match cell {
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
                        _ => 0,
                    };
                cells.push(owned(cell));
            }
            block.rows += 1;
        }
        Ok(block)
    }

    fn batch(self, schema: &SchemaRef, done: usize) -> Result<RecordBatch, SqliteError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (field, cells) in schema.fields().iter().zip(self.columns) {
            let typed = cells.iter().enumerate().map(|(n, cell)| {
                values::load(field, cell.into()).ok_or_else(|| {
                    let (name, row) = (field.name(), done + n);
                    SqliteError::invalid(format!(
                        "column `{name}`, row {row}: {} where the rows before held {}; CAST the column to one type",
                        cell.data_type(),
                        field.data_type()
                    ))
                })
            });
            let typed = typed.collect::<Result<Vec<Typed>, _>>()?;
            arrays.push(typed::array(field, &typed)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
            .map_err(|error| SqliteError::failed(error.to_string()))
    }
}

/// Text that is not UTF-8 is bytes.
fn owned(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Integer(n),
        ValueRef::Real(n) => Value::Real(n),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Blob(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}
