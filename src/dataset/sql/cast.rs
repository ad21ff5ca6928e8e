//! Casts: names of types, and how a value of one type becomes one of another.

use super::expr::Translator;
use super::text::at;
use super::typed::{Class, Typed, element, is_uuid, list_of, per_second, plain, type_argument};
use crate::dataset::DatasetError;
use arrow_schema::Metadata;
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use sqlparser::tokenizer::Location;
use std::sync::Arc;

/// What to do with a value that cannot be cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnFailure {
    Error,
    Null,
}

impl Translator<'_> {
    /// `typed` as a value of `to`; constants are cast here, so that their errors have a place.
    pub fn cast(
        &mut self,
        typed: Typed,
        to: &DataType,
        metadata: &Metadata,
        failing: OnFailure,
    ) -> Result<Typed, DatasetError> {
        let metadata_of =
            |sql: String| Typed { metadata: metadata.clone(), ..Typed::new(sql, to.clone(), typed.at) };
        if let Some(constant) = &typed.constant {
            return match (constant.stored(to, metadata), failing) {
                (Ok(sql), _) => {
                    let constant = (!matches!(Class::of(to), Class::Struct)).then(|| constant.clone());
                    Ok(Typed { constant: constant.filter(|c| &c.data_type() == to), ..metadata_of(sql) })
                }
                (Err(_), OnFailure::Null) => Ok(metadata_of("NULL".to_owned())),
                (Err(error), OnFailure::Error) => {
                    Err(at(typed.at, format!("this is not a value of {to}: {}", said(&error.to_string()))))
                }
            };
        }
        let sql = self.cast_sql(&typed, to, metadata, failing)?;
        Ok(Typed { nullable: typed.nullable || failing == OnFailure::Null, ..metadata_of(sql) })
    }

    fn cast_sql(
        &mut self,
        typed: &Typed,
        to: &DataType,
        metadata: &Metadata,
        failing: OnFailure,
    ) -> Result<String, DatasetError> {
        use Class as C;
        let (from, sql) = (plain(&typed.data_type), &typed.sql);
        let to = plain(to);
        if from == to {
            return Ok(sql.clone());
        }
        Ok(match (Class::of(from), Class::of(to)) {
            (C::Null, _) => sql.clone(),
            (C::Integer, C::Boolean) => format!("({sql} <> 0)"),
            (C::Text, C::Text) => sql.clone(),
            (C::Date | C::Timestamp, C::Timestamp | C::Date) if scale(from, to).is_some() => {
                match scale(from, to) {
                    Some((factor, 1)) => format!("({sql} * {factor})"),
                    Some((_, divisor)) => format!("({sql} / {divisor})"),
                    None => sql.clone(),
                }
            }
            (C::Boolean, C::Integer) => sql.clone(),
            (C::Integer, C::Integer) if holds(to, from) => sql.clone(),
            (C::Integer, C::Float) => format!("CAST({sql} AS REAL)"),
            (C::Float, C::Float) if to == &DataType::Float64 => sql.clone(),
            (C::Integer, C::Text) => format!("CAST({sql} AS TEXT)"),
            (C::Boolean, C::Text) => format!("CASE {sql} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"),
            (C::Text, C::Binary) if is_uuid(to, metadata) => {
                format!("ma_uuid({sql}, {})", i32::from(failing == OnFailure::Null))
            }
            (C::Text, C::Binary) if !matches!(to, DataType::FixedSizeBinary(_)) => {
                format!("CAST({sql} AS BLOB)")
            }
            (C::Binary, C::Binary) if !matches!(to, DataType::FixedSizeBinary(_)) => sql.clone(),
            (C::Binary, C::Text) if is_uuid(from, &typed.metadata) => {
                format!("ma_uuid_text({sql})")
            }
            (a, b) => {
                if matches!((a, b), (C::List | C::Struct, C::Integer | C::Float | C::Boolean)) {
                    return Err(at(typed.at, format!("a {from} cannot be cast to {to}")));
                }
                let (from, to) = (type_argument(from), type_argument(to));
                format!("ma_cast({sql}, {from}, {to}, {})", i32::from(failing == OnFailure::Null))
            }
        })
    }

    /// What stands for a value of `field` in an assignment.
    pub fn assign(&mut self, typed: Typed, field: &FieldRef) -> Result<Typed, DatasetError> {
        let to = field.data_type();
        if typed.constant.is_none() && typed.data_type == *to {
            return Ok(typed);
        }
        self.cast(typed, to, field.metadata(), OnFailure::Error)
    }
}

