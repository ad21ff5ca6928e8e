//! Tokens into expressions, by precedence.

use super::QueryError;
use super::ast::{Aggregate, AggregateKind, Expr, Kind, Op, Path, Quantifier};
use super::error::{Pos, invalid};
use super::functions::Function;
use super::lexer::Token;
use super::parser::Parser;
use super::value::Value;

/// Operators of one level and how they are written.
type Level = &'static [(&'static str, Op)];
const SUM: Level = &[("+", Op::Add), ("-", Op::Subtract)];
const PRODUCT: Level = &[("*", Op::Multiply), ("/", Op::Divide), ("%", Op::Modulo)];
const COMPARISON: Level = &[
    ("=", Op::Equal),
    ("<>", Op::Unequal),
    ("<=", Op::LessOrEqual),
    (">=", Op::GreaterOrEqual),
    ("<", Op::Less),
    (">", Op::Greater),
];

fn binary(op: Op, left: Expr, right: Expr) -> Result<Expr, QueryError> {
    Expr::new(left.at, Kind::Binary(op, Box::new(left), Box::new(right)))
}

/// Joins operands evenly, so that a long row of them is not deep.
fn join(op: Op, mut operands: Vec<Expr>) -> Result<Option<Expr>, QueryError> {
    if operands.len() < 2 {
        return Ok(operands.pop());
    }
    let right = operands.split_off(operands.len() / 2);
    match (join(op, operands)?, join(op, right)?) {
        (Some(left), Some(right)) => binary(op, left, right).map(Some),
        (one, other) => Ok(one.or(other)),
    }
}

