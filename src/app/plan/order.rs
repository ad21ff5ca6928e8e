//! The order of documents: what is needed comes before what needs it, kinds in the order of the table, else as given.

use super::DEPENDS_ON;
use super::kinds::{self, KINDS, Key, Reference};
use super::problem::{Code, Problem};
use crate::spec::Kind;
use serde_json::Value;
use std::collections::HashMap;

/// Where documents say their room.
pub(super) const ROOM_PATH: &str = "metadata.annotations[\"meshagent.room\"]";

/// A document with what it needs among the others.
pub(super) struct Node {
    pub index: usize,
    pub key: Key,
    pub needs: Vec<usize>,
}

/// Documents as nodes: those that `references` names, where they are among the documents.
pub(super) fn nodes<'a>(documents: impl Iterator<Item = (usize, &'a Key, &'a [Reference])>) -> Vec<Node> {
    let documents: Vec<_> = documents.collect();
    let places: HashMap<&Key, usize> =
        documents.iter().enumerate().map(|(place, (_, key, _))| (*key, place)).collect();
    let node = |(index, key, references): &(usize, &Key, &[Reference])| Node {
        index: *index,
        key: (*key).clone(),
        needs: references.iter().filter_map(|reference| places.get(&reference.key).copied()).collect(),
    };
    documents.iter().map(node).collect()
}

/// The places of all nodes, in order; a circle is a problem that names those in it.
pub(super) fn sorted(nodes: &[Node]) -> Result<Vec<usize>, Problem> {
    let rank = |kind: Kind| KINDS.iter().position(|resource| resource.kind() == kind);
    let mut places: Vec<usize> = (0..nodes.len()).collect();
    places.sort_by_key(|place| nodes.get(*place).map(|node| (rank(node.key.kind), node.index)));
    let mut walk = Walk { nodes, marks: vec![Mark::New; nodes.len()], order: vec![] };
    for place in places {
        walk.visit(place)?;
    }
    Ok(walk.order)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

struct Walk<'a> {
    nodes: &'a [Node],
    marks: Vec<Mark>,
    order: Vec<usize>,
}

impl Walk<'_> {
    /// Depth first, without recursion: chains may be as long as there are documents.
    fn visit(&mut self, start: usize) -> Result<(), Problem> {
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((place, next)) = path.last_mut() {
            let (at, need) = (*place, *next);
            *next += 1;
            if self.marks.get(at) == Some(&Mark::Done) {
                path.pop();
                continue;
            }
            self.mark(at, Mark::Open);
            if let Some(needed) = self.nodes.get(at).and_then(|node| node.needs.get(need)) {
                match self.marks.get(*needed) {
                    Some(Mark::Open) => return Err(self.circle(&path, *needed)),
                    Some(Mark::New) => path.push((*needed, 0)),
                    _ => {}
                }
            } else {
                self.mark(at, Mark::Done);
                self.order.push(at);
                path.pop();
            }
        }
        Ok(())
    }

    fn mark(&mut self, place: usize, mark: Mark) {
        if let Some(slot) = self.marks.get_mut(place) {
            *slot = mark;
        }
    }

    fn circle(&self, path: &[(usize, usize)], back_to: usize) -> Problem {
        let name = |place: usize| self.nodes.get(place).map(|node| node.key.to_string()).unwrap_or_default();
        let inside = path.iter().map(|(place, _)| *place).skip_while(|place| *place != back_to);
        let mut names: Vec<String> = inside.map(name).collect();
        names.push(name(back_to));
        let (index, key) = self
            .nodes
            .get(back_to)
            .map_or_else(|| (0, Key::new(Kind::Room, None, "")), |node| (node.index, node.key.clone()));
        Problem::of(Code::Cycle, Some(index), &key, format!("it needs itself: {}", names.join(" needs ")))
            .at("metadata.annotations")
            .hint(format!("leave one `{DEPENDS_ON}` out"))
    }
}

/// What the annotation [`DEPENDS_ON`] of a document names. A name alone is looked for in the document's own room first.
pub(super) fn declared(
    document: &Value,
    key: &Key,
    known: impl Fn(&Key) -> bool,
) -> Result<Vec<Reference>, String> {
    let pointers = ["/metadata/annotations", "/annotations"];
    let notes = pointers.iter().find_map(|pointer| document.pointer(pointer)?.as_object());
    let Some(text) = notes.and_then(|notes| notes.get(DEPENDS_ON)).and_then(Value::as_str) else {
        return Ok(vec![]);
    };
    let mut references = vec![];
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (kind, name) = part.split_once('/').ok_or_else(|| format!("`{part}` is not KIND/NAME"))?;
        let kind = Kind::from_argument(kind).ok_or_else(|| format!("there is no kind `{kind}`"))?;
        let name = kinds::resource(kind).map_or_else(|| name.to_owned(), |resource| resource.canonical(name));
        let own = Key::new(kind, key.room.clone(), name.as_str());
        let of_project = Key::new(kind, None, name);
        let key = if known(&own) { own } else { of_project };
        references.push(Reference { path: format!("metadata.annotations[{DEPENDS_ON:?}]"), key });
    }
    Ok(references)
}
