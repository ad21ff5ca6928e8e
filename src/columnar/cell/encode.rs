//! From Arrow arrays to cells.

mod nested;

use self::nested::{list, structs};
use super::json::{put_bytes, put_float, put_text};
use super::{Cell, CellError, plain_type};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ByteArrayType, ByteViewType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, DecimalType, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, GenericByteArray, GenericByteViewArray,
    PrimitiveArray,
};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};
use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

/// The values of one array, one at a time.
pub struct CellSource {
    source: Box<dyn Source>,
}

impl fmt::Debug for CellSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellSource").finish_non_exhaustive()
    }
}

impl CellSource {
    /// `field` gives the name for errors; the type is the array's.
    pub fn new(field: &Field, array: &ArrayRef) -> Result<Self, CellError> {
        source(array).map(|source| Self { source }).map_err(|reason| CellError::new(field.name(), reason))
    }

    /// The value of a row within the array.
    #[must_use]
    pub fn cell(&self, row: usize) -> Cell<'_> {
        if self.source.is_null(row) { Cell::Null } else { self.source.cell(row) }
    }
}

/// `cell` and `json` are asked only for rows that are not null.
trait Source: Send {
    fn is_null(&self, row: usize) -> bool;
    fn cell(&self, row: usize) -> Cell<'_>;
    fn json(&self, row: usize, out: &mut String);
    fn json_or_null(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            out.push_str("null");
        } else {
            self.json(row, out);
        }
    }
    /// The value as a float32, for vectors.
    fn float32(&self, _row: usize) -> Option<f32> {
        None
    }
}

fn source(array: &ArrayRef) -> Result<Box<dyn Source>, String> {
    use DataType as T;
    let plain = plain_type(array.data_type());
    if plain != *array.data_type() {
        let plain = arrow_cast::cast(array, &plain).map_err(|e| format!("cannot be unpacked: {e}"))?;
        return source(&plain);
    }
    Ok(match array.data_type() {
        T::Null => Box::new(Nulls),
        T::Boolean => Box::new(array.as_boolean().clone()),
        T::Int8 => integers::<Int8Type>(array),
        T::Int16 => integers::<Int16Type>(array),
        T::Int32 => integers::<Int32Type>(array),
        T::Int64 => integers::<Int64Type>(array),
        T::UInt8 => integers::<UInt8Type>(array),
        T::UInt16 => integers::<UInt16Type>(array),
        T::UInt32 => integers::<UInt32Type>(array),
        T::UInt64 => Box::new(Unsigned(array.as_primitive::<UInt64Type>().clone())),
        T::Float16 => Box::new(Half(array.as_primitive::<Float16Type>().clone())),
        T::Float32 => Box::new(Single(array.as_primitive::<Float32Type>().clone())),
        T::Float64 => Box::new(Double(array.as_primitive::<Float64Type>().clone())),
        T::Decimal32(..) => decimals::<Decimal32Type>(array),
        T::Decimal64(..) => decimals::<Decimal64Type>(array),
        T::Decimal128(..) => decimals::<Decimal128Type>(array),
        T::Decimal256(..) => decimals::<Decimal256Type>(array),
        T::Utf8 => Box::new(array.as_string::<i32>().clone()),
        T::LargeUtf8 => Box::new(array.as_string::<i64>().clone()),
        T::Utf8View => Box::new(array.as_string_view().clone()),
        T::Binary => Box::new(array.as_binary::<i32>().clone()),
        T::LargeBinary => Box::new(array.as_binary::<i64>().clone()),
        T::BinaryView => Box::new(array.as_binary_view().clone()),
        T::FixedSizeBinary(_) => Box::new(array.as_fixed_size_binary().clone()),
        T::List(_) | T::LargeList(_) | T::FixedSizeList(..) | T::Map(..) => list(array)?,
        T::Struct(fields) => structs(fields, array)?,
        T::Interval(IntervalUnit::DayTime) => {
            Box::new(DayTimes(array.as_primitive::<IntervalDayTimeType>().clone()))
        }
        T::Interval(IntervalUnit::MonthDayNano) => {
            Box::new(MonthDayNanos(array.as_primitive::<IntervalMonthDayNanoType>().clone()))
        }
        other => times(array).ok_or_else(|| format!("has type {other}, which cannot be kept"))?,
    })
}

