//! A statement into tokens.

use super::error::{Pos, invalid};
use super::{QueryError, STATEMENT_BYTES_MAX};
use std::iter::Peekable;
use std::str::CharIndices;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword.
    Word(String),
    /// A name in backticks; never a keyword.
    Quoted(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// `( ) [ ] { } , . .. : ; | & + - * / % ^ = <> < > <= >= =~ $`
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Lexeme {
    pub token: Token,
    pub at: Pos,
    /// Bytes of the statement.
    pub start: usize,
    pub end: usize,
}

/// Longest first.
const SYMBOLS: [&str; 28] = [
    "..", "<>", "<=", ">=", "=~", "(", ")", "[", "]", "{", "}", ",", ".", ":", ";", "|", "&", "+", "-", "*",
    "/", "%", "^", "=", "<", ">", "$", "!",
];

pub(super) fn lex(statement: &str) -> Result<Vec<Lexeme>, QueryError> {
    if statement.len() > STATEMENT_BYTES_MAX {
        return Err(QueryError::TooMuch(format!("a statement has at most {STATEMENT_BYTES_MAX} bytes")));
    }
    let mut lexer = Lexer { text: statement, chars: statement.char_indices().peekable(), line: 1, column: 1 };
    let mut lexemes = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let (at, start) = (lexer.pos(), lexer.offset());
        let token = lexer.token(at)?;
        let done = token == Token::End;
        lexemes.push(Lexeme { token, at, start, end: lexer.offset() });
        if done {
            return Ok(lexemes);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    line: u32,
    column: u32,
}

impl Lexer<'_> {
    fn pos(&self) -> Pos {
        Pos { line: self.line, column: self.column }
    }

    fn offset(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn rest(&mut self) -> &str {
        let at = self.offset();
        &self.text[at..]
    }

    fn next(&mut self) -> Option<char> {
        let (_, c) = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek().filter(|c| accept(*c)) {
            taken.push(c);
            self.next();
        }
        taken
    }

    /// White space and comments.
    fn skip_blanks(&mut self) -> Result<(), QueryError> {
        loop {
            self.take_while(char::is_whitespace);
            let at = self.pos();
            if self.rest().starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                while !self.rest().starts_with("*/") {
                    if self.next().is_none() {
                        return Err(invalid(at, "the comment is not closed; add */"));
                    }
                }
                self.next();
                self.next();
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self, at: Pos) -> Result<Token, QueryError> {
        match self.peek() {
            None => Ok(Token::End),
            Some(quote @ ('\'' | '"')) => self.string(quote, at),
            Some('`') => self.backticks(at),
            Some(c) if c.is_ascii_digit() => self.number(at),
            Some(c) if c.is_alphabetic() || c == '_' => {
                Ok(Token::Word(self.take_while(|c| c.is_alphanumeric() || c == '_')))
            }
            Some(c) => {
                let Some(symbol) = SYMBOLS.into_iter().find(|s| self.rest().starts_with(s)) else {
                    return Err(invalid(
                        at,
                        format!("the character `{}` means nothing here", c.escape_default()),
                    ));
                };
                for _ in symbol.chars() {
                    self.next();
                }
                if symbol == "!" {
                    return Err(invalid(at, "`!` means nothing here; unequal is written <>"));
                }
                Ok(Token::Symbol(symbol))
            }
        }
    }

    fn string(&mut self, quote: char, at: Pos) -> Result<Token, QueryError> {
        self.next();
        let mut text = String::new();
        loop {
            let here = self.pos();
            match self.next() {
                None => return Err(invalid(at, "the text is not closed")),
                Some(c) if c == quote => return Ok(Token::Text(text)),
                Some('\\') => text.push(self.escape(here)?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, at: Pos) -> Result<char, QueryError> {
        let code = |lexer: &mut Self, digits: usize| {
            let mut hex = String::new();
            for _ in 0..digits {
                hex.extend(lexer.next());
            }
            let read = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
            read.ok_or_else(|| invalid(at, format!("`{}` is no character", hex.escape_default())))
        };
        match self.next() {
            Some(c @ ('\\' | '\'' | '"' | '`')) => Ok(c),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('u') => code(self, 4),
            Some('U') => code(self, 8),
            _ => Err(invalid(
                at,
                "an unknown escape; known are \\\\ \\' \\\" \\` \\n \\r \\t \\b \\f \\uXXXX \\UXXXXXXXX",
            )),
        }
    }

    fn backticks(&mut self, at: Pos) -> Result<Token, QueryError> {
        self.next();
        let mut name = String::new();
        loop {
            match self.next() {
                None => return Err(invalid(at, "the name in backticks is not closed")),
                Some('`') if self.peek() == Some('`') => {
                    self.next();
                    name.push('`');
                }
                Some('`') if name.is_empty() => return Err(invalid(at, "a name cannot be empty")),
                Some('`') => return Ok(Token::Quoted(name)),
                Some(c) => name.push(c),
            }
        }
    }

    fn number(&mut self, at: Pos) -> Result<Token, QueryError> {
        let mut digits = self.take_while(|c| c.is_ascii_digit());
        let mut whole = true;
        let mut after = self.rest().chars();
        if after.next() == Some('.') && after.next().is_some_and(|c| c.is_ascii_digit()) {
            whole = false;
            self.next();
            digits.push('.');
            digits.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            whole = false;
            self.next();
            digits.push('e');
            if let Some(sign @ ('+' | '-')) = self.peek() {
                self.next();
                digits.push(sign);
            }
            digits.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        if self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return Err(invalid(at, "a number and a name stand together; put a space between them"));
        }
        if whole {
            return digits.parse().map(Token::Int).map_err(|_| invalid(at, format!("{digits} is too large")));
        }
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Float(number)),
            _ => Err(invalid(at, format!("`{digits}` is no number"))),
        }
    }
}
