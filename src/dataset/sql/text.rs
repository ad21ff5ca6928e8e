//! User text in, syntax tree out: bounded in length and depth, with errors that point into the text.

use crate::dataset::DatasetError;
use sqlparser::ast::{Expr, Spanned, Statement};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// Longest statement or condition, bytes.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Nesting of parentheses, calls and subqueries.
const MAX_DEPTH: usize = 40;
/// Words, operators and literals in a row without a comma between them (`a = 1 OR a = 2 OR …`).
const MAX_CHAIN: usize = 6_000;

const DIALECT: GenericDialect = GenericDialect {};

/// An error at a place of the user's text.
pub(super) fn at(place: Location, text: impl AsRef<str>) -> DatasetError {
    if place.line == 0 {
        return DatasetError::invalid(format!("SQL: {}", text.as_ref()));
    }
    DatasetError::invalid(format!("SQL, line {} column {}: {}", place.line, place.column, text.as_ref()))
}

/// Where an expression begins; nowhere for kinds that are rare. Walks down the left side only, without recursion: the
/// parser's own spans take a stack as deep as the tree.
pub(super) fn place(expr: &Expr) -> Location {
    let mut expr = expr;
    loop {
        expr = match expr {
            Expr::BinaryOp { left, .. } => left,
            Expr::Nested(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsDistinctFrom(inner, _)
            | Expr::IsNotDistinctFrom(inner, _)
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::CompoundFieldAccess { root: inner, .. }
            | Expr::InList { expr: inner, .. }
            | Expr::InSubquery { expr: inner, .. }
            | Expr::Between { expr: inner, .. }
            | Expr::Like { expr: inner, .. }
            | Expr::ILike { expr: inner, .. }
            | Expr::SimilarTo { expr: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::Collate { expr: inner, .. }
            | Expr::Cast { expr: inner, .. } => inner,
            Expr::Identifier(ident) => return ident.span.start,
            Expr::CompoundIdentifier(idents) => {
                return idents.first().map_or(Location { line: 0, column: 0 }, |ident| ident.span.start);
            }
            Expr::Value(value) => return value.span.start,
            Expr::TypedString(typed) => return typed.value.span.start,
            Expr::Function(function) => return function.name.span().start,
            Expr::Case { case_token, .. } => return case_token.0.span.start,
            _ => return Location { line: 0, column: 0 },
        };
    }
}

/// One expression and nothing after it.
pub(super) fn expression(text: &str) -> Result<Expr, DatasetError> {
    let tokens = tokens(text)?;
    if tokens.iter().all(|t| matches!(t.token, Token::Whitespace(_))) {
        return Err(at(Location { line: 1, column: 1 }, "the condition is empty"));
    }
    let mut parser = Parser::new(&DIALECT).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().map_err(|e| refused(&e))?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok(parsed),
        other => Err(at(rest.span.start, format!("`{other}` stands after the end of the expression"))),
    }
}

/// Exactly one statement.
pub(super) fn statement(text: &str) -> Result<Statement, DatasetError> {
    let tokens = tokens(text)?;
    let mut parser = Parser::new(&DIALECT).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|e| refused(&e))?;
    match statements.len() {
        0 => Err(at(Location { line: 1, column: 1 }, "there is no statement")),
        1 => Ok(statements.remove(0)),
        n => Err(DatasetError::invalid(format!("SQL: {n} statements came; send one at a time"))),
    }
}

fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, DatasetError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(DatasetError::invalid(format!(
            "SQL: the text has {} bytes and {MAX_TEXT_BYTES} are allowed; pass values as parameters",
            text.len()
        )));
    }
    let tokens = Tokenizer::new(&DIALECT, text)
        .tokenize_with_location()
        .map_err(|e| at(e.location, format!("{}; is a quote open?", lower(&e.message))))?;
    check_chains(&tokens)?;
    Ok(tokens)
}

/// Refuses what would make a tree too deep to walk: nesting, and operators in a row, which the parser stacks up.
fn check_chains(tokens: &[TokenWithSpan]) -> Result<(), DatasetError> {
    let mut chains = vec![0_usize];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => chains.push(0),
            Token::RParen | Token::RBracket | Token::RBrace => {
                if chains.len() > 1 {
                    chains.pop();
                }
                bump(&mut chains);
            }
            Token::Comma => reset(&mut chains),
            Token::Whitespace(_) => {}
            _ => bump(&mut chains),
        }
        if chains.len() > MAX_DEPTH * 4 {
            return Err(at(token.span.start, format!("nested more than {} deep", MAX_DEPTH * 4)));
        }
        if chains.last().is_some_and(|n| *n > MAX_CHAIN) {
            return Err(at(token.span.start, "too many operators in a row; use IN (…)"));
        }
    }
    Ok(())
}

fn bump(chains: &mut [usize]) {
    if let Some(last) = chains.last_mut() {
        *last += 1;
    }
}

fn reset(chains: &mut [usize]) {
    if let Some(last) = chains.last_mut() {
        *last = 0;
    }
}

/// The parser says the place inside its sentence; ours comes first.
fn refused(error: &ParserError) -> DatasetError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return DatasetError::invalid(format!("SQL: nested more than {MAX_DEPTH} deep"));
        }
    };
    if let Some((said, place)) = text.rsplit_once(" at Line: ")
        && let Some((line, column)) = place.split_once(", Column: ")
        && let (Ok(line), Ok(column)) = (line.trim().parse(), column.trim().parse())
    {
        return at(Location { line, column }, lower(said));
    }
    DatasetError::invalid(format!("SQL: {}", lower(text)))
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
