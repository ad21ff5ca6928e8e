//! LIKE, SIMILAR TO and regular expressions.

use super::expr::Translator;
use super::scope::Scope;
use super::text::at;
use super::typed::{Class, Typed, plain, string};
use crate::dataset::DatasetError;
use crate::dataset::sql::functions::regexp;
use arrow_schema::DataType;
use sqlparser::ast::Expr;
use sqlparser::tokenizer::Location;

/// A piece of a LIKE pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Any,
    One,
    Letter(char),
}

/// `\` before `%`, `_` or itself makes it a letter.
pub(super) fn pieces(pattern: &str, escape: char) -> Vec<Piece> {
    let mut letters = pattern.chars().peekable();
    let mut pieces = Vec::new();
    while let Some(letter) = letters.next() {
        let escapes = |next: char| next == '%' || next == '_' || next == escape;
        pieces.push(match letter {
            letter if letter == escape => match letters.next_if(|n| escapes(*n)) {
                Some(next) => Piece::Letter(next),
                None => Piece::Letter(letter),
            },
            '%' => Piece::Any,
            '_' => Piece::One,
            letter => Piece::Letter(letter),
        });
    }
    pieces
}

fn glob(pieces: &[Piece]) -> String {
    let mut glob = String::new();
    for piece in pieces {
        match piece {
            Piece::Any => glob.push('*'),
            Piece::One => glob.push('?'),
            Piece::Letter(special @ ('*' | '?' | '[')) => {
                glob.push('[');
                glob.push(*special);
                glob.push(']');
            }
            Piece::Letter(letter) => glob.push(*letter),
        }
    }
    glob
}

fn backslashed(pieces: &[Piece]) -> String {
    let mut like = String::new();
    for piece in pieces {
        match piece {
            Piece::Any => like.push('%'),
            Piece::One => like.push('_'),
            Piece::Letter(special @ ('%' | '_' | '\\')) => {
                like.push('\\');
                like.push(*special);
            }
            Piece::Letter(letter) => like.push(*letter),
        }
    }
    like
}

impl Translator<'_> {
    pub fn like(
        &mut self,
        scope: &Scope<'_>,
        value: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        negated: bool,
        any_case: bool,
    ) -> Result<Typed, DatasetError> {
        let value = self.expr(scope, value)?;
        let pattern = self.expr(scope, pattern)?;
        let escape = match escape {
            None => None,
            Some(escape) => {
                let typed = self.expr(scope, escape)?;
                let mut letters = typed.constant_text().unwrap_or_default().chars();
                match (letters.next(), letters.next()) {
                    (Some(letter), None) => Some(letter),
                    _ => return Err(at(typed.at, "ESCAPE is one character")),
                }
            }
        };
        self.like_typed(value, pattern, escape, negated, any_case)
    }

    pub fn like_typed(
        &mut self,
        value: Typed,
        pattern: Typed,
        escape: Option<char>,
        negated: bool,
        any_case: bool,
    ) -> Result<Typed, DatasetError> {
        self.text_only(&value, "LIKE")?;
        self.text_only(&pattern, "LIKE")?;
        let escape = escape.unwrap_or('\\');
        let not = if negated { "NOT " } else { "" };
        let sql = match pattern.constant_text() {
            Some(text) if !any_case => {
                format!("({}{} GLOB {})", not, value.sql, string(&glob(&pieces(text, escape))))
            }
            // SQLite's LIKE knows the case of ASCII letters only
            Some(text) if text.is_ascii() => {
                let pattern = string(&backslashed(&pieces(text, escape)));
                format!("({} {not}LIKE {pattern} ESCAPE '\\')", value.sql)
            }
            _ => {
                let escape = string(&escape.to_string());
                let flag = i32::from(any_case);
                format!("({not}ma_like({}, {}, {escape}, {flag}))", value.sql, pattern.sql)
            }
        };
        Ok(Typed::new(sql, DataType::Boolean, value.at))
    }

    fn text_only(&self, typed: &Typed, what: &str) -> Result<(), DatasetError> {
        match typed.class() {
            Class::Text | Class::Null => Ok(()),
            _ => Err(at(
                typed.at,
                format!("{what} is for text, and this is a {}; cast it", plain(&typed.data_type)),
            )),
        }
    }

    pub fn similar(
        &mut self,
        scope: &Scope<'_>,
        value: &Expr,
        pattern: &Expr,
        negated: bool,
    ) -> Result<Typed, DatasetError> {
        let value = self.expr(scope, value)?;
        let pattern = self.expr(scope, pattern)?;
        let Some(text) = pattern.constant_text() else {
            return Err(at(pattern.at, "SIMILAR TO wants its pattern as a literal"));
        };
        let mut expression = "^(?:".to_owned();
        for piece in pieces(text, '\\') {
            match piece {
                Piece::Any => expression.push_str(".*"),
                Piece::One => expression.push('.'),
                Piece::Letter(letter) => expression.push(letter),
            }
        }
        expression.push_str(")$");
        let constant = super::constant::Constant::Text(expression);
        let pattern = Typed::of_constant(constant, pattern.at);
        let here = value.at;
        self.regexp(value, pattern, negated, false, here)
    }

    pub fn matches(
        &mut self,
        scope: &Scope<'_>,
        value: &Expr,
        pattern: &Expr,
        negated: bool,
        any_case: bool,
    ) -> Result<Typed, DatasetError> {
        let (value, pattern) = (self.expr(scope, value)?, self.expr(scope, pattern)?);
        let here = value.at;
        self.regexp(value, pattern, negated, any_case, here)
    }

    pub fn regexp(
        &mut self,
        value: Typed,
        pattern: Typed,
        negated: bool,
        any_case: bool,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        self.text_only(&value, "a regular expression")?;
        self.text_only(&pattern, "a regular expression")?;
        let flags = if any_case { "i" } else { "" };
        check_pattern(&pattern, flags)?;
        let not = if negated { "NOT " } else { "" };
        let sql = format!("({not}ma_regexp({}, {}, '{flags}'))", value.sql, pattern.sql);
        Ok(Typed::new(sql, DataType::Boolean, here))
    }
}

/// A pattern that the text says is checked before anything runs.
pub(super) fn check_pattern(pattern: &Typed, flags: &str) -> Result<(), DatasetError> {
    match pattern.constant_text() {
        Some(text) => regexp::compile(text, flags).map(|_| ()).map_err(|e| at(pattern.at, e)),
        None => Ok(()),
    }
}
