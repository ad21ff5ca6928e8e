//! Null, booleans and numbers.

use super::{Sink, Taken, unfit, utf8};
use crate::columnar::cell::json::Cursor;
use arrow_array::builder::{BooleanBuilder, PrimitiveBuilder};
use arrow_array::types::{ArrowPrimitiveType, DecimalType, Float16Type, Float32Type, Float64Type};
use arrow_array::{ArrayRef, NullArray};
use arrow_schema::DataType;
use rusqlite::types::ValueRef;
use std::str::FromStr;
use std::sync::Arc;

pub(super) struct Nulls(pub(super) usize);

impl Sink for Nulls {
    fn null(&mut self) {
        self.0 += 1;
    }
    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        Err(unfit(value, "nothing but null"))
    }
    fn json(&mut self, _: &mut Cursor<'_>) -> Taken {
        Err("wants nothing but null".to_owned())
    }
    fn finish(&mut self) -> Result<ArrayRef, String> {
        Ok(Arc::new(NullArray::new(std::mem::take(&mut self.0))))
    }
}

pub(super) struct Booleans(pub(super) BooleanBuilder);

impl Sink for Booleans {
    fn null(&mut self) {
        self.0.append_null();
    }
    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        match value {
            ValueRef::Integer(value @ (0 | 1)) => self.0.append_value(value == 1),
            other => return Err(unfit(other, "true or false")),
        }
        Ok(())
    }
    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        self.0.append_value(from.boolean()?);
        Ok(())
    }
    fn finish(&mut self) -> Result<ArrayRef, String> {
        Ok(Arc::new(self.0.finish()))
    }
}

pub(super) struct Integers<T: ArrowPrimitiveType>(pub(super) PrimitiveBuilder<T>);

impl<T> Integers<T>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    fn put(&mut self, value: i128) -> Taken {
        let fitting = T::Native::try_from(value)
            .map_err(|_| format!("cannot hold {value}: its type is {}", T::DATA_TYPE))?;
        self.0.append_value(fitting);
        Ok(())
    }
}

impl<T> Sink for Integers<T>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128> + Send,
{
    fn null(&mut self) {
        self.0.append_null();
    }
    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        match value {
            ValueRef::Integer(value) => self.put(value.into()),
            ValueRef::Blob(bytes) if T::DATA_TYPE == DataType::UInt64 => {
                let bytes = bytes.try_into().map_err(|_| unfit(value, "an integer"))?;
                self.put(u64::from_be_bytes(bytes).into())
            }
            #[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
            ValueRef::Real(real) if real.fract() == 0.0 && real.abs() <= 9e15 => self.put(real as i128),
            other => Err(unfit(other, "an integer")),
        }
    }
    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        let digits = from.number()?;
        let value: i128 = digits.parse().map_err(|_| format!("wants an integer and was given {digits}"))?;
        self.put(value)
    }
    fn finish(&mut self) -> Result<ArrayRef, String> {
        Ok(Arc::new(self.0.finish()))
    }
}

macro_rules! floats {
    ($name:ident, $type:ty, $native:ty, $bits:ty, $narrow:expr) => {
        pub(super) struct $name(pub(super) PrimitiveBuilder<$type>);

        impl $name {
            fn put(&mut self, value: f64) -> Taken {
                let narrow: fn(f64) -> $native = $narrow;
                let fitting = narrow(value);
                if value.is_finite() && !f64::from(fitting).is_finite() {
                    return Err(format!("cannot hold {value}: its type is {}", <$type>::DATA_TYPE));
                }
                self.0.append_value(fitting);
                Ok(())
            }
        }

        impl Sink for $name {
            fn null(&mut self) {
                self.0.append_null();
            }
            fn cell(&mut self, value: ValueRef<'_>) -> Taken {
                match value {
                    ValueRef::Real(value) => self.put(value),
                    #[allow(clippy::cast_precision_loss, reason = "the range is checked")]
                    ValueRef::Integer(value) if value.unsigned_abs() <= 1 << 53 => self.put(value as f64),
                    ValueRef::Integer(value) => {
                        Err(format!("cannot hold {value} exactly: its type is {}", <$type>::DATA_TYPE))
                    }
                    ValueRef::Blob(bytes) => {
                        let bytes = bytes.try_into().map_err(|_| unfit(value, "a number"))?;
                        self.0.append_value(<$native>::from_bits(<$bits>::from_be_bytes(bytes)));
                        Ok(())
                    }
                    other => Err(unfit(other, "a number")),
                }
            }
            fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
                if from.is_string() {
                    let text = from.string()?;
                    let bits = text.strip_prefix('#').and_then(|bits| <$bits>::from_str_radix(bits, 16).ok());
                    let bits = bits.ok_or_else(|| "wants a number and was given text".to_owned())?;
                    self.0.append_value(<$native>::from_bits(bits));
                    return Ok(());
                }
                let digits = from.number()?;
                let value: $native = digits.parse().map_err(|_| format!("cannot hold {digits}"))?;
                self.0.append_value(value);
                Ok(())
            }
            fn finish(&mut self) -> Result<ArrayRef, String> {
                Ok(Arc::new(self.0.finish()))
            }
        }
    };
}