fn times(array: &ArrayRef) -> Option<Box<dyn Source>> {
    use DataType as T;
    use TimeUnit as U;
    Some(match array.data_type() {
        T::Date32 => integers::<Date32Type>(array),
        T::Date64 => integers::<Date64Type>(array),
        T::Time32(U::Second) => integers::<Time32SecondType>(array),
        T::Time32(U::Millisecond) => integers::<Time32MillisecondType>(array),
        T::Time64(U::Microsecond) => integers::<Time64MicrosecondType>(array),
        T::Time64(U::Nanosecond) => integers::<Time64NanosecondType>(array),
        T::Timestamp(U::Second, _) => integers::<TimestampSecondType>(array),
        T::Timestamp(U::Millisecond, _) => integers::<TimestampMillisecondType>(array),
        T::Timestamp(U::Microsecond, _) => integers::<TimestampMicrosecondType>(array),
        T::Timestamp(U::Nanosecond, _) => integers::<TimestampNanosecondType>(array),
        T::Duration(U::Second) => integers::<DurationSecondType>(array),
        T::Duration(U::Millisecond) => integers::<DurationMillisecondType>(array),
        T::Duration(U::Microsecond) => integers::<DurationMicrosecondType>(array),
        T::Duration(U::Nanosecond) => integers::<DurationNanosecondType>(array),
        T::Interval(IntervalUnit::YearMonth) => integers::<IntervalYearMonthType>(array),
        _ => return None,
    })
}

fn integers<T>(array: &ArrayRef) -> Box<dyn Source>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    Box::new(Integers(array.as_primitive::<T>().clone()))
}

fn decimals<T: DecimalType>(array: &ArrayRef) -> Box<dyn Source> {
    Box::new(Decimals(array.as_primitive::<T>().clone()))
}

struct Nulls;

impl Source for Nulls {
    fn is_null(&self, _: usize) -> bool {
        true
    }
    fn cell(&self, _: usize) -> Cell<'_> {
        Cell::Null
    }
    fn json(&self, _: usize, out: &mut String) {
        out.push_str("null");
    }
}

