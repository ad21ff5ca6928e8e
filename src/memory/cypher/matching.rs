//! Finds what patterns match. Within one MATCH no relationship is used twice.

use super::ast::{Direction, EdgePattern, Expr, Hops, Labels, NodePattern, Path};
use super::error::{Pos, invalid};
use super::eval::{Env, Machine};
use super::graph::Graph;
use super::value::Value;
use super::{HOPS_MAX, QueryError};
use std::borrow::Cow;

/// Whether a node has one label of each group.
pub(super) fn has_labels(graph: &Graph, node: usize, labels: &Labels) -> bool {
    let own = &graph.node(node).labels;
    labels.iter().all(|any| any.iter().any(|label| own.iter().any(|l| l.to_lowercase() == *label)))
}

/// All matches of `paths` that agree with `row`, whose values are those of the first names. Each is handed to `found`
/// with a value for every name.
pub(super) fn matches(
    machine: &Machine<'_>,
    paths: &[Path],
    names: &[String],
    row: &[Value],
    found: &mut dyn FnMut(&[Value]) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let mut values = row.to_vec();
    values.resize(names.len(), Value::Null);
    let mut bound: Vec<bool> = (0..names.len()).map(|n| n < row.len()).collect();
    let paths: Vec<Cow<'_, Path>> = paths.iter().map(|path| oriented(path, names, &mut bound)).collect();
    let bound = (0..names.len()).map(|n| n < row.len()).collect();
    let mut search =
        Search { machine, paths: &paths, names, values, bound, used: Vec::new(), trail: Vec::new(), found };
    search.path(0)
}

/// Whether a path of a condition matches at all.
pub(super) fn exists(machine: &Machine<'_>, path: &Path, env: &Env<'_>) -> Result<bool, QueryError> {
    let (names, values) = env.flat();
    let mut any = false;
    let mut found = |_: &[Value]| {
        any = true;
        // Ends the search; told apart from a real cancellation by `any`.
        Err(QueryError::Cancelled)
    };
    let searched = matches(machine, std::slice::from_ref(path), &names, &values, &mut found);
    match searched {
        _ if any => Ok(true),
        Ok(()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Begins at the end that is already bound, or at the one that says more. Paths with a name, or with a named
/// relationship of variable length, stay as they are written.
fn oriented<'p>(path: &'p Path, names: &[String], bound: &mut [bool]) -> Cow<'p, Path> {
    let slot = |name: &Option<String>| name.as_ref().and_then(|n| names.iter().position(|known| known == n));
    let is_bound = |node: &NodePattern| slot(&node.name).is_some_and(|slot| bound[slot]);
    let fixed = path.name.is_some() || path.steps.iter().any(|(e, _)| e.hops.is_some() && e.name.is_some());
    let Some((_, end)) = path.steps.last().filter(|_| !fixed) else {
        mark(path, names, bound);
        return Cow::Borrowed(path);
    };
    let score = |bound: bool, node: &NodePattern| {
        if bound {
            3
        } else {
            i32::from(!node.properties.is_empty()) * 2 + i32::from(!node.labels.is_empty())
        }
    };
    let (at_start, at_end) = (score(is_bound(&path.start), &path.start), score(is_bound(end), end));
    mark(path, names, bound);
    if at_end <= at_start {
        return Cow::Borrowed(path);
    }
    let mut nodes: Vec<&NodePattern> =
        std::iter::once(&path.start).chain(path.steps.iter().map(|(_, n)| n)).collect();
    nodes.reverse();
    let edges = path
        .steps
        .iter()
        .rev()
        .map(|(edge, _)| EdgePattern { direction: edge.direction.reversed(), ..edge.clone() });
    let steps = edges.zip(nodes.iter().skip(1)).map(|(edge, node)| (edge, (*node).clone())).collect();
    Cow::Owned(Path { name: None, start: end.clone(), steps })
}

fn mark(path: &Path, names: &[String], bound: &mut [bool]) {
    let made = path.steps.iter().flat_map(|(e, n)| [&e.name, &n.name]).chain([&path.start.name, &path.name]);
    for name in made.flatten() {
        if let Some(slot) = names.iter().position(|known| known == name) {
            bound[slot] = true;
        }
    }
}

struct Search<'m, 's> {
    machine: &'m Machine<'m>,
    paths: &'s [Cow<'s, Path>],
    names: &'s [String],
    values: Vec<Value>,
    bound: Vec<bool>,
    /// Relationships of this match so far.
    used: Vec<usize>,
    /// Nodes and relationships of the path so far.
    trail: Vec<Value>,
    found: &'s mut dyn FnMut(&[Value]) -> Result<(), QueryError>,
}

