//! Changes to single elements, which are named by their `$id`. Each is whole or not at all.

use super::replica::{ROOT, Replica, guarded};
use super::schema::{ElementType, MeshSchema};
use super::tree::{self, ID_ATTRIBUTE, Parent, TreeError, Writer};
use super::update::{DEPTH_MAX, UpdateError};
use bytes::Bytes;
use serde_json::{Map, Value};
use yrs::{Any, Out, ReadTxn, Transact, TransactionMut, Xml, XmlElementRef, XmlFragment, XmlOut};

/// Why a document was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("the document has no element with the id `{0}`; read it again to see what it has")]
    NoElement(String),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("the document cannot be changed: {0}")]
    Broken(#[from] UpdateError),
}

impl Replica {
    /// Appends an element, `{"<tag>": {…}}`, to the children of the element `parent`, to the document itself without one.
    /// Gives the new element's id and the update that did it.
    pub fn append(
        &mut self,
        schema: &MeshSchema,
        parent: Option<&str>,
        json: &Value,
        ids: &dyn Fn() -> String,
    ) -> Result<(String, Bytes), EditError> {
        guarded(|| self.try_append(schema, parent, json, ids))?
    }

    fn try_append(
        &mut self,
        schema: &MeshSchema,
        parent: Option<&str>,
        json: &Value,
        ids: &dyn Fn() -> String,
    ) -> Result<(String, Bytes), EditError> {
        let (at, kind, depth) = match parent {
            None => (None, schema.root(), 1),
            Some(id) => {
                let element = self.find(id)?;
                let kind = element.try_tag().and_then(|tag| schema.element(tag));
                let depth = depth(&element) + 1;
                (Some(element), kind, depth)
            }
        };
        let kind =
            kind.ok_or_else(|| tree::error("", "the schema does not know the element to append to"))?;
        // What does not fit must not leave a part of itself.
        let trial = Replica::empty(0);
        let place = trial.doc.get_or_insert_xml_fragment(ROOT);
        let mut txn = trial.doc.transact_mut();
        Writer::new(schema, ids).element(&mut txn, &Parent::Root(&place, 0), kind, "", json, depth)?;
        let fragment = self.doc.get_or_insert_xml_fragment(ROOT);
        let mut txn = self.doc.transact_mut();
        let parent = match &at {
            Some(element) => Parent::Element(element),
            None => Parent::Root(&fragment, fragment.len(&txn)),
        };
        let id = Writer::new(schema, ids).element(&mut txn, &parent, kind, "", json, depth)?;
        Ok((id, change(&mut txn)))
    }

    /// Removes an element with all that is in it; gives the update that did it.
    pub fn remove(&mut self, id: &str) -> Result<Bytes, EditError> {
        guarded(|| {
            let element = self.find(id)?;
            let fragment = self.doc.get_or_insert_xml_fragment(ROOT);
            let mut txn = self.doc.transact_mut();
            match element.parent() {
                Some(XmlOut::Element(parent)) => cut(&mut txn, &parent, &element),
                _ => cut(&mut txn, &fragment, &element),
            }
            Ok(change(&mut txn))
        })?
    }

    /// Gives an element's property a value that the schema allows; gives the update that did it.
    pub fn set_attribute(
        &mut self,
        schema: &MeshSchema,
        id: &str,
        name: &str,
        value: &Value,
    ) -> Result<Bytes, EditError> {
        guarded(|| {
            let element = self.find(id)?;
            let kind = kind_of(schema, &element)?;
            let place = format!("/{}", kind.tag);
            if name == ID_ATTRIBUTE || kind.child.as_ref().is_some_and(|child| child.name == name) {
                let reason = format!("`{name}` of an element cannot be set; append or remove elements");
                return Err(tree::error(&place, reason).into());
            }
            let fields = Map::from_iter([(name.to_owned(), value.clone())]);
            tree::check_values(&place, kind, &fields)?;
            let mut txn = self.doc.transact_mut();
            element.insert_attribute(&mut txn, name, tree::any(value));
            Ok(change(&mut txn))
        })?
    }

    /// What the schema says of an element.
    pub fn kind<'a>(&self, schema: &'a MeshSchema, id: &str) -> Result<&'a ElementType, EditError> {
        guarded(|| kind_of(schema, &self.find(id)?))?
    }

    fn find(&self, id: &str) -> Result<XmlElementRef, EditError> {
        let txn = self.doc.transact();
        let root = txn.get_xml_fragment(ROOT);
        let mut nodes = root.iter().flat_map(|root| root.successors(&txn));
        let found = nodes.find_map(|node| match node {
            XmlOut::Element(element) if is(&txn, &element, id) => Some(element),
            _ => None,
        });
        found.ok_or_else(|| EditError::NoElement(id.to_owned()))
    }
}

fn kind_of<'a>(schema: &'a MeshSchema, element: &XmlElementRef) -> Result<&'a ElementType, EditError> {
    let tag = element.try_tag().map(ToString::to_string).unwrap_or_default();
    let unknown = || tree::error(&format!("/{tag}"), "the schema does not know this element");
    Ok(schema.element(&tag).ok_or_else(unknown)?)
}

fn is<T: ReadTxn>(txn: &T, element: &XmlElementRef, id: &str) -> bool {
    matches!(element.get_attribute(txn, ID_ATTRIBUTE), Some(Out::Any(Any::String(own))) if *own == *id)
}

/// How many elements an element is in, itself counted; more than the format allows where that is unknown.
fn depth(element: &XmlElementRef) -> usize {
    let mut depth = 1;
    let mut at = element.parent();
    while let Some(XmlOut::Element(parent)) = at {
        depth += 1;
        if depth > DEPTH_MAX {
            break;
        }
        at = parent.parent();
    }
    depth
}

