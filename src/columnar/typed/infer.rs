//! A schema for rows that come without one.

use super::{JSON_EXTENSION, Row, Typed, TypedError, UUID_EXTENSION};
use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// What is known of a column so far.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Only nulls.
    Unknown,
    Bool,
    Int,
    UInt,
    Float,
    Text,
    Binary,
    Uuid,
    Date,
    Timestamp {
        utc: bool,
    },
    List(Box<Shape>),
    Struct(Vec<(String, Shape)>),
    Json,
}

/// The schema that holds all of `rows`: every column nullable, in the order they first come; a column of nothing but
/// nulls is text.
pub fn infer(rows: &[Row]) -> Result<SchemaRef, TypedError> {
    let mut columns: Vec<(String, Shape)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (n, row) in rows.iter().enumerate() {
        for (name, value) in row {
            let place = *places.entry(name).or_insert_with(|| {
                columns.push((name.clone(), Shape::Unknown));
                columns.len() - 1
            });
            let (name, shape) = &mut columns[place];
            let merged = merge(shape, &Shape::of(value)?)
                .map_err(|reason| TypedError(format!("column `{name}`, row {n}: {reason}")))?;
            *shape = merged;
        }
    }
    let fields: Vec<Field> = columns.iter().map(|(name, shape)| shape.field(name)).collect();
    Ok(Arc::new(Schema::new(fields)))
}

impl Shape {
    fn of(value: &Typed) -> Result<Self, TypedError> {
        Ok(match value {
            Typed::Null => Self::Unknown,
            Typed::Bool(_) => Self::Bool,
            Typed::Int(_) => Self::Int,
            Typed::UInt(_) => Self::UInt,
            Typed::Float(_) => Self::Float,
            Typed::Text(_) => Self::Text,
            Typed::Binary(_) => Self::Binary,
            Typed::Uuid(_) => Self::Uuid,
            Typed::Date(_) => Self::Date,
            Typed::Timestamp { utc, .. } => Self::Timestamp { utc: *utc },
            Typed::Json(_) => Self::Json,
            Typed::List(items) => {
                let mut shape = Self::Unknown;
                for item in items {
                    shape = merge(&shape, &Self::of(item)?).map_err(TypedError)?;
                }
                Self::List(Box::new(shape))
            }
            Typed::Struct(fields) => {
                let fields = fields.iter().map(|(name, value)| Ok((name.clone(), Self::of(value)?)));
                Self::Struct(fields.collect::<Result<_, TypedError>>()?)
            }
        })
    }

    fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        let extension = match self {
            Self::Uuid => UUID_EXTENSION,
            Self::Json => JSON_EXTENSION,
            _ => return field,
        };
        field.with_metadata([(EXTENSION_TYPE_NAME_KEY.to_owned(), extension.to_owned())])
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::UInt => DataType::UInt64,
            Self::Float => DataType::Float64,
            Self::Unknown | Self::Text | Self::Json => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Uuid => DataType::FixedSizeBinary(16),
            Self::Date => DataType::Date32,
            Self::Timestamp { utc } => DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into())),
            Self::List(item) => DataType::List(Arc::new(item.field(Field::LIST_FIELD_DEFAULT_NAME))),
            Self::Struct(fields) => {
                DataType::Struct(fields.iter().map(|(name, shape)| shape.field(name)).collect::<Fields>())
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Unknown => "null",
            Self::Bool => "a bool",
            Self::Int | Self::UInt => "an integer",
            Self::Float => "a number",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Uuid => "a uuid",
            Self::Date => "a date",
            Self::Timestamp { utc: true } => "a timestamp with a zone",
            Self::Timestamp { utc: false } => "a timestamp without a zone",
            Self::List(_) => "a list",
            Self::Struct(_) => "a struct",
            Self::Json => "json",
        }
    }
}

fn merge(left: &Shape, right: &Shape) -> Result<Shape, String> {
    use Shape::{Float, Int, List, Struct, UInt, Unknown};
    Ok(match (left, right) {
        (Unknown, other) | (other, Unknown) => other.clone(),
        (left, right) if left == right => left.clone(),
        (Int | UInt | Float, Float) | (Float, Int | UInt) => Float,
        (List(left), List(right)) => List(Box::new(merge(left, right)?)),
        (Struct(left), Struct(right)) => {
            let mut fields = left.clone();
            for (name, shape) in right {
                match fields.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => *known = merge(known, shape)?,
                    None => fields.push((name.clone(), shape.clone())),
                }
            }
            Struct(fields)
        }
        (left, right) => {
            return Err(format!("{} where the column has {} so far", right.kind(), left.kind()));
        }
    })
}
