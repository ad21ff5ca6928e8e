//! Tokens into clauses. Names are checked here, so that a wrong one is an error even where no row is found.

use super::ast::{Clause, Item, Projection, Query, Sort};
use super::error::{Pos, invalid};
use super::lexer::{Lexeme, Token, lex};
use super::{DEPTH_MAX, QueryError};

/// Clauses that change or leave the graph, and what to use instead.
const WRITES: [&str; 9] = ["create", "merge", "set", "delete", "detach", "remove", "foreach", "load", "drop"];
/// What is part of openCypher and not of this subset.
const UNSUPPORTED: [&str; 6] = ["union", "call", "use", "explain", "profile", "select"];
const SUPPORTED: &str =
    "supported are MATCH, OPTIONAL MATCH, WHERE, UNWIND, WITH, RETURN, ORDER BY, SKIP and LIMIT";

pub(super) struct Parser<'a> {
    statement: &'a str,
    lexemes: Vec<Lexeme>,
    next: usize,
    depth: usize,
    /// Names that expressions may use.
    pub scope: Vec<String>,
    /// Where aggregates may stand: in the items and the order of a projection.
    pub aggregates: bool,
}

/// Reads a statement.
pub(super) fn parse(statement: &str) -> Result<Query, QueryError> {
    let lexemes = lex(statement)?;
    let mut parser = Parser { statement, lexemes, next: 0, depth: 0, scope: Vec::new(), aggregates: false };
    parser.query()
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, QueryError> {
        let mut clauses = Vec::new();
        loop {
            let at = self.at();
            if self.keyword("optional") {
                self.expect_keyword("match")?;
                clauses.push(self.match_clause(true)?);
            } else if self.keyword("match") {
                clauses.push(self.match_clause(false)?);
            } else if self.keyword("unwind") {
                let list = self.expression()?;
                self.expect_keyword("as")?;
                let name = self.new_name()?;
                clauses.push(Clause::Unwind { list, name });
            } else if self.keyword("with") {
                let projection = self.projection(true)?;
                let filter = self.filter()?;
                clauses.push(Clause::With { projection, filter });
            } else if self.keyword("return") {
                clauses.push(Clause::Return(self.projection(false)?));
                self.symbol(";");
                return self.end(clauses);
            } else {
                return Err(self.no_clause(at, clauses.is_empty()));
            }
        }
    }

    fn end(&self, clauses: Vec<Clause>) -> Result<Query, QueryError> {
        if *self.peek() == Token::End {
            return Ok(Query { clauses });
        }
        let at = self.at();
        match self.peek() {
            Token::Word(word) if is_one_of(word, &UNSUPPORTED) || is_one_of(word, &WRITES) => {
                Err(self.no_clause(at, false))
            }
            _ => Err(invalid(at, format!("{} after the end of RETURN", self.found()))),
        }
    }

    fn no_clause(&self, at: Pos, first: bool) -> QueryError {
        match self.peek() {
            Token::Word(word) if is_one_of(word, &WRITES) => invalid(
                at,
                format!(
                    "{} is not supported: queries only read; upsert_nodes, upsert_relationships, upsert_table, \
                     delete_entities and delete_relationships write",
                    word.to_uppercase()
                ),
            ),
            Token::Word(word) if is_one_of(word, &UNSUPPORTED) => {
                invalid(at, format!("{} is not supported; {SUPPORTED}", word.to_uppercase()))
            }
            Token::End if !first => invalid(at, "the query ends without RETURN"),
            Token::End => invalid(at, format!("the statement is empty; {SUPPORTED}")),
            _ => invalid(at, format!("{} where a clause is expected; {SUPPORTED}", self.found())),
        }
    }

    fn match_clause(&mut self, optional: bool) -> Result<Clause, QueryError> {
        let paths = self.patterns()?;
        let filter = self.filter()?;
        Ok(Clause::Match { optional, paths, filter })
    }

    fn filter(&mut self) -> Result<Option<super::ast::Expr>, QueryError> {
        if self.keyword("where") { self.expression().map(Some) } else { Ok(None) }
    }

    /// What follows WITH or RETURN; the names in scope become those it makes.
    fn projection(&mut self, names_needed: bool) -> Result<Projection, QueryError> {
        let distinct = self.keyword("distinct");
        let before = self.scope.clone();
        self.aggregates = true;
        let star_at = self.at();
        let star = self.symbol("*");
        if star && before.is_empty() {
            return Err(invalid(star_at, "there is nothing that `*` could stand for"));
        }
        let mut items = Vec::new();
        if !star || self.symbol(",") {
            loop {
                items.push(self.item(names_needed)?);
                if !self.symbol(",") {
                    break;
                }
            }
        }
        let mut after: Vec<String> = if star { before.clone() } else { Vec::new() };
        for item in &items {
            if after.contains(&item.name) {
                return Err(invalid(
                    item.expr.at,
                    format!("two columns are named `{}`; rename one with AS", item.name),
                ));
            }
            after.push(item.name.clone());
        }
        self.scope.extend(after.iter().cloned());
        let order = self.order()?;
        self.aggregates = false;
        self.scope.clear();
        let skip = if self.keyword("skip") { Some(self.expression()?) } else { None };
        let limit = if self.keyword("limit") { Some(self.expression()?) } else { None };
        self.scope = after;
        Ok(Projection { distinct, star, items, order, skip, limit })
    }

    fn item(&mut self, name_needed: bool) -> Result<Item, QueryError> {
        let (at, start) = (self.at(), self.lexemes[self.next].start);
        let expr = self.expression()?;
        let end = self.lexemes[self.next - 1].end;
        if self.keyword("as") {
            return Ok(Item { expr, name: self.name("a name")? });
        }
        if name_needed && !matches!(expr.kind, super::ast::Kind::Name(_)) {
            return Err(invalid(at, "an expression in WITH needs a name; add AS and one"));
        }
        Ok(Item { expr, name: self.statement[start..end].to_owned() })
    }

    fn order(&mut self) -> Result<Vec<Sort>, QueryError> {
        let mut order = Vec::new();
        if !self.keyword("order") {
            return Ok(order);
        }
        self.expect_keyword("by")?;
        loop {
            let expr = self.expression()?;
            let descending = if self.keyword("desc") || self.keyword("descending") {
                true
            } else {
                let _ = self.keyword("asc") || self.keyword("ascending");
                false
            };
            order.push(Sort { expr, descending });
            if !self.symbol(",") {
                return Ok(order);
            }
        }
    }

    /// A name that the clause makes.
    pub fn new_name(&mut self) -> Result<String, QueryError> {
        let at = self.at();
        let name = self.name("a name")?;
        if self.scope.contains(&name) {
            return Err(invalid(at, format!("the name `{name}` is already taken")));
        }
        self.scope.push(name.clone());
        Ok(name)
    }

    pub fn name(&mut self, what: &str) -> Result<String, QueryError> {
        match self.peek().clone() {
            Token::Word(name) | Token::Quoted(name) => {
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.expected(what)),
        }
    }

    // --- tokens ---

    pub fn peek(&self) -> &Token {
        &self.lexemes[self.next].token
    }

    pub fn peek_at(&self, ahead: usize) -> &Token {
        self.lexemes.get(self.next + ahead).map_or(&Token::End, |lexeme| &lexeme.token)
    }

    pub fn at(&self) -> Pos {
        self.lexemes[self.next].at
    }

    /// Goes on; the end stays where it is.
    pub fn advance(&mut self) {
        if self.next + 1 < self.lexemes.len() {
            self.next += 1;
        }
    }

    /// Takes the symbol if it is next.
    pub fn symbol(&mut self, symbol: &str) -> bool {
        let is = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        if is {
            self.advance();
        }
        is
    }

    pub fn is_symbol(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.peek_at(ahead), Token::Symbol(next) if *next == symbol)
    }

    /// Takes the keyword if it is next.
    pub fn keyword(&mut self, keyword: &str) -> bool {
        let is = self.is_keyword(0, keyword);
        if is {
            self.advance();
        }
        is
    }

    pub fn is_keyword(&self, ahead: usize, keyword: &str) -> bool {
        matches!(self.peek_at(ahead), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    pub fn expect_symbol(&mut self, symbol: &str) -> Result<(), QueryError> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    pub fn expect_keyword(&mut self, keyword: &str) -> Result<(), QueryError> {
        if self.keyword(keyword) { Ok(()) } else { Err(self.expected(&keyword.to_uppercase())) }
    }

    pub fn expected(&self, what: &str) -> QueryError {
        invalid(self.at(), format!("{} where {what} is expected", self.found()))
    }

    /// The next token, for errors.
    fn found(&self) -> String {
        let lexeme = &self.lexemes[self.next];
        match lexeme.token {
            Token::End => "the end".to_owned(),
            _ => format!("`{}`", &self.statement[lexeme.start..lexeme.end]),
        }
    }

    /// Runs `parse` one level deeper.
    pub fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        if self.depth >= DEPTH_MAX {
            return Err(invalid(self.at(), format!("expressions are nested more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}
