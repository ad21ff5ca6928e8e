//! What a statement says.

use super::error::{Pos, invalid};
use super::functions::Function;
use super::value::Value;
use super::{EXPRESSION_DEPTH_MAX, QueryError};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    /// The last one is `Return`.
    pub clauses: Vec<Clause>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Clause {
    Match { optional: bool, paths: Vec<Path>, filter: Option<Expr> },
    Unwind { list: Expr, name: String },
    With { projection: Projection, filter: Option<Expr> },
    Return(Projection),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Projection {
    pub distinct: bool,
    /// `*`: all names so far, before the items.
    pub star: bool,
    pub items: Vec<Item>,
    pub order: Vec<Sort>,
    pub skip: Option<Expr>,
    pub limit: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub expr: Expr,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sort {
    pub expr: Expr,
    pub descending: bool,
}

/// `(a)-[r]->(b)…`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    pub name: Option<String>,
    pub start: NodePattern,
    pub steps: Vec<(EdgePattern, NodePattern)>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct NodePattern {
    pub name: Option<String>,
    pub labels: Labels,
    pub properties: Vec<(String, Expr)>,
}

/// In lower case; one of each inner list.
pub(super) type Labels = Vec<Vec<String>>;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct EdgePattern {
    pub name: Option<String>,
    /// In lower case; any of them, or all types when empty.
    pub types: Vec<String>,
    pub direction: Direction,
    pub hops: Option<Hops>,
    pub properties: Vec<(String, Expr)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Right,
    Left,
    Either,
}

impl Direction {
    pub const fn reversed(self) -> Self {
        match self {
            Self::Right => Self::Left,
            Self::Left => Self::Right,
            Self::Either => Self::Either,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hops {
    pub min: u32,
    /// `None`: written without an end.
    pub max: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expr {
    pub at: Pos,
    pub kind: Kind,
    /// Levels of nesting, itself counted.
    depth: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Literal(Value),
    Name(String),
    Property(Box<Expr>, String),
    Index(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    IsNull(Box<Expr>, bool),
    HasLabels(Box<Expr>, Labels),
    Call(Function, Vec<Expr>),
    Aggregate(Aggregate),
    Case {
        subject: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    /// `[name IN list WHERE filter | map]`
    Comprehension {
        name: String,
        list: Box<Expr>,
        filter: Option<Box<Expr>>,
        map: Option<Box<Expr>>,
    },
    /// `any(name IN list WHERE filter)` and its like.
    Quantifier {
        kind: Quantifier,
        name: String,
        list: Box<Expr>,
        filter: Box<Expr>,
    },
    /// A path that exists.
    Exists(Box<Path>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Aggregate {
    pub kind: AggregateKind,
    pub distinct: bool,
    /// `None`: `count(*)`.
    pub of: Option<Box<Expr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AggregateKind {
    Count,
    Collect,
    Sum,
    Avg,
    Min,
    Max,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    Any,
    All,
    None,
    Single,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Or,
    Xor,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    StartsWith,
    EndsWith,
    Contains,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

impl Expr {
    /// Refuses what is nested too deep, whether by parentheses or by a long row of operators.
    pub fn new(at: Pos, kind: Kind) -> Result<Self, QueryError> {
        let mut expr = Self { at, kind, depth: 0 };
        let mut deepest = 0;
        expr.children(&mut |child| deepest = deepest.max(child.depth));
        if deepest >= EXPRESSION_DEPTH_MAX {
            let text = format!("an expression is nested more than {EXPRESSION_DEPTH_MAX} deep");
            return Err(invalid(at, text));
        }
        expr.depth = deepest + 1;
        Ok(expr)
    }

    /// Calls `visit` with each expression right below this one.
    fn children<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match &self.kind {
            Kind::Literal(_) | Kind::Name(_) | Kind::Exists(_) => {}
            Kind::Property(e, _)
            | Kind::Not(e)
            | Kind::Negate(e)
            | Kind::IsNull(e, _)
            | Kind::HasLabels(e, _) => visit(e),
            Kind::Index(a, b) | Kind::Binary(_, a, b) => [a, b].into_iter().for_each(|e| visit(e)),
            Kind::Slice(e, a, b) => {
                visit(e);
                a.iter().chain(b).for_each(|e| visit(e));
            }
            Kind::List(items) | Kind::Call(_, items) => items.iter().for_each(visit),
            Kind::Map(entries) => entries.iter().for_each(|(_, e)| visit(e)),
            Kind::Aggregate(aggregate) => aggregate.of.iter().for_each(|e| visit(e)),
            Kind::Case { subject, whens, otherwise } => {
                subject.iter().chain(otherwise).for_each(|e| visit(e));
                whens.iter().flat_map(|(when, then)| [when, then]).for_each(visit);
            }
            Kind::Comprehension { list, filter, map, .. } => {
                visit(list);
                filter.iter().chain(map).for_each(|e| visit(e));
            }
            Kind::Quantifier { list, filter, .. } => [list, filter].into_iter().for_each(|e| visit(e)),
        }
    }

    /// Calls `visit` with each aggregate in this expression.
    pub fn aggregates<'a>(&'a self, visit: &mut dyn FnMut(&'a Self, &'a Aggregate)) {
        match &self.kind {
            Kind::Aggregate(aggregate) => visit(self, aggregate),
            _ => self.children(&mut |child| child.aggregates(visit)),
        }
    }

    pub fn has_aggregate(&self) -> bool {
        let mut found = false;
        self.aggregates(&mut |_, _| found = true);
        found
    }

    /// Calls `visit` with each name that is used outside of aggregates, those of comprehensions left out.
    pub fn names<'a>(&'a self, visit: &mut dyn FnMut(&'a str)) {
        let within = match &self.kind {
            Kind::Name(name) => return visit(name),
            Kind::Aggregate(_) => return,
            Kind::Comprehension { name, .. } | Kind::Quantifier { name, .. } => Some(name),
            _ => None,
        };
        self.children(&mut |child| {
            child.names(&mut |used| {
                if Some(used) != within.map(String::as_str) {
                    visit(used);
                }
            });
        });
    }
}
