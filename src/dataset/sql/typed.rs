//! A printed expression with what is known of it.

use super::constant::Constant;
use arrow_schema::Metadata;
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use sqlparser::tokenizer::Location;
use std::sync::Arc;

/// SQLite SQL that yields the stored form of `data_type`.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    pub sql: String,
    pub data_type: DataType,
    /// Of the column, where the expression is one: extension types live there.
    pub metadata: Metadata,
    pub nullable: bool,
    /// The value, where the text or a parameter says it.
    pub constant: Option<Constant>,
    /// Where it begins in the user's text.
    pub at: Location,
}

impl Typed {
    pub fn new(sql: impl Into<String>, data_type: DataType, at: Location) -> Self {
        Self { sql: sql.into(), data_type, metadata: Metadata::new(), nullable: true, constant: None, at }
    }

    pub fn of_field(sql: String, field: &Field, at: Location) -> Self {
        Self {
            sql,
            data_type: field.data_type().clone(),
            metadata: field.metadata().clone(),
            nullable: field.is_nullable(),
            constant: None,
            at,
        }
    }

    pub fn of_constant(constant: Constant, at: Location) -> Self {
        Self {
            sql: constant.print(),
            data_type: constant.data_type(),
            metadata: Metadata::new(),
            nullable: matches!(constant, Constant::Null),
            constant: Some(constant),
            at,
        }
    }

    pub fn field(&self, name: &str) -> FieldRef {
        Arc::new(
            Field::new(name, self.data_type.clone(), self.nullable || self.data_type == DataType::Null)
                .with_metadata(self.metadata.clone()),
        )
    }

    pub fn class(&self) -> Class {
        Class::of(&self.data_type)
    }

    /// The text, where it is a constant string.
    pub fn constant_text(&self) -> Option<&str> {
        match &self.constant {
            Some(Constant::Text(text)) => Some(text),
            _ => None,
        }
    }
}

pub(super) fn is_uuid(data_type: &DataType, metadata: &Metadata) -> bool {
    matches!(data_type, DataType::FixedSizeBinary(16))
        && metadata.get("ARROW:extension:name").is_none_or(|name| name == "arrow.uuid")
}

/// What a type is to operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Null,
    Boolean,
    Integer,
    Float,
    Decimal,
    Text,
    Binary,
    Date,
    Time,
    Timestamp,
    Duration,
    Interval,
    List,
    Struct,
    Other,
}

impl Class {
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Decimal,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Binary,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(..) => Self::Timestamp,
            DataType::Duration(_) => Self::Duration,
            DataType::Interval(_) => Self::Interval,
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(..) => Self::List,
            DataType::Struct(_) => Self::Struct,
            DataType::Dictionary(_, values) => Self::of(values),
            other if other.is_integer() => Self::Integer,
            _ => Self::Other,
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Float | Self::Decimal)
    }
}

/// `Dictionary` and `RunEndEncoded` are storage; operators see the value's type.
pub(super) fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        other => other,
    }
}

pub(super) fn element(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => Some(field),
        _ => None,
    }
}

/// How many of the unit are in a second.
pub(super) const fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

pub(super) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

/// `"name"`, for SQLite.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`, for SQLite; a NUL would end the statement, so such a text goes as bytes.
pub(super) fn string(text: &str) -> String {
    if text.contains('\0') {
        return format!("CAST({} AS TEXT)", bytes(text.as_bytes()));
    }
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn bytes(bytes: &[u8]) -> String {
    format!("X'{}'", hex::encode(bytes))
}

/// A type as an argument of our functions, which read it back with `FromStr`.
pub(super) fn type_argument(data_type: &DataType) -> String {
    string(&data_type.to_string())
}
