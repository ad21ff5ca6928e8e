//! WITH and RETURN: items, groups, order, and which rows remain.

use super::ast::{Aggregate, AggregateKind, Expr, Item, Projection};
use super::error::{Pos, invalid};
use super::eval::{Env, Machine};
use super::matching::row_count;
use super::value::Value;
use super::{QueryError, operators};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

pub(super) type Row = Vec<Value>;

/// The rows that a projection makes of `rows`, and their names.
pub(super) fn project(
    machine: &Machine<'_>,
    projection: &Projection,
    names: &[String],
    rows: Vec<Row>,
) -> Result<(Vec<String>, Vec<Row>), QueryError> {
    let mut after: Vec<String> = if projection.star { names.to_vec() } else { Vec::new() };
    after.extend(projection.items.iter().map(|item| item.name.clone()));
    let aggregated = projection.items.iter().any(|item| item.expr.has_aggregate());
    let mut made = if aggregated {
        grouped(machine, projection, names, &rows)?
    } else {
        plain(machine, projection, names, rows)?
    };
    if projection.distinct {
        let mut seen = HashSet::new();
        made.retain(|row| seen.insert(key(&row.values)));
    }
    order(machine, projection, names, &after, &mut made, aggregated || projection.distinct)?;
    let constant = |expr: &Option<Expr>| match expr {
        None => Ok(None),
        Some(expr) => row_count(expr.at, &machine.eval(expr, &Env::new(&[], &[]))?).map(Some),
    };
    let skip = constant(&projection.skip)?.unwrap_or(0);
    let limit = constant(&projection.limit)?.unwrap_or(usize::MAX);
    Ok((after, made.into_iter().skip(skip).take(limit).map(|row| row.values).collect()))
}

/// A row of the answer with the one it comes from, for ORDER BY.
struct Made {
    values: Row,
    from: Row,
}

fn plain(
    machine: &Machine<'_>,
    projection: &Projection,
    names: &[String],
    rows: Vec<Row>,
) -> Result<Vec<Made>, QueryError> {
    let make = |from: Row| {
        let mut values =
            if projection.star { from.clone() } else { Row::with_capacity(projection.items.len()) };
        for item in &projection.items {
            values.push(machine.eval(&item.expr, &Env::new(names, &from))?);
        }
        Ok(Made { values, from })
    };
    rows.into_iter().map(make).collect()
}

fn grouped(
    machine: &Machine<'_>,
    projection: &Projection,
    names: &[String],
    rows: &[Row],
) -> Result<Vec<Made>, QueryError> {
    for item in projection.items.iter().filter(|item| item.expr.has_aggregate()) {
        let mut other = None;
        item.expr.names(&mut |name| other = Some(name));
        if let Some(name) = other {
            let text = format!("`{name}` stands beside an aggregate; make it a column of a WITH before");
            return Err(invalid(item.expr.at, text));
        }
    }
    let keys: Vec<&Item> = projection.items.iter().filter(|item| !item.expr.has_aggregate()).collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        let mut values = if projection.star { row.clone() } else { Row::new() };
        for item in &keys {
            values.push(machine.eval(&item.expr, &Env::new(names, row))?);
        }
        let place = *places.entry(key(&values)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(row);
    }
    // Without keys all rows are one group, also when there are none.
    if groups.is_empty() && keys.is_empty() && !projection.star {
        groups.push(Vec::new());
    }
    let empty = vec![Value::Null; names.len()];
    let make = |group: Vec<&Row>| {
        let first: &Row = group.first().copied().unwrap_or(&empty);
        let mut wanted: Vec<(&Expr, &Aggregate)> = Vec::new();
        for item in &projection.items {
            item.expr.aggregates(&mut |expr, aggregate| wanted.push((expr, aggregate)));
        }
        let known = wanted
            .into_iter()
            .map(|(expr, aggregate)| Ok((expr, aggregate_of(machine, expr.at, aggregate, names, &group)?)));
        let known: Vec<(&Expr, Value)> = known.collect::<Result<_, QueryError>>()?;
        let mut values = if projection.star { first.clone() } else { Row::new() };
        for item in &projection.items {
            let env = Env { names, values: first, local: None, aggregates: &known };
            values.push(machine.eval(&item.expr, &env)?);
        }
        Ok(Made { values, from: Row::new() })
    };
    groups.into_iter().map(make).collect()
}