type Float16 = <Float16Type as ArrowPrimitiveType>::Native;
floats!(Half, Float16Type, Float16, u16, Float16::from_f64);
#[allow(clippy::cast_possible_truncation, reason = "rounding is what a float32 column does")]
const fn single(value: f64) -> f32 {
    value as f32
}
floats!(Single, Float32Type, f32, u32, single);
floats!(Double, Float64Type, f64, u64, |value| value);

pub(super) fn decimals<T>(data_type: &DataType, precision: u8, scale: i8) -> Box<dyn Sink>
where
    T: DecimalType + Send,
    T::Native: FromStr,
{
    let builder = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
    Box::new(Decimals { builder, precision, scale })
}

pub(super) struct Decimals<T: DecimalType> {
    builder: PrimitiveBuilder<T>,
    precision: u8,
    scale: i8,
}

impl<T> Decimals<T>
where
    T: DecimalType,
    T::Native: FromStr,
{
    fn put(&mut self, digits: &str) -> Taken {
        let no =
            || format!("cannot hold {digits}: its type is {}({}, {})", T::PREFIX, self.precision, self.scale);
        let (mantissa, exponent) =
            digits.split_once(['e', 'E']).map_or((digits, 0), |(mantissa, exponent)| {
                (mantissa, exponent.parse::<i64>().unwrap_or(i64::MAX))
            });
        let (negative, plain) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        let mut unscaled = format!("{whole}{fraction}");
        if unscaled.is_empty() || !unscaled.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(no());
        }
        let places = i64::try_from(fraction.len()).map_err(|_| no())?;
        let shift =
            exponent.checked_sub(places).and_then(|e| e.checked_add(self.scale.into())).ok_or_else(no)?;
        let shift_length = usize::try_from(shift.unsigned_abs()).map_err(|_| no())?;
        let trimmed = unscaled.trim_start_matches('0').to_owned();
        if trimmed.is_empty() {
            "0".clone_into(&mut unscaled);
        } else if shift >= 0 {
            if trimmed.len() + shift_length > usize::from(self.precision) {
                return Err(no());
            }
            unscaled = trimmed + &"0".repeat(shift_length);
        } else {
            let keep = trimmed.len().checked_sub(shift_length).ok_or_else(no)?;
            if trimmed[keep..].bytes().any(|byte| byte != b'0') || keep > usize::from(self.precision) {
                return Err(no());
            }
            unscaled = if keep == 0 { "0".to_owned() } else { trimmed[..keep].to_owned() };
        }
        if negative {
            unscaled.insert(0, '-');
        }
        let value = T::Native::from_str(&unscaled).map_err(|_| no())?;
        self.builder.append_value(value);
        Ok(())
    }
}

impl<T> Sink for Decimals<T>
where
    T: DecimalType + Send,
    T::Native: FromStr,
{
    fn null(&mut self) {
        self.builder.append_null();
    }
    fn cell(&mut self, value: ValueRef<'_>) -> Taken {
        match value {
            ValueRef::Text(text) => self.put(utf8(text)?),
            ValueRef::Integer(value) => self.put(&value.to_string()),
            ValueRef::Real(value) if value.is_finite() => self.put(&format!("{value:?}")),
            other => Err(unfit(other, "a decimal number")),
        }
    }
    fn json(&mut self, from: &mut Cursor<'_>) -> Taken {
        if from.is_string() {
            let text = from.string()?;
            return self.put(&text);
        }
        let digits = from.number()?;
        self.put(digits)
    }
    fn finish(&mut self) -> Result<ArrayRef, String> {
        Ok(Arc::new(self.builder.finish()))
    }
}
