//! The value of an expression for one row.

use super::ast::{Expr, Kind, Labels, Op, Quantifier};
use super::error::invalid;
use super::functions::call;
use super::graph::Graph;
use super::meter::Meter;
use super::value::Value;
use super::{QueryError, matching, operators};
use regex::Regex;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// Compiled patterns kept during one query.
const REGEXES_MAX: usize = 16;
/// Largest compiled pattern, bytes.
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// What an evaluation runs with.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub graph: &'a Graph,
    pub meter: Meter<'a>,
    regexes: RefCell<HashMap<String, Regex>>,
}

/// The names an expression sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Env<'a> {
    pub names: &'a [String],
    /// As many as names, or fewer where the last ones have no value yet.
    pub values: &'a [Value],
    /// The name of a comprehension; shadows the others.
    pub local: Option<&'a Local<'a>>,
    /// Values of the aggregates of a group.
    pub aggregates: &'a [(&'a Expr, Value)],
}

/// A name of a comprehension.
#[derive(Debug)]
pub(super) struct Local<'a> {
    name: &'a str,
    value: Value,
    outer: Option<&'a Local<'a>>,
}

impl<'a> Env<'a> {
    pub fn new(names: &'a [String], values: &'a [Value]) -> Self {
        Self { names, values, local: None, aggregates: &[] }
    }

    /// All names with their values; the inner ones first, as they shadow.
    pub fn flat(&self) -> (Vec<String>, Vec<Value>) {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        let mut local = self.local;
        while let Some(one) = local {
            names.push(one.name.to_owned());
            values.push(one.value.clone());
            local = one.outer;
        }
        names.extend_from_slice(self.names);
        values.extend_from_slice(self.values);
        values.resize(names.len(), Value::Null);
        (names, values)
    }

    fn get(&self, name: &str) -> Value {
        let mut local = self.local;
        while let Some(one) = local {
            if one.name == name {
                return one.value.clone();
            }
            local = one.outer;
        }
        let place = self.names.iter().position(|known| known == name);
        place.and_then(|place| self.values.get(place)).cloned().unwrap_or(Value::Null)
    }
}

impl<'a> Machine<'a> {
    pub fn new(graph: &'a Graph, meter: Meter<'a>) -> Self {
        Self { graph, meter, regexes: RefCell::default() }
    }