type Done = Result<(), QueryError>;

impl Search<'_, '_> {
    fn path(&mut self, which: usize) -> Done {
        let paths = self.paths;
        let Some(path) = paths.get(which) else { return (self.found)(&self.values) };
        let outer = std::mem::take(&mut self.trail);
        let graph = self.machine.graph;
        let start = &path.start;
        let done = if let Some(slot) = self.slot(start.name.as_deref()).filter(|slot| self.bound[*slot]) {
            match self.values[slot] {
                Value::Node(node) => self.begin(which, node),
                _ => Ok(()),
            }
        } else {
            match start.labels.first().map(Vec::as_slice) {
                None => self.begin_each(which, graph.plain()),
                Some([label]) => self.begin_each(which, graph.labelled(label)),
                Some(any) => {
                    let mut nodes: Vec<usize> = any.iter().flat_map(|l| graph.labelled(l)).copied().collect();
                    nodes.sort_unstable();
                    nodes.dedup();
                    self.begin_each(which, &nodes)
                }
            }
        };
        self.trail = outer;
        done
    }

    fn begin_each(&mut self, which: usize, nodes: &[usize]) -> Done {
        nodes.iter().try_for_each(|node| self.begin(which, *node))
    }

    fn begin(&mut self, which: usize, node: usize) -> Done {
        let paths = self.paths;
        self.at_node(&paths[which].start, node, &mut |search| search.step(which, 0, node))
    }

    /// Goes on with `then` if the node fits.
    fn at_node(
        &mut self,
        pattern: &NodePattern,
        node: usize,
        then: &mut dyn FnMut(&mut Self) -> Done,
    ) -> Done {
        self.machine.meter.tick(1)?;
        if !has_labels(self.machine.graph, node, &pattern.labels) {
            return Ok(());
        }
        let Some(undo) = self.bind(pattern.name.as_deref(), Value::Node(node)) else { return Ok(()) };
        self.trail.push(Value::Node(node));
        let done = match self.has_properties(&Value::Node(node), &pattern.properties) {
            Ok(true) => then(self),
            other => other.map(drop),
        };
        self.trail.pop();
        self.unbind(undo);
        done
    }

    fn step(&mut self, which: usize, step: usize, node: usize) -> Done {
        let paths = self.paths;
        let path = &paths[which];
        let Some((edge, target)) = path.steps.get(step) else {
            let Some(name) = path.name.as_deref() else { return self.path(which + 1) };
            let Some(undo) = self.bind(Some(name), Value::path(self.trail.clone())?) else { return Ok(()) };
            let done = self.path(which + 1);
            self.unbind(undo);
            return done;
        };
        let Some(hops) = edge.hops else {
            return self.each_edge(edge, node, &mut |search, number, end| {
                let Some(undo) = search.bind(edge.name.as_deref(), Value::Edge(number)) else {
                    return Ok(());
                };
                let done = search.at_node(target, end, &mut |search| search.step(which, step + 1, end));
                search.unbind(undo);
                done
            });
        };
        self.hop((which, step), hops, node, &mut Vec::new())
    }

    /// `edges`: the relationships of this variable-length step so far.
    fn hop(&mut self, place: (usize, usize), hops: Hops, node: usize, edges: &mut Vec<Value>) -> Done {
        let (which, step) = place;
        let paths = self.paths;
        let (edge, target) = &paths[which].steps[step];
        if edges.len() >= hops.min as usize
            && let Some(undo) = self.bind(edge.name.as_deref(), Value::list(edges.clone())?)
        {
            // The node of the last hop is on the trail already.
            let own = self.trail.pop();
            let done = self.at_node(target, node, &mut |search| search.step(which, step + 1, node));
            self.trail.extend(own);
            self.unbind(undo);
            done?;
        }
        let longest = hops.max.unwrap_or(HOPS_MAX) as usize;
        if edges.len() >= longest {
            return match hops.max {
                Some(_) => Ok(()),
                None => self.endless(edge, node),
            };
        }
        self.each_edge(edge, node, &mut |search, number, end| {
            edges.push(Value::Edge(number));
            search.trail.push(Value::Node(end));
            let done = search.hop(place, hops, end, edges);
            search.trail.pop();
            edges.pop();
            done
        })
    }

