//! Parameters of a statement: the columns of a batch of one row, by name or position.

use super::constant::Constant;
use super::scope::hint;
use super::text::at;
use super::typed::{Class, Typed};
use crate::dataset::DatasetError;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field};
use rusqlite::types::Value;
use sqlparser::tokenizer::Location;
use std::cell::Cell;

/// Most parameters of one statement.
const MAX_PARAMS: usize = 10_000;

/// What `$name`, `$1` and `?` stand for. SQLite gets parameter `n` (from 1) as the `n`th value.
#[derive(Debug, Default)]
pub(super) struct Params {
    batch: Option<RecordBatch>,
    /// How many bare `?` were met.
    met: Cell<usize>,
}

impl Params {
    pub fn new(batch: Option<RecordBatch>) -> Result<Self, DatasetError> {
        if let Some(batch) = &batch {
            if batch.num_columns() > MAX_PARAMS {
                return Err(DatasetError::invalid(format!("at most {MAX_PARAMS} parameters are taken")));
            }
            if batch.num_rows() != 1 && batch.num_columns() > 0 {
                return Err(DatasetError::invalid(format!(
                    "parameters are a table of one row, and this has {}",
                    batch.num_rows()
                )));
            }
        }
        Ok(Self { batch, met: Cell::new(0) })
    }

    /// The stored form of each, in order.
    pub fn values(&self) -> Result<Vec<Value>, DatasetError> {
        let Some(batch) = &self.batch else { return Ok(Vec::new()) };
        let schema = batch.schema();
        schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| {
                super::cells::stored(field, array)
                    .map_err(|e| DatasetError::invalid(format!("parameter `{}`: {e}", field.name())))
            })
            .collect()
    }

    pub fn get(&self, name: &str, here: Location) -> Result<Typed, DatasetError> {
        let fields = self.batch.as_ref().map(arrow_array::RecordBatch::schema);
        let names: Vec<&str> =
            fields.iter().flat_map(|s| s.fields().iter().map(|f| f.name().as_str())).collect();
        let bare = name.trim_start_matches(['$', ':', '@', '?']);
        let index = if name == "?" {
            self.met.set(self.met.get() + 1);
            Some(self.met.get() - 1)
        } else {
            names
                .iter()
                .position(|n| *n == bare || n.trim_start_matches('$') == bare)
                .or_else(|| bare.parse::<usize>().ok().and_then(|n| n.checked_sub(1)))
        };
        match (index, &self.batch) {
            (Some(index), Some(batch)) if index < batch.num_columns() => {
                let schema = batch.schema();
                Ok(typed(schema.field(index), batch.column(index), index, here))
            }
            _ => Err(at(here, format!("no parameter was sent for `{name}`{}", hint(bare, &names)))),
        }
    }
}

impl Params {
    /// A parameter as a literal, for text that is read again.
    pub fn literal(&self, name: &str, here: Location) -> Result<String, DatasetError> {
        let typed = self.get(name, here)?;
        Ok(match &typed.constant {
            Some(Constant::Integer(whole)) if *whole < 0 => format!("({whole})"),
            Some(Constant::Float(real)) if real.is_finite() => format!("({real:?})"),
            Some(Constant::Float(_)) | None => self.shown(name, &typed, here)?,
            Some(constant) => constant.print(),
        })
    }

    /// Times and other values whose text reads back as them.
    fn shown(&self, name: &str, typed: &Typed, here: Location) -> Result<String, DatasetError> {
        let index = typed.sql.trim_start_matches('?').parse::<usize>().unwrap_or(1) - 1;
        let array = self.batch.as_ref().and_then(|batch| batch.columns().get(index));
        let refused = || {
            let of = &typed.data_type;
            at(here, format!("`{name}` is a {of}, which UPDATE and DELETE cannot take as a parameter"))
        };
        let array = array.ok_or_else(refused)?;
        if !matches!(typed.class(), Class::Date | Class::Time | Class::Timestamp | Class::Decimal) {
            return Err(refused());
        }
        let text = arrow_cast::display::array_value_to_string(array, 0).map_err(|_| refused())?;
        Ok(super::typed::string(&text))
    }
}

fn typed(field: &Field, array: &ArrayRef, index: usize, here: Location) -> Typed {
    let mut typed = Typed::of_field(format!("?{}", index + 1), field, here);
    typed.nullable = array.is_null(0);
    typed.constant = constant(field.data_type(), array);
    typed
}

/// The value, where it may have to become one of another type.
fn constant(data_type: &DataType, array: &ArrayRef) -> Option<Constant> {
    if array.is_null(0) {
        return Some(Constant::Null);
    }
    Some(match Class::of(data_type) {
        Class::Boolean => Constant::Boolean(array.as_boolean().value(0)),
        Class::Integer => {
            Constant::Integer(cast(array, &DataType::Int64).ok()?.as_primitive_opt::<Int64Type>()?.value(0))
        }
        Class::Float => {
            Constant::Float(cast(array, &DataType::Float64).ok()?.as_primitive_opt::<Float64Type>()?.value(0))
        }
        Class::Text => {
            Constant::Text(cast(array, &DataType::Utf8).ok()?.as_string_opt::<i32>()?.value(0).to_owned())
        }
        Class::Binary if !matches!(data_type, DataType::FixedSizeBinary(_)) => {
            Constant::Bytes(cast(array, &DataType::Binary).ok()?.as_binary_opt::<i32>()?.value(0).to_vec())
        }
        _ => return None,
    })
}
