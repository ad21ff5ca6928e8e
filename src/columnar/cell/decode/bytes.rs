//! Text, bytes, and what is kept as bytes.

use super::{Sink, Taken, unfit, utf8};
use crate::columnar::cell::json::{Cursor, bytes};
use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryViewBuilder, FixedSizeBinaryBuilder, GenericByteBuilder, PrimitiveBuilder, StringViewBuilder,
};
use arrow_array::types::{
    BinaryType, IntervalDayTime, IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType,
    LargeBinaryType, LargeUtf8Type, Utf8Type,
};
use rusqlite::types::ValueRef;
use std::sync::Arc;

/// Builders of text and bytes, which share no trait of their own.
trait Append<V: ?Sized>: Default + Send {
    fn append(&mut self, value: &V);
    fn append_none(&mut self);
    fn done(&mut self) -> ArrayRef;
}

macro_rules! appends {
    ($($builder:ty => $value:ty),*) => {$(
        impl Append<$value> for $builder {
            fn append(&mut self, value: &$value) {
                self.append_value(value);
            }
            fn append_none(&mut self) {
                self.append_null();
            }
            fn done(&mut self) -> ArrayRef {
                Arc::new(self.finish())
            }
        }
    )*};
}

appends!(
    GenericByteBuilder<Utf8Type> => str,
    GenericByteBuilder<LargeUtf8Type> => str,
    StringViewBuilder => str,
    GenericByteBuilder<BinaryType> => [u8],
    GenericByteBuilder<LargeBinaryType> => [u8],
    BinaryViewBuilder => [u8]
);

#[derive(Default)]
pub(super) struct Text<B>(pub(super) B);

impl<B: Append<str>> Sink for Text<B> {
    fn null(&mut self) {
        self.0.append_none();
    }
    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        match value {
            ValueRef::Text(text) => self.0.append(utf8(text)?),
            other => return Err(unfit(other, "text")),
        }
        Ok(())
    }
    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        self.0.append(&from.string()?);
        Ok(())
    }
    fn finish(&mut self) -> Result<ArrayRef, String> {
        Ok(self.0.done())
    }
}

#[derive(Default)]
pub(super) struct Blob<B>(pub(super) B);

impl<B: Append<[u8]>> Sink for Blob<B> {
    fn null(&mut self) {
        self.0.append_none();
    }
    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        match value {
            ValueRef::Blob(bytes) => self.0.append(bytes),
            other => return Err(unfit(other, "bytes")),
        }
        Ok(())
    }
    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        self.0.append(&bytes(&from.string()?)?);
        Ok(())
    }
    fn finish(&mut self) -> Result<ArrayRef, String> {
        Ok(self.0.done())
    }
}

pub(super) struct FixedBlob(pub(super) FixedSizeBinaryBuilder);

impl FixedBlob {
    fn put(&mut self, bytes: &[u8]) -> Taken {
        self.0
            .append_value(bytes)
            .map_err(|_| format!("cannot hold {} bytes: its width is fixed", bytes.len()))
    }
}

impl Sink for FixedBlob {
    fn null(&mut self) {
        self.0.append_null();
    }
    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        match value {
            ValueRef::Blob(bytes) => self.put(bytes),
            other => Err(unfit(other, "bytes")),
        }
    }
    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        self.put(&bytes(&from.string()?)?)
    }
    fn finish(&mut self) -> Result<ArrayRef, String> {
        Ok(Arc::new(self.0.finish()))
    }
}

pub(super) struct DayTimes(pub(super) PrimitiveBuilder<IntervalDayTimeType>);

impl DayTimes {
    fn put(&mut self, bytes: &[u8]) -> Taken {
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| "wants an interval of 8 bytes".to_owned())?;
        let [a, b, c, d, e, f, g, h] = bytes;
        self.0.append_value(IntervalDayTime {
            days: i32::from_be_bytes([a, b, c, d]),
            milliseconds: i32::from_be_bytes([e, f, g, h]),
        });
        Ok(())
    }
}

pub(super) struct MonthDayNanos(pub(super) PrimitiveBuilder<IntervalMonthDayNanoType>);

impl MonthDayNanos {
    fn put(&mut self, bytes: &[u8]) -> Taken {
        let no = || "wants an interval of 16 bytes".to_owned();
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| no())?;
        let whole = u128::from_be_bytes(bytes);
        #[allow(clippy::cast_possible_truncation, reason = "the three fields are taken apart")]
        #[allow(clippy::cast_possible_wrap, reason = "bits are kept as they are")]
        self.0.append_value(IntervalMonthDayNano {
            months: (whole >> 96) as u32 as i32,
            days: (whole >> 64) as u32 as i32,
            nanoseconds: whole as u64 as i64,
        });
        Ok(())
    }
}

macro_rules! intervals {
    ($($name:ident),*) => {$(
        impl Sink for $name {
            fn null(&mut self) {
                self.0.append_null();
            }
            fn cell(&mut self, value: ValueRef<'_>) -> Taken {
                match value {
                    ValueRef::Blob(bytes) => self.put(bytes),
                    other => Err(unfit(other, "an interval")),
                }
            }
            fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
                self.put(&bytes(&from.string()?)?)
            }
            fn finish(&mut self) -> Result<ArrayRef, String> {
                Ok(Arc::new(self.0.finish()))
            }
        }
    )*};
}

intervals!(DayTimes, MonthDayNanos);