/// Whether every value of `small` is one of `large`.
fn holds(large: &DataType, small: &DataType) -> bool {
    let bits = |t: &DataType| t.primitive_width().unwrap_or(0) * 8;
    match (large.is_signed_integer(), small.is_signed_integer()) {
        (true, true) | (false, false) => bits(large) >= bits(small),
        (true, false) => bits(large) > bits(small),
        (false, true) => false,
    }
}

/// By what the stored integer is multiplied or divided between two types of times; `None` where that is not all.
fn scale(from: &DataType, to: &DataType) -> Option<(i64, i64)> {
    const DAY_SECONDS: i64 = 86_400;
    let per_day = |t: &DataType| match t {
        DataType::Date32 => Some(1),
        DataType::Date64 => Some(DAY_SECONDS * 1_000),
        DataType::Timestamp(unit, _) => Some(DAY_SECONDS * per_second(*unit)),
        _ => None,
    };
    let (from_day, to_day) = (per_day(from)?, per_day(to)?);
    if to_day >= from_day {
        return Some((to_day / from_day, 1));
    }
    // to whole days and before 1970 the division would round the wrong way
    matches!(to, DataType::Timestamp(..)).then_some((1, from_day / to_day))
}

pub(super) fn said(error: &str) -> &str {
    error.trim_start_matches("Cast error: ").trim_start_matches("Parser error: ")
}

/// The Arrow type of a type's name in SQL.
pub(super) fn data_type(sql: &SqlType, place: Location) -> Result<DataType, DatasetError> {
    if let Some(integer) = integer_type(sql) {
        return Ok(integer);
    }
    Ok(match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::Float(_) | SqlType::Real | SqlType::Float4 | SqlType::Float32 => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 | SqlType::Float64 => {
            DataType::Float64
        }
        SqlType::Numeric(info) | SqlType::Decimal(info) | SqlType::Dec(info) => decimal(info, place)?,
        SqlType::Char(_)
        | SqlType::Character(_)
        | SqlType::Varchar(_)
        | SqlType::CharVarying(_)
        | SqlType::CharacterVarying(_)
        | SqlType::Nvarchar(_)
        | SqlType::Text
        | SqlType::String(_)
        | SqlType::JSON => DataType::Utf8,
        SqlType::Bytea
        | SqlType::Blob(_)
        | SqlType::Binary(_)
        | SqlType::Varbinary(_)
        | SqlType::Bytes(_) => DataType::Binary,
        SqlType::Uuid => DataType::FixedSizeBinary(16),
        SqlType::Date | SqlType::Date32 => DataType::Date32,
        SqlType::Time(..) => DataType::Time64(TimeUnit::Nanosecond),
        SqlType::Timestamp(precision, zone) => {
            DataType::Timestamp(unit(*precision, place)?, zone_of(*zone).map(Arc::from))
        }
        SqlType::Datetime(precision) | SqlType::TimestampNtz(precision) => {
            DataType::Timestamp(unit(*precision, place)?, None)
        }
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(inner)
            | ArrayElemTypeDef::SquareBracket(inner, _)
            | ArrayElemTypeDef::Parenthesis(inner),
        ) => list_of(data_type(inner, place)?),
        SqlType::Struct(fields, _) => DataType::Struct(
            fields
                .iter()
                .enumerate()
                .map(|(index, field)| {
                    let name =
                        field.field_name.as_ref().map_or_else(|| format!("c{index}"), |n| n.value.clone());
                    Ok(Field::new(name, data_type(&field.field_type, place)?, true))
                })
                .collect::<Result<Fields, DatasetError>>()?,
        ),
        other => {
            return Err(at(
                place,
                format!(
                    "{other} is not a type here; use e.g. BIGINT, DOUBLE, VARCHAR, BOOLEAN, DATE, TIMESTAMP, BYTEA"
                ),
            ));
        }
    })
}

