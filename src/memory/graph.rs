//! A memory's tables as the graph that queries run over.

use super::cypher::{EDGES_MAX, Graph, NODES_MAX, Value};
use super::cypher::{Edge, Map, Node};
use super::rows::{self, text};
use super::tables::{EMBEDDING, ENTITY, RELATIONSHIP};
use super::{MemoryError, table_at};
use crate::columnar::typed::{Form, Row};
use crate::dataset::{DatasetStore, Place};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Reads what a statement may be about: entities and relationships, and each other table that it names. A row of a
/// table is a node with the table's name as label; a pattern without a label sees entities only.
pub(super) async fn load(
    store: &dyn DatasetStore,
    place: &Place,
    statement: &str,
) -> Result<Graph, MemoryError> {
    let said = statement.to_lowercase();
    let mut graph = Graph::default();
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in rows::all(store, &table_at(place, ENTITY), None, NODES_MAX).await? {
        let id = text(&row, "entity_id").unwrap_or_default().to_owned();
        let mut labels: Vec<Arc<str>> = vec![ENTITY.into()];
        labels.extend(text(&row, "entity_type").filter(|kind| !kind.is_empty()).map(Arc::from));
        let node = Node { id: id.as_str().into(), labels, properties: properties(&row)? };
        places.insert(id, graph.add_node(node, true)?);
    }
    for row in rows::all(store, &table_at(place, RELATIONSHIP), None, EDGES_MAX).await? {
        let end = |column: &str| text(&row, column).and_then(|id| places.get(id)).copied();
        let own: Arc<str> = text(&row, "relationship_id").unwrap_or_default().into();
        let properties = properties(&row)?;
        if said.contains("relationship") {
            let labels = vec![RELATIONSHIP.into()];
            graph.add_node(Node { id: own.clone(), labels, properties: properties.clone() }, false)?;
        }
        if let (Some(from), Some(to)) = (end("source_entity_id"), end("target_entity_id")) {
            let kind = text(&row, "relationship_type").unwrap_or_default().into();
            graph.add_edge(Edge { id: own, kind, from, to, properties })?;
        }
    }
    for table in store.list_tables(place).await? {
        let named = said.contains(&table.to_lowercase()) || table.contains('`');
        if [ENTITY, RELATIONSHIP, EMBEDDING].contains(&table.as_str()) || !named {
            continue;
        }
        let label: Arc<str> = table.as_str().into();
        for (n, row) in rows::all(store, &table_at(place, &table), None, NODES_MAX).await?.iter().enumerate()
        {
            let id = format!("{table}:{n}").into();
            graph.add_node(Node { id, labels: vec![label.clone()], properties: properties(row)? }, false)?;
        }
    }
    Ok(graph)
}

fn properties(row: &Row) -> Result<Arc<Map>, MemoryError> {
    let mut entries = BTreeMap::new();
    for (name, value) in row {
        entries.insert(name.clone(), Value::from_typed(&value.json(Form::Wrapped))?);
    }
    Ok(Arc::new(Map::new(entries)?))
}
