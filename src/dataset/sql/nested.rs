//! Lists, structs and JSON texts. The stored form of a nested value is JSON, so most of it is SQLite's own JSON.

use super::cast::{OnFailure, common_type};
use super::constant::Constant;
use super::expr::Translator;
use super::scope::{Scope, hint};
use super::text::at;
use super::typed::{Class, Typed, element, list_of, plain, string, type_argument};
use crate::dataset::DatasetError;
use arrow_schema::Metadata;
use arrow_schema::{DataType, Fields};
use sqlparser::ast::{AccessExpr, Expr, Ident, Subscript};
use sqlparser::tokenizer::Location;
use std::fmt::Write as _;

/// Whether SQLite's JSON functions give the stored form of a value of this type inside JSON.
pub(super) fn plain_in_json(data_type: &DataType) -> bool {
    match plain(data_type) {
        DataType::UInt64 | DataType::FixedSizeList(..) => false,
        other => matches!(
            Class::of(other),
            Class::Boolean
                | Class::Integer
                | Class::Text
                | Class::Decimal
                | Class::Date
                | Class::Time
                | Class::Timestamp
                | Class::Duration
                | Class::List
                | Class::Struct
        ),
    }
}

impl Translator<'_> {
    /// `typed.name`, of a struct.
    pub fn field_of(&mut self, typed: Typed, name: &str, here: Location) -> Result<Typed, DatasetError> {
        let data_type = plain(&typed.data_type).clone();
        let DataType::Struct(fields) = &data_type else {
            return Err(at(here, format!("`{name}` is looked for in a {data_type}, which has no fields")));
        };
        let found = fields.find(name).or_else(|| fields.find(&name.to_lowercase()));
        let Some((_, field)) = found else {
            let names: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
            return Err(at(here, format!("the struct has no field `{name}`{}", hint(name, &names))));
        };
        let simple = !field.name().contains(['"', '\\']);
        let sql = if simple && plain_in_json(field.data_type()) {
            format!("json_extract({}, {})", typed.sql, string(&format!("$.\"{}\"", field.name())))
        } else {
            format!("ma_field({}, {}, {})", typed.sql, type_argument(&data_type), string(field.name()))
        };
        Ok(Typed { nullable: true, ..Typed::of_field(sql, field, here) })
    }

    /// `column.a['b'][1]`.
    pub fn access(
        &mut self,
        scope: &Scope<'_>,
        root: &Expr,
        chain: &[AccessExpr],
    ) -> Result<Typed, DatasetError> {
        let mut idents: Vec<Ident> = match root {
            Expr::Identifier(ident) => vec![ident.clone()],
            Expr::CompoundIdentifier(idents) => idents.clone(),
            _ => Vec::new(),
        };
        let mut rest = chain;
        if !idents.is_empty() {
            while let [AccessExpr::Dot(Expr::Identifier(ident)), further @ ..] = rest {
                idents.push(ident.clone());
                rest = further;
            }
        }
        let mut typed = match idents.as_slice() {
            [] => self.expr(scope, root)?,
            [one] => self.expr(scope, &Expr::Identifier(one.clone()))?,
            many => self.expr(scope, &Expr::CompoundIdentifier(many.to_vec()))?,
        };
        for step in rest {
            typed = match step {
                AccessExpr::Dot(Expr::Identifier(ident)) => {
                    self.field_of(typed, &ident.value, ident.span.start)?
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let index = self.expr(scope, index)?;
                    self.element_of(typed, index)?
                }
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    let mut bound = |bound: &Option<Expr>, otherwise: i64| match bound {
                        Some(bound) => self.expr(scope, bound),
                        None => Ok(Typed::of_constant(Constant::Integer(otherwise), typed.at)),
                    };
                    let (low, high) = (bound(lower_bound, 1)?, bound(upper_bound, -1)?);
                    let here = typed.at;
                    self.call_typed("array_slice", vec![typed, low, high], here)?
                }
                _ => return Err(at(typed.at, "this way into a value is not known here")),
            };
        }
        Ok(typed)
    }

    /// `list[index]` from 1, from the end where negative; `struct['name']`.
    pub fn element_of(&mut self, typed: Typed, index: Typed) -> Result<Typed, DatasetError> {
        if let Some(name) = index.constant_text() {
            let (name, here) = (name.to_owned(), index.at);
            return self.field_of(typed, &name, here);
        }
        let data_type = plain(&typed.data_type).clone();
        let Some(field) = element(&data_type) else {
            return Err(at(
                index.at,
                format!("a {data_type} has no elements; `[…]` is for lists and structs"),
            ));
        };
        if index.class() != Class::Integer {
            return Err(at(index.at, "elements of a list are found by their number, from 1"));
        }
        let native = plain_in_json(field.data_type()) && !matches!(data_type, DataType::FixedSizeList(..));
        let sql = match index.constant {
            Some(Constant::Integer(0)) => "NULL".to_owned(),
            Some(Constant::Integer(number)) if native && number > 0 => {
                format!("json_extract({}, '$[{}]')", typed.sql, number - 1)
            }
            Some(Constant::Integer(number)) if native => {
                format!("json_extract({}, '$[#-{}]')", typed.sql, number.unsigned_abs())
            }
            _ => {
                format!("ma_element({}, {}, {})", typed.sql, type_argument(&data_type), index.sql)
            }
        };
        Ok(Typed { nullable: true, ..Typed::of_field(sql, field, typed.at) })
    }

    /// A list as the JSON array that our list functions work on.
    pub fn json_list(&mut self, typed: Typed) -> Result<(Typed, DataType), DatasetError> {
        let data_type = plain(&typed.data_type).clone();
        let Some(field) = element(&data_type) else {
            if data_type == DataType::Null {
                return Ok((typed, DataType::Null));
            }
            return Err(at(typed.at, format!("a list is wanted here, and this is a {data_type}")));
        };
        let item = field.data_type().clone();
        if matches!(data_type, DataType::FixedSizeList(..)) {
            let list = self.cast(typed, &list_of(item.clone()), &Metadata::new(), OnFailure::Error)?;
            return Ok((list, item));
        }
        Ok((typed, item))
    }

    /// `typed` as one element of JSON, for a list of `item`.
    pub fn json_item(&mut self, typed: Typed, item: &DataType) -> Result<String, DatasetError> {
        let typed = self.cast(typed, item, &Metadata::new(), OnFailure::Error)?;
        Ok(format!("ma_json({}, {})", typed.sql, type_argument(plain(item))))
    }

    /// `value = ANY (list)`.
    pub fn any(&mut self, scope: &Scope<'_>, value: &Expr, list: &Expr) -> Result<Typed, DatasetError> {
        let (value, list) = (self.expr(scope, value)?, self.expr(scope, list)?);
        let here = value.at;
        self.call_typed("array_has", vec![list, value], here)
    }

    pub fn list_has_all(
        &mut self,
        list: Typed,
        wanted: Typed,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        self.call_typed("array_has_all", vec![list, wanted], here)
    }

    pub fn list_concat(&mut self, a: Typed, b: Typed, here: Location) -> Result<Typed, DatasetError> {
        let name = match (a.class(), b.class()) {
            (Class::List, Class::List) => "array_concat",
            (Class::List, _) => "array_append",
            _ => "array_prepend",
        };
        self.call_typed(name, vec![a, b], here)
    }

    pub fn array(
        &mut self,
        scope: &Scope<'_>,
        items: &[Expr],
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let items = items.iter().map(|item| self.expr(scope, item)).collect::<Result<Vec<_>, _>>()?;
        self.make_list(items, here)
    }

    pub fn make_list(&mut self, items: Vec<Typed>, here: Location) -> Result<Typed, DatasetError> {
        let constants: Option<Vec<Constant>> = items.iter().map(|item| item.constant.clone()).collect();
        let (items, item) = self.unify(items, "a list")?;
        if let Some(constants) = constants {
            return Ok(Typed::of_constant(Constant::List(constants), here));
        }
        let mut sql = "'[' ||".to_owned();
        for (index, value) in items.into_iter().enumerate() {
            let comma = if index > 0 { " ',' ||" } else { "" };
            let _ = write!(sql, "{comma} {} ||", self.json_item(value, &item)?);
        }
        Ok(Typed::new(format!("({sql} ']')"), list_of(item), here))
    }

    pub fn structure(
        &mut self,
        scope: &Scope<'_>,
        values: &[Expr],
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let mut fields = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            fields.push(match value {
                Expr::Named { expr, name } => (name.value.clone(), self.expr(scope, expr)?),
                other => (format!("c{index}"), self.expr(scope, other)?),
            });
        }
        self.make_struct(fields, here)
    }

    pub fn make_struct(
        &mut self,
        fields: Vec<(String, Typed)>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        for (index, (name, _)) in fields.iter().enumerate() {
            if fields[..index].iter().any(|(other, _)| other == name) {
                return Err(at(here, format!("the struct has two fields named `{name}`")));
            }
        }
        let constants: Option<Vec<(String, Constant)>> =
            fields.iter().map(|(name, value)| Some((name.clone(), value.constant.clone()?))).collect();
        if let Some(constants) = constants {
            return Ok(Typed::of_constant(Constant::Struct(constants), here));
        }
        let of: Fields = fields.iter().map(|(name, value)| value.field(name)).collect();
        let mut sql = "'{' ||".to_owned();
        for (index, (name, value)) in fields.into_iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let name = serde_json::Value::String(name).to_string();
            let data_type = value.data_type.clone();
            let value = self.json_item(value, &data_type)?;
            let _ = write!(sql, " {} || {value} ||", string(&format!("{comma}{name}:")));
        }
        Ok(Typed::new(format!("({sql} '}}')"), DataType::Struct(of), here))
    }

    /// `json -> 'key'` (JSON) and `json ->> 'key'` (text), for texts that hold JSON.
    pub fn json_arrow(
        &mut self,
        value: Typed,
        key: Typed,
        text: bool,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        if value.class() == Class::Struct {
            let Some(name) = key.constant_text().map(str::to_owned) else {
                return Err(at(key.at, "a field of a struct is named by a literal"));
            };
            return self.field_of(value, &name, here);
        }
        if value.class() != Class::Text || !matches!(key.class(), Class::Text | Class::Integer) {
            return Err(at(here, "`->` is for texts that hold JSON, with a key or a number"));
        }
        let sql = if text {
            format!("CAST({} ->> {} AS TEXT)", value.sql, key.sql)
        } else {
            format!("({} -> {})", value.sql, key.sql)
        };
        Ok(Typed::new(sql, DataType::Utf8, here))
    }

    /// The type of elements of two lists together.
    pub fn common_item(&self, a: &DataType, b: &DataType, here: Location) -> Result<DataType, DatasetError> {
        common_type(a, b).ok_or_else(|| at(here, format!("lists of {a} and of {b} do not go together")))
    }
}
