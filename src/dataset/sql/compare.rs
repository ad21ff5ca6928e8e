//! Comparisons: two values meet at one type, then their stored forms are compared.

use super::cast::{OnFailure, common};
use super::expr::Translator;
use super::text::at;
use super::typed::{Class, Typed, plain};
use crate::dataset::DatasetError;
use arrow_schema::{DataType, Metadata};
use sqlparser::tokenizer::Location;

impl Translator<'_> {
    /// Both sides as one type.
    pub fn meet(&mut self, a: Typed, b: Typed, what: &str) -> Result<(Typed, Typed), DatasetError> {
        let Some(data_type) = common(&a, &b) else {
            return Err(at(
                a.at,
                format!("{what} of {} and {}; cast one of them", plain(&a.data_type), plain(&b.data_type)),
            ));
        };
        let metadata = if a.data_type == data_type && !a.metadata.is_empty() {
            a.metadata.clone()
        } else if b.data_type == data_type {
            b.metadata.clone()
        } else {
            Metadata::new()
        };
        Ok((self.meet_at(a, &data_type, &metadata)?, self.meet_at(b, &data_type, &metadata)?))
    }

    fn meet_at(
        &mut self,
        typed: Typed,
        data_type: &DataType,
        metadata: &Metadata,
    ) -> Result<Typed, DatasetError> {
        let (from, to) = (plain(&typed.data_type), plain(data_type));
        // SQLite compares integers with reals exactly, and casts nothing that an index could serve
        let numbers = matches!(
            (Class::of(from), Class::of(to)),
            (Class::Integer | Class::Float, Class::Integer | Class::Float)
        );
        if from == to || numbers {
            return Ok(typed);
        }
        self.cast(typed, data_type, metadata, OnFailure::Error)
    }

    /// `operator` is one of SQLite's: `=`, `<>`, `<`, `<=`, `>`, `>=`, `IS`, `IS NOT`.
    pub fn compare(
        &mut self,
        operator: &str,
        a: Typed,
        b: Typed,
        place: Location,
    ) -> Result<Typed, DatasetError> {
        let (a, b) = self.meet(a, b, "there is no comparison")?;
        let class = a.class();
        let decimals = class == Class::Decimal || b.class() == Class::Decimal;
        let ordered = matches!(operator, "<" | "<=" | ">" | ">=");
        if ordered && matches!(class, Class::List | Class::Struct | Class::Interval) {
            return Err(at(place, format!("{} has no order", plain(&a.data_type))));
        }
        let sql = if decimals && !matches!(operator, "IS" | "IS NOT") {
            format!("(ma_decimal_order({}, {}) {operator} 0)", a.sql, b.sql)
        } else {
            format!("({} {operator} {})", a.sql, b.sql)
        };
        let mut compared = Typed::new(sql, DataType::Boolean, place);
        compared.nullable = !operator.starts_with("IS") && (a.nullable || b.nullable);
        Ok(compared)
    }

    /// `typed` as a condition.
    pub fn boolean(&mut self, typed: Typed) -> Result<Typed, DatasetError> {
        match typed.class() {
            Class::Boolean | Class::Null => Ok(typed),
            _ => Err(at(
                typed.at,
                format!("a condition is wanted here, and this is a {}", plain(&typed.data_type)),
            )),
        }
    }

    /// All as the one type that they meet at.
    pub fn unify(&mut self, values: Vec<Typed>, what: &str) -> Result<(Vec<Typed>, DataType), DatasetError> {
        let mut values = values.into_iter();
        let Some(mut all) = values.next() else {
            return Ok((Vec::new(), DataType::Null));
        };
        let mut members = vec![all.clone()];
        for value in values {
            let Some(data_type) = common(&all, &value) else {
                return Err(at(
                    value.at,
                    format!(
                        "{what} cannot hold both {} and {}",
                        plain(&all.data_type),
                        plain(&value.data_type)
                    ),
                ));
            };
            // a constant string that met a column is no longer what the others meet
            let keep = value.constant_text().is_none() && value.data_type == data_type;
            if keep {
                all = value.clone();
            }
            all.data_type = data_type;
            members.push(value);
        }
        let (data_type, metadata) = (plain(&all.data_type).clone(), all.metadata.clone());
        let members = members
            .into_iter()
            .map(|member| self.cast(member, &data_type, &metadata, OnFailure::Error))
            .collect::<Result<_, _>>()?;
        Ok((members, data_type))
    }
}
