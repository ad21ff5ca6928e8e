//! Tokens into patterns of nodes and relationships.

use super::ast::{Direction, EdgePattern, Expr, Hops, Labels, NodePattern, Path};
use super::error::invalid;
use super::lexer::Token;
use super::parser::Parser;
use super::{HOPS_MAX, PATTERN_PARTS_MAX, QueryError};

impl Parser<'_> {
    /// The patterns of one MATCH; their names come into scope.
    pub fn patterns(&mut self) -> Result<Vec<Path>, QueryError> {
        let (mut paths, mut parts) = (Vec::new(), 0);
        loop {
            let at = self.at();
            let named = matches!(self.peek(), Token::Word(_) | Token::Quoted(_)) && self.is_symbol(1, "=");
            let name = if named {
                let name = self.new_name()?;
                self.expect_symbol("=")?;
                Some(name)
            } else {
                None
            };
            let mut path = self.path(true)?;
            path.name = name;
            parts += 1 + 2 * path.steps.len();
            if parts > PATTERN_PARTS_MAX {
                return Err(invalid(
                    at,
                    format!("a MATCH has at most {PATTERN_PARTS_MAX} nodes and relationships"),
                ));
            }
            paths.push(path);
            if !self.symbol(",") {
                return Ok(paths);
            }
        }
    }

    /// One path. `binds`: new names come into scope; without it they must be there.
    pub fn path(&mut self, binds: bool) -> Result<Path, QueryError> {
        if let Token::Word(word) = self.peek()
            && self.is_symbol(1, "(")
        {
            let text = format!(
                "`{word}` is not supported in a pattern; write the path out, such as (a)-[*1..3]->(b)"
            );
            return Err(invalid(self.at(), text));
        }
        let start = self.node(binds)?;
        let mut steps = Vec::new();
        while self.is_symbol(0, "-") || (self.is_symbol(0, "<") && self.is_symbol(1, "-")) {
            if 1 + 2 * steps.len() >= PATTERN_PARTS_MAX {
                return Err(self.expected(&format!("the end of a path of {PATTERN_PARTS_MAX} parts")));
            }
            let edge = self.edge(binds)?;
            steps.push((edge, self.node(binds)?));
        }
        Ok(Path { name: None, start, steps })
    }

    fn node(&mut self, binds: bool) -> Result<NodePattern, QueryError> {
        self.expect_symbol("(")?;
        let name = self.pattern_name(binds)?;
        let labels = if self.is_symbol(0, ":") { self.labels()? } else { Labels::new() };
        let properties = self.properties()?;
        self.expect_symbol(")")?;
        Ok(NodePattern { name, labels, properties })
    }

    /// A name in a pattern may be used again.
    fn pattern_name(&mut self, binds: bool) -> Result<Option<String>, QueryError> {
        let at = self.at();
        if !matches!(self.peek(), Token::Word(_) | Token::Quoted(_)) {
            return Ok(None);
        }
        let name = self.name("a name")?;
        if !self.scope.contains(&name) {
            if !binds {
                return Err(invalid(
                    at,
                    format!("there is no `{name}` here; a path in a condition makes no names"),
                ));
            }
            self.scope.push(name.clone());
        }
        Ok(Some(name))
    }

    /// `:A`, `:A|B`, `:A:B`, `:A&B`
    pub fn labels(&mut self) -> Result<Labels, QueryError> {
        let mut labels = Labels::new();
        while self.symbol(":") || (!labels.is_empty() && self.symbol("&")) {
            labels.push(self.alternatives("a label")?);
        }
        Ok(labels)
    }

    fn alternatives(&mut self, what: &str) -> Result<Vec<String>, QueryError> {
        let mut any = vec![self.name(what)?.to_lowercase()];
        while self.symbol("|") {
            self.symbol(":");
            any.push(self.name(what)?.to_lowercase());
        }
        Ok(any)
    }

    fn properties(&mut self) -> Result<Vec<(String, Expr)>, QueryError> {
        if self.is_symbol(0, "$") {
            return Err(self.expected("`{`, as parameters are not supported"));
        }
        if self.is_symbol(0, "{") { self.map_entries() } else { Ok(Vec::new()) }
    }

    /// `{a: 1, b: 2}`
    pub fn map_entries(&mut self) -> Result<Vec<(String, Expr)>, QueryError> {
        self.expect_symbol("{")?;
        let mut entries: Vec<(String, Expr)> = Vec::new();
        while !self.symbol("}") {
            if !entries.is_empty() {
                self.expect_symbol(",")?;
            }
            let at = self.at();
            let key = self.name("a key")?;
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(invalid(at, format!("the key `{key}` stands here twice")));
            }
            self.expect_symbol(":")?;
            entries.push((key, self.expression()?));
        }
        Ok(entries)
    }

    fn edge(&mut self, binds: bool) -> Result<EdgePattern, QueryError> {
        let left = self.symbol("<");
        self.expect_symbol("-")?;
        let (mut name, mut types, mut hops, mut properties) = (None, Vec::new(), None, Vec::new());
        if self.symbol("[") {
            name = self.pattern_name(binds)?;
            if self.symbol(":") {
                types = self.alternatives("a type")?;
            }
            if self.symbol("*") {
                hops = Some(self.hops()?);
            }
            properties = self.properties()?;
            self.expect_symbol("]")?;
        }
        self.expect_symbol("-")?;
        let right = self.symbol(">");
        let direction = match (left, right) {
            (true, false) => Direction::Left,
            (false, true) => Direction::Right,
            _ => Direction::Either,
        };
        Ok(EdgePattern { name, types, direction, hops, properties })
    }

    /// After `*`: nothing, `n`, `n..`, `..m` or `n..m`
    fn hops(&mut self) -> Result<Hops, QueryError> {
        let at = self.at();
        let min = self.hop_count()?;
        let hops = if self.symbol("..") {
            Hops { min: min.unwrap_or(1), max: self.hop_count()? }
        } else {
            Hops { min: min.unwrap_or(1), max: min }
        };
        match hops.max {
            Some(max) if max < hops.min => Err(invalid(at, "the range of hops ends before it begins")),
            _ => Ok(hops),
        }
    }

    fn hop_count(&mut self) -> Result<Option<u32>, QueryError> {
        let Token::Int(count) = *self.peek() else { return Ok(None) };
        let fits = u32::try_from(count).ok().filter(|count| *count <= HOPS_MAX);
        let count = fits.ok_or_else(|| invalid(self.at(), format!("a path has at most {HOPS_MAX} hops")))?;
        self.advance();
        Ok(Some(count))
    }

    /// Whether the parenthesis that is next begins a path and not an expression: what follows its end tells.
    pub fn path_is_next(&self) -> bool {
        let (mut depth, mut ahead) = (0_usize, 0);
        loop {
            match self.peek_at(ahead) {
                Token::End => return false,
                Token::Symbol("(") => depth += 1,
                Token::Symbol(")") => depth -= 1,
                // Neither stands within a node outside of a map's values.
                Token::Symbol("+" | "/" | "%" | "^" | "=" | "<>" | "=~") if depth == 1 => return false,
                _ => {}
            }
            ahead += 1;
            if depth == 0 {
                break;
            }
        }
        let dash = |ahead| self.is_symbol(ahead, "-");
        let after_dash = |ahead| self.is_symbol(ahead, "-") || self.is_symbol(ahead, "[");
        (dash(ahead) && after_dash(ahead + 1))
            || (self.is_symbol(ahead, "<") && dash(ahead + 1) && after_dash(ahead + 2))
    }
}
