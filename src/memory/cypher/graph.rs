//! The property graph that queries run over.

use super::value::{Map, Value};
use super::{EDGES_MAX, NODES_MAX};
use std::collections::HashMap;
use std::sync::Arc;

/// A node: an entity, or a row of another table.
#[derive(Debug)]
pub struct Node {
    /// The entity's id, or table and number of the row.
    pub id: Arc<str>,
    pub labels: Vec<Arc<str>>,
    pub properties: Arc<Map>,
}

/// A relationship.
#[derive(Debug)]
pub struct Edge {
    pub id: Arc<str>,
    pub kind: Arc<str>,
    pub from: usize,
    pub to: usize,
    pub properties: Arc<Map>,
}

/// The memory has more than a query may read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the memory has more than {max} {what}, which is more than a query reads; keep less in one memory")]
pub struct GraphFull {
    what: &'static str,
    max: usize,
}

/// Nodes and relationships in memory.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Nodes that a pattern without a label sees.
    plain: Vec<usize>,
    /// By label in lower case.
    labelled: HashMap<String, Vec<usize>>,
    from: Vec<Vec<usize>>,
    into: Vec<Vec<usize>>,
}

impl Graph {
    /// `plain`: whether a pattern without a label sees it.
    pub fn add_node(&mut self, node: Node, plain: bool) -> Result<usize, GraphFull> {
        let number = self.nodes.len();
        if number >= NODES_MAX {
            return Err(GraphFull { what: "entities and rows", max: NODES_MAX });
        }
        if plain {
            self.plain.push(number);
        }
        for label in &node.labels {
            let with = self.labelled.entry(label.to_lowercase()).or_default();
            if with.last() != Some(&number) {
                with.push(number);
            }
        }
        self.nodes.push(node);
        self.from.push(Vec::new());
        self.into.push(Vec::new());
        Ok(number)
    }

    /// The ends are numbers of nodes added before.
    pub fn add_edge(&mut self, edge: Edge) -> Result<usize, GraphFull> {
        let number = self.edges.len();
        if number >= EDGES_MAX {
            return Err(GraphFull { what: "relationships", max: EDGES_MAX });
        }
        self.from[edge.from].push(number);
        self.into[edge.to].push(number);
        self.edges.push(edge);
        Ok(number)
    }

    pub(super) fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }
    pub(super) fn edge(&self, number: usize) -> &Edge {
        &self.edges[number]
    }
    pub(super) fn plain(&self) -> &[usize] {
        &self.plain
    }
    /// `label` in lower case.
    pub(super) fn labelled(&self, label: &str) -> &[usize] {
        self.labelled.get(label).map_or(&[], Vec::as_slice)
    }
    pub(super) fn leaving(&self, node: usize) -> &[usize] {
        &self.from[node]
    }
    pub(super) fn entering(&self, node: usize) -> &[usize] {
        &self.into[node]
    }

    pub(super) fn property(&self, of: &Value, name: &str) -> Option<Value> {
        let properties = match of {
            Value::Node(node) => &self.nodes[*node].properties,
            Value::Edge(edge) => &self.edges[*edge].properties,
            Value::Map(map) => map,
            Value::Null => return Some(Value::Null),
            _ => return None,
        };
        Some(properties.get(name).cloned().unwrap_or(Value::Null))
    }
}
