//! Column definitions: `name type [null | not null], …` with the types `int bool date timestamp float text json uuid
//! binary vector(size[, type]) list(type) struct(name type, …)`.

use crate::columnar::typed::{JSON_EXTENSION, UUID_EXTENSION};
use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use std::sync::Arc;

/// Deepest nesting of lists and structs.
const DEPTH_MAX: usize = 32;

/// Reads column definitions, as an argument.
pub fn columns(text: &str) -> Result<Schema, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let fields = parser.fields(0)?;
    match parser.peek() {
        None => Ok(Schema::new(fields)),
        Some((token, place)) => {
            Err(format!("`{token}` at {place} is unexpected; columns are separated by `,`"))
        }
    }
}

fn tokens(text: &str) -> Result<Vec<(String, usize)>, String> {
    let mut tokens: Vec<(String, usize)> = Vec::new();
    let mut word = false;
    for (at, char) in text.char_indices() {
        let part = char.is_alphanumeric() || char == '_';
        match (part, tokens.last_mut()) {
            (true, Some((last, _))) if word => last.push(char),
            (true, _) => tokens.push((char.to_string(), at)),
            (false, _) if char.is_whitespace() => {}
            (false, _) if matches!(char, ',' | '(' | ')') => tokens.push((char.to_string(), at)),
            _ => return Err(format!("`{char}` at {at} belongs to no column definition")),
        }
        word = part;
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [(String, usize)],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<(&'a str, usize)> {
        self.tokens.get(self.at).map(|(token, place)| (token.as_str(), *place))
    }

    fn accept(&mut self, wanted: &str) -> bool {
        let found = self.peek().is_some_and(|(token, _)| token.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        if self.accept(wanted) { Ok(()) } else { Err(self.want(&format!("`{wanted}`"))) }
    }

    fn word(&mut self, what: &str) -> Result<&'a str, String> {
        let word = self.peek().filter(|(token, _)| !matches!(*token, "," | "(" | ")"));
        let (token, _) = word.ok_or_else(|| self.want(what))?;
        self.at += 1;
        Ok(token)
    }

    fn want(&self, what: &str) -> String {
        match self.peek() {
            Some((token, place)) => format!("{what} is wanted at {place}, not `{token}`"),
            None => format!("{what} is wanted at the end"),
        }
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<Field>, String> {
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let name = self.word("a column's name")?;
            let field = self.typed(name, depth)?;
            let nullable = if self.accept("not") {
                self.expect("null")?;
                false
            } else {
                self.accept("null");
                true
            };
            if fields.iter().any(|known| known.name() == name) {
                return Err(format!("column `{name}` is there twice"));
            }
            fields.push(field.with_nullable(nullable));
            if !self.accept(",") {
                return Ok(fields);
            }
        }
    }

    fn typed(&mut self, name: &str, depth: usize) -> Result<Field, String> {
        if depth > DEPTH_MAX {
            return Err(format!("types are nested more than {DEPTH_MAX} deep"));
        }
        let plain = |data_type| Field::new(name, data_type, true);
        let extended = |data_type, extension: &str| {
            plain(data_type).with_metadata([(EXTENSION_TYPE_NAME_KEY.to_owned(), extension.to_owned())])
        };
        let item = Field::LIST_FIELD_DEFAULT_NAME;
        let word = self.word("a type")?;
        Ok(match word.to_ascii_lowercase().as_str() {
            "int" => plain(DataType::Int64),
            "bool" => plain(DataType::Boolean),
            "date" => plain(DataType::Date32),
            "timestamp" => plain(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            "float" => plain(DataType::Float64),
            "text" => plain(DataType::Utf8),
            "binary" => plain(DataType::Binary),
            "json" => extended(DataType::Utf8, JSON_EXTENSION),
            "uuid" => extended(DataType::FixedSizeBinary(16), UUID_EXTENSION),
            "list" => {
                self.expect("(")?;
                let inner = self.typed(item, depth + 1)?;
                self.expect(")")?;
                plain(DataType::List(Arc::new(inner)))
            }
            "vector" => {
                self.expect("(")?;
                let size: i32 = self.word("the size of the vector")?.parse().unwrap_or(0);
                if size <= 0 {
                    return Err("the size of a vector is a number above 0".into());
                }
                let inner = if self.accept(",") {
                    self.typed(item, depth + 1)?
                } else {
                    Field::new(item, DataType::Float64, true)
                };
                self.expect(")")?;
                plain(DataType::FixedSizeList(Arc::new(inner), size))
            }
            "struct" => {
                self.expect("(")?;
                let fields = self.fields(depth + 1)?;
                self.expect(")")?;
                plain(DataType::Struct(fields.into()))
            }
            other => {
                return Err(format!(
                    "there is no type `{other}`; there are: int, bool, date, timestamp, float, text, json, uuid, \
                     binary, vector, list, struct"
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_read_as_the_official_tool_reads_them() {
        let schema = columns(
            "id int not null, tags list(text), v VECTOR(3), m struct(a text, b vector(2, int)) null, k uuid",
        )
        .unwrap();
        assert!(!schema.field(0).is_nullable());
        assert_eq!(schema.field(2).data_type(), &DataType::new_fixed_size_list(DataType::Float64, 3, true));
        assert!(matches!(schema.field(3).data_type(), DataType::Struct(fields) if fields.len() == 2));
        assert!(crate::columnar::typed::is_uuid(schema.field(4)));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, part) in [
            ("", "name is wanted at the end"),
            ("a", "a type is wanted"),
            ("a zap", "there is no type `zap`"),
            ("a int b int", "`b` at 6"),
            ("a int, a text", "twice"),
            ("a vector(0)", "above 0"),
            ("a list(int", "`)` is wanted"),
            ("a int;", "`;` at 5"),
        ] {
            let error = columns(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
