//! Runs a statement: each clause turns rows into rows.

use super::ast::{Clause, Expr, Path};
use super::error::invalid;
use super::eval::{Env, Machine};
use super::graph::Graph;
use super::meter::Meter;
use super::parser::parse;
use super::project::{Row, project};
use super::value::Value;
use super::{QueryError, RESULT_BYTES_MAX, ROWS_MAX, matching};
use serde_json::Value as Json;
use std::sync::atomic::AtomicBool;

/// One row of the answer: names and typed JSON values (room protocol §3.8), in the order of RETURN.
pub type Record = Vec<(String, Json)>;

/// Bytes that a value takes in the answer at least.
const VALUE_BYTES: usize = 16;

/// Answers a statement over a graph. Takes up to some seconds: not for an async thread. Stops when `cancelled` is set.
pub fn run(statement: &str, graph: &Graph, cancelled: &AtomicBool) -> Result<Vec<Record>, QueryError> {
    let query = parse(statement)?;
    let machine = Machine::new(graph, Meter::new(cancelled));
    let mut names: Vec<String> = Vec::new();
    let mut rows: Vec<Row> = vec![Vec::new()];
    for clause in &query.clauses {
        (names, rows) = match clause {
            Clause::Match { optional, paths, filter } => {
                match_clause(&machine, *optional, paths, filter.as_ref(), names, rows)?
            }
            Clause::Unwind { list, name } => unwind(&machine, list, name, names, rows)?,
            Clause::With { projection, filter } => {
                let (names, mut rows) = project(&machine, projection, &names, rows)?;
                if let Some(filter) = filter {
                    let mut kept = Vec::new();
                    for row in rows {
                        if machine.holds(filter, &Env::new(&names, &row))? {
                            kept.push(row);
                        }
                    }
                    rows = kept;
                }
                (names, rows)
            }
            Clause::Return(projection) => project(&machine, projection, &names, rows)?,
        };
    }
    answer(&machine, &names, &rows)
}

fn keep(rows: &mut Vec<Row>, row: Row) -> Result<(), QueryError> {
    if rows.len() >= ROWS_MAX {
        return Err(QueryError::TooMuch(format!(
            "it has more than {ROWS_MAX} rows between two clauses; narrow the patterns"
        )));
    }
    rows.push(row);
    Ok(())
}

fn match_clause(
    machine: &Machine<'_>,
    optional: bool,
    paths: &[Path],
    filter: Option<&Expr>,
    mut names: Vec<String>,
    rows: Vec<Row>,
) -> Result<(Vec<String>, Vec<Row>), QueryError> {
    let made = paths.iter().flat_map(|path| {
        let steps = path.steps.iter().flat_map(|(edge, node)| [&edge.name, &node.name]);
        [&path.name, &path.start.name].into_iter().chain(steps)
    });
    for name in made.flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let mut all = Vec::new();
    for row in rows {
        let before = all.len();
        matching::matches(machine, paths, &names, &row, &mut |values| {
            let fits = match filter {
                Some(filter) => machine.holds(filter, &Env::new(&names, values))?,
                None => true,
            };
            if fits { keep(&mut all, values.to_vec()) } else { Ok(()) }
        })?;
        if optional && all.len() == before {
            let mut row = row;
            row.resize(names.len(), Value::Null);
            keep(&mut all, row)?;
        }
    }
    Ok((names, all))
}

fn unwind(
    machine: &Machine<'_>,
    list: &Expr,
    name: &str,
    mut names: Vec<String>,
    rows: Vec<Row>,
) -> Result<(Vec<String>, Vec<Row>), QueryError> {
    let mut all = Vec::new();
    for row in rows {
        let items = match machine.eval(list, &Env::new(&names, &row))? {
            Value::Null => continue,
            Value::List(items) => items,
            other => return Err(invalid(list.at, format!("UNWIND needs a list, not {}", other.kind()))),
        };
        for item in items.items() {
            machine.meter.tick(1)?;
            let mut row = row.clone();
            row.push(item.clone());
            keep(&mut all, row)?;
        }
    }
    names.push(name.to_owned());
    Ok((names, all))
}

fn answer(machine: &Machine<'_>, names: &[String], rows: &[Row]) -> Result<Vec<Record>, QueryError> {
    let mut bytes = 0_usize;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        let mut record = Record::with_capacity(names.len());
        for (name, value) in names.iter().zip(row) {
            machine.meter.tick(value.weight())?;
            bytes = bytes.saturating_add(name.len() + size(machine.graph, value));
            if bytes > RESULT_BYTES_MAX {
                return Err(QueryError::TooMuch(format!(
                    "its answer is larger than {RESULT_BYTES_MAX} bytes; add LIMIT or return less"
                )));
            }
            record.push((name.clone(), value.to_typed(machine.graph)));
        }
        records.push(record);
    }
    Ok(records)
}

/// Bytes of a value in the answer, about.
fn size(graph: &Graph, value: &Value) -> usize {
    let inner = match value {
        Value::Text(text) => text.len(),
        Value::Other(json) => json.to_string().len(),
        Value::List(list) | Value::Path(list) => list.items().iter().map(|item| size(graph, item)).sum(),
        Value::Map(map) => map.entries().iter().map(|(key, item)| key.len() + size(graph, item)).sum(),
        Value::Node(node) => size(graph, &Value::Map(graph.node(*node).properties.clone())),
        Value::Edge(edge) => size(graph, &Value::Map(graph.edge(*edge).properties.clone())),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
    };
    inner + VALUE_BYTES
}