impl Source for BooleanArray {
    fn is_null(&self, row: usize) -> bool {
        Array::is_null(self, row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        Cell::Integer(i64::from(self.value(row)))
    }
    fn json(&self, row: usize, out: &mut String) {
        out.push_str(if self.value(row) { "true" } else { "false" });
    }
}

struct Integers<T: ArrowPrimitiveType>(PrimitiveArray<T>);

impl<T> Source for Integers<T>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    fn is_null(&self, row: usize) -> bool {
        self.0.is_null(row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        Cell::Integer(self.0.value(row).into())
    }
    fn json(&self, row: usize, out: &mut String) {
        let value: i64 = self.0.value(row).into();
        let _ = write!(out, "{value}");
    }
}

struct Unsigned(PrimitiveArray<UInt64Type>);

impl Source for Unsigned {
    fn is_null(&self, row: usize) -> bool {
        self.0.is_null(row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        let value = self.0.value(row);
        i64::try_from(value)
            .map_or_else(|_| Cell::Blob(Cow::Owned(value.to_be_bytes().to_vec())), Cell::Integer)
    }
    fn json(&self, row: usize, out: &mut String) {
        let _ = write!(out, "{}", self.0.value(row));
    }
}

macro_rules! floats {
    ($name:ident, $type:ty, $float32:expr) => {
        struct $name(PrimitiveArray<$type>);

        impl Source for $name {
            fn is_null(&self, row: usize) -> bool {
                self.0.is_null(row)
            }
            fn cell(&self, row: usize) -> Cell<'_> {
                let value = self.0.value(row);
                let wide = f64::from(value);
                if wide.is_nan() || (wide == 0.0 && wide.is_sign_negative()) {
                    Cell::Blob(Cow::Owned(value.to_bits().to_be_bytes().to_vec()))
                } else {
                    Cell::Real(wide)
                }
            }
            fn json(&self, row: usize, out: &mut String) {
                let value = self.0.value(row);
                if f64::from(value).is_finite() {
                    put_float(value, out);
                } else {
                    let _ = write!(out, "\"#{:x}\"", value.to_bits());
                }
            }
            fn float32(&self, row: usize) -> Option<f32> {
                let of: fn(&Self, usize) -> Option<f32> = $float32;
                of(self, row)
            }
        }
    };
}

floats!(Half, Float16Type, |_, _| None);
floats!(Single, Float32Type, |this, row| (!this.0.is_null(row)).then(|| this.0.value(row)));
floats!(Double, Float64Type, |_, _| None);

struct Decimals<T: DecimalType>(PrimitiveArray<T>);

impl<T: DecimalType> Source for Decimals<T> {
    fn is_null(&self, row: usize) -> bool {
        self.0.is_null(row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        Cell::Text(Cow::Owned(self.0.value_as_string(row)))
    }
    fn json(&self, row: usize, out: &mut String) {
        let _ = write!(out, "\"{}\"", self.0.value_as_string(row));
    }
}

impl<T: ByteArrayType> Source for GenericByteArray<T>
where
    T::Native: Bytes,
{
    fn is_null(&self, row: usize) -> bool {
        Array::is_null(self, row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        self.value(row).cell()
    }
    fn json(&self, row: usize, out: &mut String) {
        self.value(row).json(out);
    }
}

impl<T: ByteViewType + ?Sized> Source for GenericByteViewArray<T>
where
    T::Native: Bytes,
{
    fn is_null(&self, row: usize) -> bool {
        Array::is_null(self, row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        self.value(row).cell()
    }
    fn json(&self, row: usize, out: &mut String) {
        self.value(row).json(out);
    }
}

impl Source for FixedSizeBinaryArray {
    fn is_null(&self, row: usize) -> bool {
        Array::is_null(self, row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        self.value(row).cell()
    }
    fn json(&self, row: usize, out: &mut String) {
        self.value(row).json(out);
    }
}

/// Text and bytes.
trait Bytes {
    fn cell(&self) -> Cell<'_>;
    fn json(&self, out: &mut String);
}

impl Bytes for str {
    fn cell(&self) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(self))
    }
    fn json(&self, out: &mut String) {
        put_text(self, out);
    }
}

impl Bytes for [u8] {
    fn cell(&self) -> Cell<'_> {
        Cell::Blob(Cow::Borrowed(self))
    }
    fn json(&self, out: &mut String) {
        put_bytes(self, out);
    }
}

struct DayTimes(PrimitiveArray<IntervalDayTimeType>);

impl DayTimes {
    fn bytes(&self, row: usize) -> Vec<u8> {
        let value = self.0.value(row);
        [value.days.to_be_bytes(), value.milliseconds.to_be_bytes()].concat()
    }
}

impl Source for DayTimes {
    fn is_null(&self, row: usize) -> bool {
        self.0.is_null(row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        Cell::Blob(Cow::Owned(self.bytes(row)))
    }
    fn json(&self, row: usize, out: &mut String) {
        put_bytes(&self.bytes(row), out);
    }
}

struct MonthDayNanos(PrimitiveArray<IntervalMonthDayNanoType>);

impl MonthDayNanos {
    fn bytes(&self, row: usize) -> Vec<u8> {
        let value = self.0.value(row);
        let mut bytes = [value.months.to_be_bytes(), value.days.to_be_bytes()].concat();
        bytes.extend(value.nanoseconds.to_be_bytes());
        bytes
    }
}

impl Source for MonthDayNanos {
    fn is_null(&self, row: usize) -> bool {
        self.0.is_null(row)
    }
    fn cell(&self, row: usize) -> Cell<'_> {
        Cell::Blob(Cow::Owned(self.bytes(row)))
    }
    fn json(&self, row: usize, out: &mut String) {
        put_bytes(&self.bytes(row), out);
    }
}