    pub fn eval(&self, expr: &Expr, env: &Env<'_>) -> Result<Value, QueryError> {
        self.meter.tick(1)?;
        let value = match &expr.kind {
            Kind::Literal(value) => return Ok(value.clone()),
            Kind::Name(name) => return Ok(env.get(name)),
            Kind::Property(of, name) => self.property(expr, &self.eval(of, env)?, name)?,
            Kind::Index(of, index) => {
                operators::index(expr.at, self.graph, &self.eval(of, env)?, &self.eval(index, env)?)?
            }
            Kind::Slice(of, from, to) => {
                let end = |end: &Option<Box<Expr>>| end.as_ref().map(|e| self.eval(e, env)).transpose();
                operators::slice(expr.at, &self.eval(of, env)?, end(from)?, end(to)?)?
            }
            Kind::List(items) => {
                Value::list(items.iter().map(|item| self.eval(item, env)).collect::<Result<_, _>>()?)?
            }
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(key, e)| Ok((key.clone(), self.eval(e, env)?)));
                Value::map(entries.collect::<Result<BTreeMap<_, _>, QueryError>>()?)?
            }
            Kind::Not(inner) => {
                operators::truth(inner.at, &self.eval(inner, env)?)?.map_or(Value::Null, |b| Value::Bool(!b))
            }
            Kind::Negate(inner) => operators::negate(expr.at, &self.eval(inner, env)?)?,
            Kind::Binary(op, left, right) => self.binary(expr, *op, left, right, env)?,
            Kind::IsNull(inner, negated) => Value::Bool((self.eval(inner, env)? == Value::Null) != *negated),
            Kind::HasLabels(inner, labels) => self.has_labels(expr, &self.eval(inner, env)?, labels)?,
            Kind::Call(function, arguments) => {
                let values: Vec<Value> =
                    arguments.iter().map(|a| self.eval(a, env)).collect::<Result<_, _>>()?;
                self.meter.tick(values.iter().map(Value::weight).sum())?;
                call(*function, expr.at, self.graph, &values)?
            }
            Kind::Aggregate(_) => {
                let known = env.aggregates.iter().find(|(of, _)| std::ptr::eq(*of, expr));
                let text = "an aggregate stands where there is no group";
                return known.map(|(_, value)| value.clone()).ok_or_else(|| invalid(expr.at, text));
            }
            Kind::Case { subject, whens, otherwise } => {
                self.case(subject.as_deref(), whens, otherwise.as_deref(), env)?
            }
            Kind::Comprehension { name, list, filter, map } => {
                let mut made = Vec::new();
                self.each(name, list, env, &mut |machine, env| {
                    if let Some(filter) = filter
                        && !machine.holds(filter, env)?
                    {
                        return Ok(());
                    }
                    made.push(map.as_ref().map_or_else(|| Ok(env.get(name)), |map| machine.eval(map, env))?);
                    Ok(())
                })?;
                Value::list(made)?
            }
            Kind::Quantifier { kind, name, list, filter } => {
                self.quantified(*kind, name, list, filter, env)?
            }
            Kind::Exists(path) => Value::Bool(matching::exists(self, path, env)?),
        };
        self.meter.tick(value.weight())?;
        Ok(value)
    }

    /// Whether a condition is true; null is not.
    pub fn holds(&self, condition: &Expr, env: &Env<'_>) -> Result<bool, QueryError> {
        let value = self.eval(condition, env)?;
        Ok(operators::truth(condition.at, &value)? == Some(true))
    }

    fn property(&self, expr: &Expr, of: &Value, name: &str) -> Result<Value, QueryError> {
        self.graph
            .property(of, name)
            .ok_or_else(|| invalid(expr.at, format!("{} has no properties, so no `{name}`", of.kind())))
    }

    fn has_labels(&self, expr: &Expr, of: &Value, labels: &Labels) -> Result<Value, QueryError> {
        match of {
            Value::Null => Ok(Value::Null),
            Value::Node(node) => Ok(Value::Bool(matching::has_labels(self.graph, *node, labels))),
            other => Err(invalid(expr.at, format!("{} has no labels; only nodes have", other.kind()))),
        }
    }

    fn binary(
        &self,
        expr: &Expr,
        op: Op,
        left: &Expr,
        right: &Expr,
        env: &Env<'_>,
    ) -> Result<Value, QueryError> {
        let a = self.eval(left, env)?;
        if let Op::And | Op::Or = op {
            let decided = op == Op::Or;
            let first = operators::truth(left.at, &a)?;
            if first == Some(decided) {
                return Ok(Value::Bool(decided));
            }
            let second = operators::truth(right.at, &self.eval(right, env)?)?;
            return Ok(match (first, second) {
                (_, Some(second)) if second == decided => Value::Bool(decided),
                (Some(_), Some(_)) => Value::Bool(!decided),
                _ => Value::Null,
            });
        }
        let b = self.eval(right, env)?;
        self.meter.tick(a.weight() + b.weight())?;
        match op {
            Op::Matches => self.matches(expr, &a, &b),
            _ => operators::apply(op, expr.at, &a, &b),
        }
    }

    /// The whole text against the pattern.
    fn matches(&self, expr: &Expr, text: &Value, pattern: &Value) -> Result<Value, QueryError> {
        let (Value::Text(text), Value::Text(pattern)) = (text, pattern) else { return Ok(Value::Null) };
        let mut regexes = self.regexes.borrow_mut();
        if let Some(regex) = regexes.get(pattern.as_ref()) {
            return Ok(Value::Bool(regex.is_match(text)));
        }
        let regex = regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|error| invalid(expr.at, format!("the pattern after =~ is not one: {error}")))?;
        let matches = regex.is_match(text);
        if regexes.len() < REGEXES_MAX {
            regexes.insert(pattern.to_string(), regex);
        }
        Ok(Value::Bool(matches))
    }

    fn case(
        &self,
        subject: Option<&Expr>,
        whens: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
        env: &Env<'_>,
    ) -> Result<Value, QueryError> {
        let subject = subject.map(|subject| self.eval(subject, env)).transpose()?;
        for (when, then) in whens {
            let chosen = match &subject {
                Some(subject) => subject.equals(&self.eval(when, env)?) == Some(true),
                None => self.holds(when, env)?,
            };
            if chosen {
                return self.eval(then, env);
            }
        }
        otherwise.map_or(Ok(Value::Null), |otherwise| self.eval(otherwise, env))
    }

    /// Calls `visit` with each element of a list in scope as `name`. Null is an empty list.
    fn each(
        &self,
        name: &str,
        list: &Expr,
        env: &Env<'_>,
        visit: &mut dyn FnMut(&Self, &Env<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let value = self.eval(list, env)?;
        let items = match &value {
            Value::Null => return Ok(()),
            Value::List(items) => items.items(),
            other => {
                return Err(invalid(list.at, format!("a list is needed after IN, not {}", other.kind())));
            }
        };
        for item in items {
            let local = Local { name, value: item.clone(), outer: env.local };
            let inner =
                Env { names: env.names, values: env.values, local: Some(&local), aggregates: env.aggregates };
            visit(self, &inner)?;
        }
        Ok(())
    }

    fn quantified(
        &self,
        kind: Quantifier,
        name: &str,
        list: &Expr,
        filter: &Expr,
        env: &Env<'_>,
    ) -> Result<Value, QueryError> {
        let (mut all, mut met) = (0_usize, 0_usize);
        self.each(name, list, env, &mut |machine, env| {
            all += 1;
            met += usize::from(machine.holds(filter, env)?);
            Ok(())
        })?;
        Ok(Value::Bool(match kind {
            Quantifier::Any => met > 0,
            Quantifier::All => met == all,
            Quantifier::None => met == 0,
            Quantifier::Single => met == 1,
        }))
    }
}