/// Tells rows apart.
fn key(values: &[Value]) -> String {
    let mut key = String::new();
    values.iter().for_each(|value| value.write_key(&mut key));
    key
}

/// Nulls do not count.
fn aggregate_of(
    machine: &Machine<'_>,
    at: Pos,
    aggregate: &Aggregate,
    names: &[String],
    group: &[&Row],
) -> Result<Value, QueryError> {
    let Some(of) = &aggregate.of else {
        return Ok(Value::Int(i64::try_from(group.len()).unwrap_or(i64::MAX)));
    };
    let mut values = Vec::new();
    let mut seen = HashSet::new();
    for row in group {
        let value = machine.eval(of, &Env::new(names, row))?;
        if value != Value::Null && (!aggregate.distinct || seen.insert(key(std::slice::from_ref(&value)))) {
            values.push(value);
        }
    }
    let count = values.len();
    Ok(match aggregate.kind {
        AggregateKind::Count => Value::Int(i64::try_from(count).unwrap_or(i64::MAX)),
        AggregateKind::Collect => Value::list(values)?,
        AggregateKind::Sum => sum(at, &values)?,
        #[allow(clippy::cast_precision_loss, reason = "a number of rows")]
        AggregateKind::Avg => match sum(at, &values)?.number() {
            Some(total) if count > 0 => Value::Float(total / count as f64),
            _ => Value::Null,
        },
        AggregateKind::Min => values.into_iter().min_by(Value::order).unwrap_or(Value::Null),
        AggregateKind::Max => values.into_iter().max_by(Value::order).unwrap_or(Value::Null),
    })
}

fn sum(at: Pos, values: &[Value]) -> Result<Value, QueryError> {
    values.iter().try_fold(Value::Int(0), |total, value| match value {
        Value::Int(_) | Value::Float(_) => operators::apply(super::ast::Op::Add, at, &total, value),
        other => Err(invalid(at, format!("{} cannot be summed up", other.kind()))),
    })
}

/// Sorts by what ORDER BY says. It sees the new names and, where rows are still what they were, the old ones.
fn order(
    machine: &Machine<'_>,
    projection: &Projection,
    before: &[String],
    after: &[String],
    rows: &mut Vec<Made>,
    changed: bool,
) -> Result<(), QueryError> {
    if projection.order.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = after.iter().chain(before.iter().filter(|_| !changed)).cloned().collect();
    let starred = if projection.star { before.len() } else { 0 };
    let column = |expr: &Expr| {
        let item = projection.items.iter().position(|item| item.expr == *expr)?;
        Some(starred + item)
    };
    let columns: Vec<Option<usize>> = projection.order.iter().map(|sort| column(&sort.expr)).collect();
    for (sort, column) in projection.order.iter().zip(&columns) {
        if changed && column.is_none() {
            check_order(&sort.expr, after)?;
        }
    }
    let mut keyed = Vec::with_capacity(rows.len());
    for row in rows.drain(..) {
        let values: Row = row.values.iter().chain(&row.from).cloned().collect();
        let mut keys = Row::with_capacity(columns.len());
        for (sort, column) in projection.order.iter().zip(&columns) {
            keys.push(match column {
                Some(column) => row.values[*column].clone(),
                None => machine.eval(&sort.expr, &Env::new(&names, &values))?,
            });
        }
        machine.meter.tick(1 + keys.iter().map(Value::weight).sum::<usize>())?;
        keyed.push((keys, row));
    }
    keyed.sort_by(|(a, _), (b, _)| {
        let pairs = projection.order.iter().zip(a.iter().zip(b));
        let mut orders = pairs.map(|(sort, (a, b))| if sort.descending { b.order(a) } else { a.order(b) });
        orders.find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
    });
    rows.extend(keyed.into_iter().map(|(_, row)| row));
    Ok(())
}

/// After DISTINCT or an aggregate the old names are gone.
fn check_order(expr: &Expr, names: &[String]) -> Result<(), QueryError> {
    if expr.has_aggregate() {
        return Err(invalid(expr.at, "an aggregate in ORDER BY must also be a column; add it with AS"));
    }
    let mut gone = None;
    expr.names(&mut |name| {
        if !names.iter().any(|known| known == name) {
            gone = Some(name.to_owned());
        }
    });
    match gone {
        None => Ok(()),
        Some(name) => Err(invalid(
            expr.at,
            format!("`{name}` is no column of this projection; order by one of: {}", names.join(", ")),
        )),
    }
}
