//! From cells to Arrow arrays.

mod bytes;
mod nested;
mod numbers;

use self::bytes::{Blob, DayTimes, FixedBlob, MonthDayNanos, Text};
use self::nested::{Packed, lists, structs};
use self::numbers::{Booleans, Double, Half, Integers, Nulls, Single, decimals};
use super::json::Cursor;
use super::{CellError, plain_type};
use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryViewBuilder, BooleanBuilder, FixedSizeBinaryBuilder, GenericByteBuilder, PrimitiveBuilder,
    StringViewBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, BinaryType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Int8Type, Int16Type, Int32Type, Int64Type, IntervalYearMonthType, LargeBinaryType,
    LargeUtf8Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type, Utf8Type,
};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};
use rusqlite::types::ValueRef;
use std::fmt;

/// Builds one array out of cells.
pub struct CellBuilder {
    name: String,
    sink: Box<dyn Sink>,
}

impl fmt::Debug for CellBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CellBuilder {
    pub fn new(field: &Field) -> Result<Self, CellError> {
        let name = field.name().clone();
        match sink(field.data_type()) {
            Ok(sink) => Ok(Self { name, sink }),
            Err(reason) => Err(CellError { field: name, reason }),
        }
    }

    /// Adds a value. One of another type is refused, unless nothing is lost by taking it.
    pub fn push(&mut self, value: ValueRef<'_>) -> Result<(), CellError> {
        let pushed = match value {
            ValueRef::Null => {
                self.sink.null();
                Ok(())
            }
            value => self.sink.cell(value),
        };
        pushed.map_err(|reason| CellError::new(&self.name, reason))
    }

    /// The array, of the field's type.
    pub fn finish(mut self) -> Result<ArrayRef, CellError> {
        self.sink.finish().map_err(|reason| CellError::new(&self.name, reason))
    }
}

type Taken = Result<(), String>;

trait Sink: Send {
    fn null(&mut self);
    /// Never NULL.
    fn cell(&mut self, value: ValueRef<'_>) -> Taken;
    /// Never null.
    fn json(&mut self, from: &mut Cursor<'_>) -> Taken;
    fn json_or_null(&mut self, from: &mut Cursor<'_>) -> Taken {
        if from.null() {
            self.null();
            Ok(())
        } else {
            self.json(from)
        }
    }
    fn finish(&mut self) -> Result<ArrayRef, String>;
}

fn sink(data_type: &DataType) -> Result<Box<dyn Sink>, String> {
    use DataType as T;
    let plain = plain_type(data_type);
    if plain != *data_type {
        return Ok(Box::new(Packed { inner: sink(&plain)?, to: data_type.clone() }));
    }
    Ok(match data_type {
        T::Null => Box::new(Nulls(0)),
        T::Boolean => Box::new(Booleans(BooleanBuilder::new())),
        T::Float16 => Box::new(Half(PrimitiveBuilder::new())),
        T::Float32 => Box::new(Single(PrimitiveBuilder::new())),
        T::Float64 => Box::new(Double(PrimitiveBuilder::new())),
        T::Decimal32(p, s) => decimals::<Decimal32Type>(data_type, *p, *s),
        T::Decimal64(p, s) => decimals::<Decimal64Type>(data_type, *p, *s),
        T::Decimal128(p, s) => decimals::<Decimal128Type>(data_type, *p, *s),
        T::Decimal256(p, s) => decimals::<Decimal256Type>(data_type, *p, *s),
        T::Utf8 => Box::new(Text::<GenericByteBuilder<Utf8Type>>::default()),
        T::LargeUtf8 => Box::new(Text::<GenericByteBuilder<LargeUtf8Type>>::default()),
        T::Utf8View => Box::new(Text::<StringViewBuilder>::default()),
        T::Binary => Box::new(Blob::<GenericByteBuilder<BinaryType>>::default()),
        T::LargeBinary => Box::new(Blob::<GenericByteBuilder<LargeBinaryType>>::default()),
        T::BinaryView => Box::new(Blob::<BinaryViewBuilder>::default()),
        T::FixedSizeBinary(width) => Box::new(FixedBlob(FixedSizeBinaryBuilder::new(*width))),
        T::Interval(IntervalUnit::DayTime) => Box::new(DayTimes(PrimitiveBuilder::new())),
        T::Interval(IntervalUnit::MonthDayNano) => Box::new(MonthDayNanos(PrimitiveBuilder::new())),
        T::List(item) => lists(data_type, item, None)?,
        T::LargeList(item) => lists(data_type, item, None)?,
        T::FixedSizeList(item, width) => lists(data_type, item, usize::try_from(*width).ok())?,
        T::Map(entries, _) => lists(data_type, entries, None)?,
        T::Struct(fields) => Box::new(structs(fields)?),
        other => integers(other).ok_or_else(|| format!("has type {other}, which cannot be kept"))?,
    })
}

fn integers(data_type: &DataType) -> Option<Box<dyn Sink>> {
    use DataType as T;
    use TimeUnit as U;
    fn of<T>(data_type: &DataType) -> Box<dyn Sink>
    where
        T: ArrowPrimitiveType,
        T::Native: TryFrom<i128> + Send,
    {
        Box::new(Integers(PrimitiveBuilder::<T>::new().with_data_type(data_type.clone())))
    }
    let make = match data_type {
        T::Int8 => of::<Int8Type>,
        T::Int16 => of::<Int16Type>,
        T::Int32 => of::<Int32Type>,
        T::Int64 => of::<Int64Type>,
        T::UInt8 => of::<UInt8Type>,
        T::UInt16 => of::<UInt16Type>,
        T::UInt32 => of::<UInt32Type>,
        T::UInt64 => of::<UInt64Type>,
        T::Date32 => of::<Date32Type>,
        T::Date64 => of::<Date64Type>,
        T::Time32(U::Second) => of::<Time32SecondType>,
        T::Time32(U::Millisecond) => of::<Time32MillisecondType>,
        T::Time64(U::Microsecond) => of::<Time64MicrosecondType>,
        T::Time64(U::Nanosecond) => of::<Time64NanosecondType>,
        T::Timestamp(U::Second, _) => of::<TimestampSecondType>,
        T::Timestamp(U::Millisecond, _) => of::<TimestampMillisecondType>,
        T::Timestamp(U::Microsecond, _) => of::<TimestampMicrosecondType>,
        T::Timestamp(U::Nanosecond, _) => of::<TimestampNanosecondType>,
        T::Duration(U::Second) => of::<DurationSecondType>,
        T::Duration(U::Millisecond) => of::<DurationMillisecondType>,
        T::Duration(U::Microsecond) => of::<DurationMicrosecondType>,
        T::Duration(U::Nanosecond) => of::<DurationNanosecondType>,
        T::Interval(IntervalUnit::YearMonth) => of::<IntervalYearMonthType>,
        _ => return None,
    };
    Some(make(data_type))
}

fn kind(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "NULL",
        ValueRef::Integer(_) => "an integer",
        ValueRef::Real(_) => "a floating-point number",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "bytes",
    }
}

fn unfit(value: ValueRef<'_>, wanted: &str) -> String {
    format!("wants {wanted} and was given {}", kind(value))
}

fn utf8(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value).map_err(|_| "holds text that is not UTF-8".to_owned())
}