fn cut<P: XmlFragment>(txn: &mut TransactionMut<'_>, parent: &P, element: &XmlElementRef) {
    let is_it = |node: XmlOut| matches!(node, XmlOut::Element(found) if found == *element);
    let index = parent.children(txn).position(is_it).and_then(|index| u32::try_from(index).ok());
    if let Some(index) = index {
        parent.remove_range(txn, index, 1);
    }
}

/// What a transaction did.
fn change(txn: &mut TransactionMut<'_>) -> Bytes {
    txn.commit();
    txn.encode_update_v1().into()
}

#[cfg(test)]
mod tests {
    use super::super::schema::tests::example;
    use super::*;
    use serde_json::json;
    use std::cell::Cell;

    fn schema() -> MeshSchema {
        MeshSchema::parse(example()).unwrap()
    }

    /// A document, one that follows it, and a source of ids `id1`, `id2`, …
    fn pair() -> (Replica, Replica, impl Fn() -> String) {
        let count = Cell::new(0);
        let ids = move || {
            count.set(count.get() + 1);
            format!("id{}", count.get())
        };
        (Replica::empty(1 << 40), Replica::empty(1 << 41), ids)
    }

    #[test]
    fn elements_are_appended_changed_and_removed_and_others_see_it() {
        let (schema, (mut mine, mut theirs, ids)) = (schema(), pair());
        let item = |v: &str| json!({"item": {"v": v}});
        let (outer, update) = mine.append(&schema, None, &item("outer"), &ids).unwrap();
        theirs.apply(&update).unwrap();
        let nested = json!({"item": {"v": "in", "items": [{"item": {"v": "deeper"}}]}});
        let (inner, update) = mine.append(&schema, Some(&outer), &nested, &ids).unwrap();
        theirs.apply(&update).unwrap();
        theirs.apply(&mine.set_attribute(&schema, &inner, "n", &json!(1.5)).unwrap()).unwrap();
        theirs.apply(&mine.set_attribute(&schema, &inner, "v", &Value::Null).unwrap()).unwrap();
        let wanted = json!({"root": {"children": [{"item": {"v": "outer", "items": [
            {"item": {"v": null, "n": 1.5, "items": [{"item": {"v": "deeper", "items": []}}]}}]}}]}});
        assert_eq!(mine.render(&schema).unwrap(), wanted);
        assert_eq!(theirs.render(&schema).unwrap(), wanted);
        theirs.apply(&mine.remove(&inner).unwrap()).unwrap();
        assert_eq!(
            theirs.render(&schema).unwrap()["root"]["children"][0],
            json!({"item": {"v": "outer", "items": []}})
        );
        theirs.apply(&mine.remove(&outer).unwrap()).unwrap();
        assert_eq!(theirs.render(&schema).unwrap(), json!({"root": {"children": []}}));
        assert_eq!(mine.remove(&outer), Err(EditError::NoElement(outer)));
    }

    #[test]
    fn what_two_do_at_the_same_time_is_merged() {
        let (schema, (mut mine, mut theirs, ids)) = (schema(), pair());
        let (id, update) = mine.append(&schema, None, &json!({"item": {"v": "a"}}), &ids).unwrap();
        theirs.apply(&update).unwrap();
        let (_, one) = mine.append(&schema, None, &json!({"item": {"v": "mine"}}), &ids).unwrap();
        let other = theirs.set_attribute(&schema, &id, "v", &json!("b")).unwrap();
        let (_, third) =
            theirs.append(&schema, Some(&id), &json!({"item": {"v": "theirs"}}), &|| "t1".into()).unwrap();
        for update in [other, third] {
            mine.apply(&update).unwrap();
        }
        theirs.apply(&one).unwrap();
        let wanted = json!([{"item": {"v": "b", "items": [{"item": {"v": "theirs", "items": []}}]}},
            {"item": {"v": "mine", "items": []}}]);
        assert_eq!(mine.render(&schema).unwrap()["root"]["children"], wanted);
        assert_eq!(theirs.render(&schema).unwrap()["root"]["children"], wanted);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let (schema, (mut mine, _, ids)) = (schema(), pair());
        let (id, _) = mine.append(&schema, None, &json!({"item": {"v": "a"}}), &ids).unwrap();
        let before = mine.state(None).unwrap();
        let bad = [
            json!({"item": {"v": "x", "items": [{"item": {"v": "ok"}}, {"item": {"n": "text"}}]}}),
            json!({"root": {}}),
            json!({"nothing": {}}),
            json!({"item": {}, "text": {}}),
            json!([]),
            json!({"item": {"zap": 1}}),
        ];
        for json in bad {
            assert!(mine.append(&schema, Some(&id), &json, &ids).is_err(), "{json}");
        }
        assert!(mine.append(&schema, Some("nobody"), &json!({"item": {}}), &ids).is_err());
        for (name, value) in [
            ("$id", json!("x")),
            ("items", json!([])),
            ("n", json!("1")),
            ("size", json!("m")),
            ("zap", json!(1)),
        ] {
            assert!(mine.set_attribute(&schema, &id, name, &value).is_err(), "{name}");
        }
        assert!(mine.remove("").is_err() && mine.kind(&schema, "x").is_err());
        assert_eq!(mine.state(None).unwrap(), before);
    }

    #[test]
    fn elements_are_not_nested_too_deep() {
        let (schema, (mut mine, _, ids)) = (schema(), pair());
        let mut at = None::<String>;
        for _ in 0..DEPTH_MAX {
            at = Some(mine.append(&schema, at.as_deref(), &json!({"item": {}}), &ids).unwrap().0);
        }
        assert!(mine.append(&schema, at.as_deref(), &json!({"item": {}}), &ids).is_err());
    }
}