impl Parser<'_> {
    pub fn expression(&mut self) -> Result<Expr, QueryError> {
        self.deeper(|parser| {
            parser.keyword_level("or", Op::Or, |p| {
                p.keyword_level("xor", Op::Xor, |p| p.keyword_level("and", Op::And, Self::not))
            })
        })
    }

    fn keyword_level(
        &mut self,
        keyword: &str,
        op: Op,
        mut operand: impl FnMut(&mut Self) -> Result<Expr, QueryError>,
    ) -> Result<Expr, QueryError> {
        let mut operands = vec![operand(self)?];
        while self.keyword(keyword) {
            operands.push(operand(self)?);
        }
        join(op, operands)?.ok_or_else(|| self.expected("an expression"))
    }

    fn not(&mut self) -> Result<Expr, QueryError> {
        let at = self.at();
        if self.keyword("not") {
            let inner = self.deeper(Self::not)?;
            return Expr::new(at, Kind::Not(Box::new(inner)));
        }
        self.comparison()
    }

    /// `a < b < c` is `a < b AND b < c`.
    fn comparison(&mut self) -> Result<Expr, QueryError> {
        let mut left = self.predicate()?;
        let mut all = Vec::new();
        while let Some(op) = self.operator(COMPARISON) {
            let right = self.predicate()?;
            all.push(binary(op, left, right.clone())?);
            left = right;
        }
        Ok(join(Op::And, all)?.unwrap_or(left))
    }

    fn operator(&mut self, level: Level) -> Option<Op> {
        let (_, op) = level.iter().find(|(symbol, _)| self.symbol(symbol))?;
        Some(*op)
    }

    /// What binds tighter than a comparison: STARTS WITH, IN, IS NULL, =~ …
    fn predicate(&mut self) -> Result<Expr, QueryError> {
        let mut left = self.sum()?;
        loop {
            let at = left.at;
            let op = if self.symbol("=~") {
                Op::Matches
            } else if self.keyword("in") {
                Op::In
            } else if self.keyword("contains") {
                Op::Contains
            } else if self.is_keyword(0, "starts") && self.is_keyword(1, "with") {
                self.advance();
                self.advance();
                Op::StartsWith
            } else if self.is_keyword(0, "ends") && self.is_keyword(1, "with") {
                self.advance();
                self.advance();
                Op::EndsWith
            } else if self.keyword("is") {
                let negated = self.keyword("not");
                self.expect_keyword("null")?;
                left = Expr::new(at, Kind::IsNull(Box::new(left), negated))?;
                continue;
            } else {
                return Ok(left);
            };
            let right = self.sum()?;
            left = binary(op, left, right)?;
        }
    }

    fn sum(&mut self) -> Result<Expr, QueryError> {
        self.level(SUM, |p| p.level(PRODUCT, Self::power))
    }

    fn level(
        &mut self,
        level: Level,
        mut operand: impl FnMut(&mut Self) -> Result<Expr, QueryError>,
    ) -> Result<Expr, QueryError> {
        let mut left = operand(self)?;
        while let Some(op) = self.operator(level) {
            left = binary(op, left, operand(self)?)?;
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<Expr, QueryError> {
        self.level(&[("^", Op::Power)], Self::unary)
    }

    fn unary(&mut self) -> Result<Expr, QueryError> {
        let at = self.at();
        if self.symbol("-") {
            let inner = self.deeper(Self::unary)?;
            return Expr::new(at, Kind::Negate(Box::new(inner)));
        }
        if self.symbol("+") {
            return self.deeper(Self::unary);
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Expr, QueryError> {
        let mut expr = self.atom()?;
        loop {
            let at = expr.at;
            let kind = if self.symbol(".") {
                Kind::Property(Box::new(expr), self.name("a property")?)
            } else if self.symbol("[") {
                self.subscript(expr)?
            } else if self.is_symbol(0, ":") && matches!(expr.kind, Kind::Name(_)) {
                Kind::HasLabels(Box::new(expr), self.labels()?)
            } else {
                return Ok(expr);
            };
            expr = Expr::new(at, kind)?;
        }
    }

    /// After `[`: an index or a slice.
    fn subscript(&mut self, of: Expr) -> Result<Kind, QueryError> {
        let from = if self.is_symbol(0, "..") { None } else { Some(Box::new(self.expression()?)) };
        let kind = if self.symbol("..") {
            let to = if self.is_symbol(0, "]") { None } else { Some(Box::new(self.expression()?)) };
            Kind::Slice(Box::new(of), from, to)
        } else {
            let Some(index) = from else { return Err(self.expected("an index")) };
            Kind::Index(Box::new(of), index)
        };
        self.expect_symbol("]")?;
        Ok(kind)
    }

    fn atom(&mut self) -> Result<Expr, QueryError> {
        let at = self.at();
        let literal = |value| Expr::new(at, Kind::Literal(value));
        match self.peek().clone() {
            Token::Int(number) => {
                self.advance();
                literal(Value::Int(number))
            }
            Token::Float(number) => {
                self.advance();
                literal(Value::Float(number))
            }
            Token::Text(text) => {
                self.advance();
                literal(Value::text(text))
            }
            Token::Symbol("(") if self.path_is_next() => self.exists(at, false),
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expression()?;
                self.expect_symbol(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => self.list(at),
            Token::Symbol("{") => Expr::new(at, Kind::Map(self.map_entries()?)),
            Token::Symbol("$") => {
                Err(invalid(at, "parameters are not supported; write the value into the statement"))
            }
            Token::Quoted(name) => {
                self.advance();
                self.known(at, name)
            }
            Token::Word(word) => self.word(at, word),
            Token::Symbol(_) | Token::End => Err(self.expected("an expression")),
        }
    }

    fn word(&mut self, at: Pos, word: String) -> Result<Expr, QueryError> {
        let lower = word.to_lowercase();
        if self.is_symbol(1, "(") {
            self.advance();
            return self.call(at, &word, &lower);
        }
        let literal = match lower.as_str() {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "case" => {
                self.advance();
                return self.case(at);
            }
            "exists" | "count" | "collect" if self.is_symbol(1, "{") => {
                let text =
                    format!("{word} {{ … }} is not supported; use a path such as (a)-->() as the condition");
                return Err(invalid(at, text));
            }
            _ => {
                self.advance();
                return self.known(at, word);
            }
        };
        self.advance();
        Expr::new(at, Kind::Literal(literal))
    }

    fn known(&self, at: Pos, name: String) -> Result<Expr, QueryError> {
        if self.scope.contains(&name) {
            return Expr::new(at, Kind::Name(name));
        }
        let there = match self.scope.as_slice() {
            [] => "no names are in scope here".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        };
        Err(invalid(at, format!("there is no `{name}` here; {there}")))
    }

    /// `[a, b]` or `[x IN list WHERE filter | map]`
    fn list(&mut self, at: Pos) -> Result<Expr, QueryError> {
        self.expect_symbol("[")?;
        if matches!(self.peek(), Token::Word(_) | Token::Quoted(_)) && self.is_keyword(1, "in") {
            let (name, list) = self.element()?;
            let filter = if self.keyword("where") { Some(Box::new(self.expression()?)) } else { None };
            let map = if self.symbol("|") { Some(Box::new(self.expression()?)) } else { None };
            self.scope.pop();
            self.expect_symbol("]")?;
            return Expr::new(at, Kind::Comprehension { name, list, filter, map });
        }
        Expr::new(at, Kind::List(self.expressions("]")?))
    }

    /// `name IN list`; the name is in scope after it.
    fn element(&mut self) -> Result<(String, Box<Expr>), QueryError> {
        let name = self.name("a name")?;
        self.expect_keyword("in")?;
        let list = Box::new(self.expression()?);
        self.scope.push(name.clone());
        Ok((name, list))
    }

    fn expressions(&mut self, end: &str) -> Result<Vec<Expr>, QueryError> {
        let mut all = Vec::new();
        while !self.symbol(end) {
            if !all.is_empty() {
                self.expect_symbol(",")?;
            }
            all.push(self.expression()?);
        }
        Ok(all)
    }

    fn case(&mut self, at: Pos) -> Result<Expr, QueryError> {
        let subject = if self.is_keyword(0, "when") { None } else { Some(Box::new(self.expression()?)) };
        let mut whens = Vec::new();
        while self.keyword("when") {
            let when = self.expression()?;
            self.expect_keyword("then")?;
            whens.push((when, self.expression()?));
        }
        if whens.is_empty() {
            return Err(self.expected("WHEN"));
        }
        let otherwise = if self.keyword("else") { Some(Box::new(self.expression()?)) } else { None };
        self.expect_keyword("end")?;
        Expr::new(at, Kind::Case { subject, whens, otherwise })
    }

    fn exists(&mut self, at: Pos, closes: bool) -> Result<Expr, QueryError> {
        let path: Path = self.deeper(|parser| parser.path(false))?;
        if closes {
            self.expect_symbol(")")?;
        }
        Expr::new(at, Kind::Exists(Box::new(path)))
    }

    fn call(&mut self, at: Pos, word: &str, lower: &str) -> Result<Expr, QueryError> {
        self.expect_symbol("(")?;
        if let Some(kind) = aggregate(lower) {
            return self.aggregate(at, kind, word);
        }
        if let Some(kind) = quantifier(lower) {
            let (name, list) = self.element()?;
            self.expect_keyword("where")?;
            let filter = Box::new(self.expression()?);
            self.scope.pop();
            self.expect_symbol(")")?;
            return Expr::new(at, Kind::Quantifier { kind, name, list, filter });
        }
        if lower == "exists" {
            if self.is_symbol(0, "(") && self.path_is_next() {
                return self.exists(at, true);
            }
            let inner = self.expression()?;
            self.expect_symbol(")")?;
            return Expr::new(at, Kind::IsNull(Box::new(inner), true));
        }
        let Some(function) = Function::named(lower) else {
            let text = format!("there is no function `{word}`; there are: {}", Function::names());
            return Err(invalid(at, text));
        };
        let arguments = self.expressions(")")?;
        let (least, most) = function.arity();
        if arguments.len() < least || arguments.len() > most {
            let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let text = format!("`{word}` takes {wanted} arguments and got {}", arguments.len());
            return Err(invalid(at, text));
        }
        Expr::new(at, Kind::Call(function, arguments))
    }

    fn aggregate(&mut self, at: Pos, kind: AggregateKind, word: &str) -> Result<Expr, QueryError> {
        if !std::mem::replace(&mut self.aggregates, false) {
            let text =
                format!("`{word}` stands only in WITH, RETURN and their ORDER BY, and not within another");
            return Err(invalid(at, text));
        }
        let all = kind == AggregateKind::Count && self.symbol("*");
        let distinct = !all && self.keyword("distinct");
        let of = if all { None } else { Some(Box::new(self.expression()?)) };
        self.expect_symbol(")")?;
        self.aggregates = true;
        Expr::new(at, Kind::Aggregate(Aggregate { kind, distinct, of }))
    }
}

fn aggregate(lower: &str) -> Option<AggregateKind> {
    Some(match lower {
        "count" => AggregateKind::Count,
        "collect" => AggregateKind::Collect,
        "sum" => AggregateKind::Sum,
        "avg" => AggregateKind::Avg,
        "min" => AggregateKind::Min,
        "max" => AggregateKind::Max,
        _ => return None,
    })
}

fn quantifier(lower: &str) -> Option<Quantifier> {
    Some(match lower {
        "any" => Quantifier::Any,
        "all" => Quantifier::All,
        "none" => Quantifier::None,
        "single" => Quantifier::Single,
        _ => return None,
    })
}