    /// A path without an end reached the longest that is looked at: an error if it goes on, never half an answer.
    fn endless(&mut self, edge: &EdgePattern, node: usize) -> Done {
        self.each_edge(edge, node, &mut |_, _, _| {
            Err(QueryError::TooMuch(format!(
                "a path is longer than {HOPS_MAX} hops; give the pattern an end, such as [*1..3]"
            )))
        })
    }

    /// Calls `then` with each unused relationship of the node that fits, and its other end; it is on the trail then.
    fn each_edge(
        &mut self,
        pattern: &EdgePattern,
        node: usize,
        then: &mut dyn FnMut(&mut Self, usize, usize) -> Done,
    ) -> Done {
        let graph = self.machine.graph;
        if pattern.direction != Direction::Left {
            for number in graph.leaving(node) {
                self.at_edge(pattern, *number, graph.edge(*number).to, then)?;
            }
        }
        if pattern.direction != Direction::Right {
            for number in graph.entering(node) {
                let from = graph.edge(*number).from;
                // A loop was met among those that leave.
                if pattern.direction == Direction::Left || from != node {
                    self.at_edge(pattern, *number, from, then)?;
                }
            }
        }
        Ok(())
    }

    fn at_edge(
        &mut self,
        pattern: &EdgePattern,
        number: usize,
        end: usize,
        then: &mut dyn FnMut(&mut Self, usize, usize) -> Done,
    ) -> Done {
        self.machine.meter.tick(1)?;
        let edge = self.machine.graph.edge(number);
        let fits = pattern.types.is_empty()
            || pattern.types.iter().any(|wanted| wanted == ANY_TYPE || edge.kind.to_lowercase() == *wanted);
        if !fits || self.used.contains(&number) {
            return Ok(());
        }
        if !self.has_properties(&Value::Edge(number), &pattern.properties)? {
            return Ok(());
        }
        self.used.push(number);
        self.trail.push(Value::Edge(number));
        let done = then(self, number, end);
        self.trail.pop();
        self.used.pop();
        done
    }

    fn has_properties(&self, of: &Value, wanted: &[(String, Expr)]) -> Result<bool, QueryError> {
        for (name, expr) in wanted {
            let value = self.machine.eval(expr, &Env::new(self.names, &self.values))?;
            let own = self.machine.graph.property(of, name).unwrap_or(Value::Null);
            self.machine.meter.tick(own.weight())?;
            if own.equals(&value) != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn slot(&self, name: Option<&str>) -> Option<usize> {
        name.and_then(|name| self.names.iter().position(|known| known == name))
    }

    /// Gives a name its value; `None` if it has another one. The answer undoes it.
    #[allow(clippy::option_option, reason = "whether it fits, and what to undo")]
    fn bind(&mut self, name: Option<&str>, value: Value) -> Option<Option<usize>> {
        let Some(slot) = self.slot(name) else { return Some(None) };
        if self.bound[slot] {
            return (self.values[slot] == value).then_some(None);
        }
        self.bound[slot] = true;
        self.values[slot] = value;
        Some(Some(slot))
    }

    fn unbind(&mut self, slot: Option<usize>) {
        if let Some(slot) = slot {
            self.bound[slot] = false;
            self.values[slot] = Value::Null;
        }
    }
}

/// Type under which the table of all relationships goes.
const ANY_TYPE: &str = "relationship";

/// A number of rows to skip or to keep.
pub(super) fn row_count(at: Pos, value: &Value) -> Result<usize, QueryError> {
    match value {
        Value::Int(n) => usize::try_from(*n).map_err(|_| invalid(at, "a number of rows cannot be negative")),
        other => Err(invalid(at, format!("a number of rows is an integer, not {}", other.kind()))),
    }
}