fn integer_type(sql: &SqlType) -> Option<DataType> {
    Some(match sql {
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) | SqlType::Int16 => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) | SqlType::Int32 | SqlType::MediumInt(_) => {
            DataType::Int32
        }
        SqlType::BigInt(_) | SqlType::Int8(_) | SqlType::Int64 => DataType::Int64,
        SqlType::TinyIntUnsigned(_) | SqlType::UTinyInt | SqlType::UInt8 => DataType::UInt8,
        SqlType::SmallIntUnsigned(_) | SqlType::USmallInt | SqlType::Int2Unsigned(_) | SqlType::UInt16 => {
            DataType::UInt16
        }
        SqlType::IntUnsigned(_)
        | SqlType::IntegerUnsigned(_)
        | SqlType::Int4Unsigned(_)
        | SqlType::UInt32
        | SqlType::UnsignedInteger => DataType::UInt32,
        SqlType::BigIntUnsigned(_) | SqlType::UBigInt | SqlType::Int8Unsigned(_) | SqlType::UInt64 => {
            DataType::UInt64
        }
        _ => return None,
    })
}

fn decimal(info: &ExactNumberInfo, place: Location) -> Result<DataType, DatasetError> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if s >= 0 && i16::from(s) <= i16::from(p) => Ok(DataType::Decimal128(p, s)),
        _ => Err(at(place, "a decimal has 1 to 38 digits, and at most as many of them after the point")),
    }
}

fn unit(precision: Option<u64>, place: Location) -> Result<TimeUnit, DatasetError> {
    Ok(match precision {
        None | Some(9) => TimeUnit::Nanosecond,
        Some(6) => TimeUnit::Microsecond,
        Some(3) => TimeUnit::Millisecond,
        Some(0) => TimeUnit::Second,
        Some(_) => return Err(at(place, "a timestamp has 0, 3, 6 or 9 digits after the second")),
    })
}

fn zone_of(zone: TimezoneInfo) -> Option<&'static str> {
    matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz).then_some("+00:00")
}

/// The type that two values meet at in a comparison, `CASE`, `coalesce`, `UNION` or list; `None` where there is none.
pub(super) fn common(a: &Typed, b: &Typed) -> Option<DataType> {
    // a constant string becomes what stands against it
    match (a.constant_text().is_some(), b.constant_text().is_some()) {
        (true, false) if b.class() != Class::Null => return Some(b.data_type.clone()),
        (false, true) if a.class() != Class::Null => return Some(a.data_type.clone()),
        _ => {}
    }
    common_type(&a.data_type, &b.data_type)
}

pub(super) fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use Class as C;
    let (a, b) = (plain(a), plain(b));
    if a == b {
        return Some(a.clone());
    }
    Some(match (Class::of(a), Class::of(b)) {
        (C::Null, _) => b.clone(),
        (_, C::Null) => a.clone(),
        (C::Integer, C::Integer) if holds(a, b) => a.clone(),
        (C::Integer, C::Integer) if holds(b, a) => b.clone(),
        (C::Integer, C::Integer) => DataType::Int64,
        (C::Decimal, C::Integer) => a.clone(),
        (C::Integer, C::Decimal) => b.clone(),
        (x, y) if x.is_number() && y.is_number() => DataType::Float64,
        (C::Text, C::Text) => DataType::Utf8,
        (C::Text, y) if y != C::Other => b.clone(),
        (x, C::Text) if x != C::Other => a.clone(),
        (C::Binary, C::Binary) => DataType::Binary,
        (C::Date, C::Timestamp) => b.clone(),
        (C::Timestamp, C::Date) => a.clone(),
        (C::Date, C::Date) => DataType::Date64,
        (C::Timestamp, C::Timestamp) => finer(a, b),
        (C::Time, C::Time) => DataType::Time64(TimeUnit::Nanosecond),
        (C::Duration, C::Duration) => DataType::Duration(TimeUnit::Nanosecond),
        (C::List, C::List) => list_of(common_type(element(a)?.data_type(), element(b)?.data_type())?),
        _ => return None,
    })
}

fn finer(a: &DataType, b: &DataType) -> DataType {
    match (a, b) {
        (DataType::Timestamp(x, zone), DataType::Timestamp(y, _)) if x >= y => {
            DataType::Timestamp(*x, zone.clone())
        }
        (_, other) => other.clone(),
    }
}
