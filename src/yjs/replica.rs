//! The state of one document: a Yjs document with one XML fragment, `xml`. What comes from outside is looked over
//! before it is applied, and whatever the library does then, a panic included, ends as an error.

use super::schema::MeshSchema;
use super::tree::{self, TreeError};
use super::update::{self, DEPTH_MAX, Id, Shape, UpdateError};
use bytes::Bytes;
use serde_json::Value;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use yrs::branch::BranchID;
use yrs::updates::decoder::Decode;
use yrs::{
    ClientID, Doc, ID, IdSet, OffsetKind, Options, ReadTxn, StateVector, Transact, Update, Xml, XmlOut,
};

/// The one root of a document.
pub const ROOT: &str = "xml";
/// Most bytes of updates that wait for others they build on.
pub const MISSING_BYTES_MAX: usize = 1024 * 1024;
/// An update that holds nothing.
const NOTHING: [u8; 2] = [0, 0];
/// Client identifiers are made with this many bits, which every client can hold.
const CLIENT_BITS: u32 = 32;

/// A document in memory.
pub struct Replica {
    pub(super) doc: Doc,
    /// Bytes and types of the updates that wait for what they build on.
    missing: (usize, usize),
    /// Where those updates end that reached beyond what was here: a part of them waits, or stands beyond a hole.
    ahead: Vec<Id>,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it changed, and nothing else; nothing when it changed nothing.
    pub change: Option<Bytes>,
    /// It, or a part of it, waits for changes that are not here.
    pub waits: bool,
}

/// Why an update was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyError {
    /// The document is as it was.
    Refused(UpdateError),
    /// The document in memory is to be thrown away and read again.
    Broken(UpdateError),
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("missing", &self.missing).finish_non_exhaustive()
    }
}

impl Replica {
    /// An empty document. `seed` makes the identifier under which this side writes.
    #[must_use]
    pub fn empty(seed: u128) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "some bits of it are wanted")]
        let client = ClientID::new((seed as u64) >> (u64::BITS - CLIENT_BITS));
        Self::with_client(client)
    }

    fn with_client(client: ClientID) -> Self {
        let options = Options {
            offset_kind: OffsetKind::Utf16,
            skip_gc: false,
            // Only clients tidy up: the server never makes changes of its own.
            cleanup_formatting: false,
            ..Options::with_client_id(client)
        };
        let doc = Doc::with_options(options);
        doc.get_or_insert_xml_fragment(ROOT);
        Self { doc, missing: (0, 0), ahead: Vec::new() }
    }

    /// A new document with the content `json` (room protocol §5). `ids` makes the elements' identifiers.
    pub fn create(
        seed: u128,
        schema: &MeshSchema,
        json: &Value,
        ids: &dyn Fn() -> String,
    ) -> Result<Self, TreeError> {
        let replica = Self::empty(seed);
        let fragment = replica.doc.get_or_insert_xml_fragment(ROOT);
        let mut txn = replica.doc.transact_mut();
        tree::write(&mut txn, &fragment, schema, json, ids)?;
        drop(txn);
        Ok(replica)
    }

    /// Applies an update that was kept: it was looked over when it came.
    pub fn replay(&mut self, update: &[u8]) -> Result<(), UpdateError> {
        let applied = guarded(|| {
            let update = Update::decode_v1(update).map_err(|e| UpdateError::Unfit(e.to_string()))?;
            self.ahead.extend(ends(&update.insertions(true)).chain(ends(update.delete_set())));
            let mut txn = self.doc.transact_mut();
            txn.apply_update(update).map_err(|e| UpdateError::Unfit(e.to_string()))
        });
        applied.and_then(|done| done)?;
        self.forget_what_came();
        // How much waits is not counted again: nothing more may wait, until it came.
        self.missing = if self.waits() { (MISSING_BYTES_MAX, DEPTH_MAX) } else { (0, 0) };
        Ok(())
    }

    /// Applies a stranger's update.
    pub fn apply(&mut self, bytes: &Bytes) -> Result<Applied, ApplyError> {
        let shape = update::check(bytes).map_err(ApplyError::Refused)?;
        let decoded = guarded(|| Update::decode_v1(bytes).map_err(|e| UpdateError::Unfit(e.to_string())));
        let decoded = decoded.and_then(|update| update).map_err(ApplyError::Refused)?;
        let applied = guarded(|| self.integrate(decoded, bytes, &shape));
        let applied = applied.and_then(|done| done).map_err(ApplyError::Broken)?;
        if applied.waits {
            self.ahead.extend(&shape.ends);
            self.missing = (self.missing.0 + bytes.len(), self.missing.1 + shape.types);
            if self.missing.0 > MISSING_BYTES_MAX || self.missing.1 > DEPTH_MAX {
                return Err(ApplyError::Broken(UpdateError::Missing));
            }
        }
        self.forget_what_came();
        if !self.waits() {
            self.missing = (0, 0);
        }
        Ok(applied)
    }

    fn integrate(&mut self, update: Update, bytes: &Bytes, shape: &Shape) -> Result<Applied, UpdateError> {
        let mut txn = self.doc.transact_mut();
        txn.apply_update(update).map_err(|e| UpdateError::Unfit(e.to_string()))?;
        txn.commit();
        for (client, clock) in &shape.parents {
            let id = ID::new(ClientID::new(*client), *clock);
            let mut at = BranchID::get_nested(&txn, &id).and_then(|branch| XmlOut::try_from(branch).ok());
            let mut depth = 0;
            while let Some(node) = at {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(UpdateError::TooDeep);
                }
                at = match node {
                    XmlOut::Element(element) => element.parent(),
                    XmlOut::Text(text) => text.parent(),
                    XmlOut::Fragment(_) => None,
                };
            }
        }
        // The usual update is new as a whole: it is passed on as it came, which also saves spelling it again. While
        // others wait it may free some of them, or join what stood beyond a hole and was not passed on.
        let whole = clocks(txn.insert_set()) == shape.adds && clocks(txn.delete_set()) >= shape.deletes;
        let change = match whole && self.ahead.is_empty() {
            _ if !txn.has_changes() => None,
            true => Some(bytes.clone()),
            false => Some(Bytes::from(txn.encode_update_v1())).filter(|change| **change != NOTHING),
        };
        Ok(Applied { change, waits: !(whole && self.ahead.is_empty()) && is_ahead(&txn, shape) })
    }

    /// Whether a stranger's update holds anything that is not here.
    pub fn would_change(&self, bytes: &[u8]) -> Result<bool, UpdateError> {
        let shape = update::check(bytes)?;
        guarded(|| {
            let update = Update::decode_v1(bytes).map_err(|e| UpdateError::Unfit(e.to_string()))?;
            let txn = self.doc.transact();
            if is_ahead(&txn, &shape) {
                return Ok(true);
            }
            if update.delete_set().is_empty() {
                return Ok(false);
            }
            Ok(!update.delete_set().diff(&txn.snapshot().delete_set).is_empty())
        })
        .and_then(|answer| answer)
    }

    /// What somebody whose state vector is `vector` lacks; everything without one.
    pub fn state(&self, vector: Option<&[u8]>) -> Result<Bytes, UpdateError> {
        guarded(|| {
            let vector = match vector {
                Some(bytes) => {
                    update::check_vector(bytes)?;
                    StateVector::decode_v1(bytes).map_err(|e| UpdateError::Unfit(e.to_string()))?
                }
                None => StateVector::default(),
            };
            Ok(Bytes::from(self.doc.transact().encode_state_as_update_v1(&vector)))
        })
        .and_then(|state| state)
    }

    /// Whether updates wait here for others.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.ahead.is_empty() || self.doc.transact().has_missing_updates()
    }

    /// Strikes from what is ahead all that is within reach now.
    fn forget_what_came(&mut self) {
        if !self.ahead.is_empty() {
            let known = self.doc.transact().state_vector();
            self.ahead.retain(|(client, end)| known.get(&ClientID::new(*client)) < *end);
        }
    }

    /// Makes the document what `json` says; gives the update that did it, nothing where it is so already. After an
    /// error the document in memory is to be thrown away.
    pub fn rewrite(
        &mut self,
        schema: &MeshSchema,
        json: &Value,
        ids: &dyn Fn() -> String,
    ) -> Result<Option<Bytes>, TreeError> {
        let fragment = self.doc.get_or_insert_xml_fragment(ROOT);
        let mut txn = self.doc.transact_mut();
        tree::rewrite(&mut txn, &fragment, schema, json, ids)?;
        txn.commit();
        Ok(txn.has_changes().then(|| txn.encode_update_v1().into()))
    }

    /// The document as JSON (room protocol §5), without the elements' identifiers.
    pub fn render(&self, schema: &MeshSchema) -> Result<Value, UpdateError> {
        self.render_with(schema, false)
    }

    /// The same, with `$id` of each element where `ids` says so.
    pub fn render_with(&self, schema: &MeshSchema, ids: bool) -> Result<Value, UpdateError> {
        guarded(|| {
            let txn = self.doc.transact();
            tree::render(&txn, txn.get_xml_fragment(ROOT).as_ref(), schema, ids)
        })
    }
}

/// Where a set ends, per client.
fn ends(set: &IdSet) -> impl Iterator<Item = Id> + '_ {
    set.iter().filter_map(|(client, ranges)| {
        ranges.iter().map(|range| range.end).max().map(|end| (client.get(), end))
    })
}

/// How many clocks a set holds.
fn clocks(set: &IdSet) -> u64 {
    set.iter().flat_map(|(_, ranges)| ranges.iter()).map(|range| u64::from(range.end - range.start)).sum()
}

/// Whether an update reaches beyond what the document has.
fn is_ahead<T: ReadTxn>(txn: &T, shape: &Shape) -> bool {
    let known = txn.state_vector();
    shape.ends.iter().any(|(client, end)| known.get(&ClientID::new(*client)) < *end)
}

/// Runs library code on what a stranger sent; a panic is an error.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, UpdateError> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|_| UpdateError::Unfit("the update breaks a rule of the format".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::schema::tests::example;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Made by the Python client: `<item $id="i1" v="hi"/><text $id="t1">`, with "abc" in bold.
    const VECTOR: &str = "01090100070103786d6c03046974656d2800010003246964017702693128000100017601770268698701000304746578742800010303246964017702743107000103060600010504626f6c6404747275658401060361626386010904626f6c64046e756c6c00";

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    fn schema() -> MeshSchema {
        MeshSchema::parse(example()).unwrap()
    }

    #[test]
    fn the_python_clients_update_is_read_and_given_back_byte_by_byte() {
        let mut replica = Replica::empty(7);
        assert_eq!(replica.state(None).unwrap()[..], [0, 0]);
        let applied = replica.apply(&hex(VECTOR).into()).unwrap();
        assert_eq!(applied, Applied { change: Some(hex(VECTOR).into()), waits: false });
        assert_eq!(replica.state(None).unwrap(), hex(VECTOR));
        assert_eq!(replica.doc.transact().state_vector(), StateVector::decode_v1(&[1, 1, 11]).unwrap());
        assert_eq!(
            replica.render(&schema()).unwrap(),
            json!({"root": {"children": [{"item": {"v": "hi", "items": []}}, {"text": {}}]}})
        );
        assert_eq!(replica.state(Some(&[1, 1, 11])).unwrap()[..], [0, 0]);
        // Again: nothing changes.
        assert_eq!(replica.apply(&hex(VECTOR).into()).unwrap(), Applied { change: None, waits: false });
        assert!(!replica.would_change(&hex(VECTOR)).unwrap());
        assert!(Replica::empty(8).would_change(&hex(VECTOR)).unwrap());
    }

    #[test]
    fn json_becomes_the_tree_that_the_clients_make() {
        let made = Replica::with_client(ClientID::new(1));
        let fragment = made.doc.get_or_insert_xml_fragment(ROOT);
        let count = std::cell::Cell::new(0);
        let ids = || {
            count.set(count.get() + 1);
            format!("{}{}", if count.get() == 1 { "i" } else { "t" }, 1)
        };
        let mut with_delta = example();
        with_delta["$defs"]["text"]["properties"]["text"]["properties"] =
            json!({"content": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/text"}]}}});
        let schema = MeshSchema::parse(with_delta).unwrap();
        let delta = json!([{"insert": "abc", "attributes": {"bold": true}}]);
        let content = json!({"root": {"children": [
            {"item": {"v": "hi"}}, {"text": {"content": [{"text": {"delta": delta}}]}}]}});
        tree::write(&mut made.doc.transact_mut(), &fragment, &schema, &content, &ids).unwrap();
        assert_eq!(made.state(None).unwrap(), hex(VECTOR));
        let rendered = made.render(&schema).unwrap();
        assert_eq!(rendered["root"]["children"][1], content["root"]["children"][1]);
    }

    #[test]
    fn json_that_does_not_fit_is_refused_with_its_place() {
        let create = |json: Value| Replica::create(1, &schema(), &json, &|| "id".to_owned());
        let fits = json!({"root": {"children": [
            {"item": {"v": null, "n": 1.5, "on": true, "size": "s", "items": [{"item": {"v": "in"}}]}}]}});
        let made = create(fits.clone()).unwrap().render(&schema()).unwrap();
        assert_eq!(made["root"]["children"][0]["item"]["items"][0]["item"]["v"], "in");
        assert_eq!(made["root"]["children"][0]["item"]["n"], 1.5);
        for (json, place) in [
            (json!({"other": {}}), "/: the root element"),
            (json!([]), "/:"),
            (json!({"root": {"children": {}}}), "/root/children: it must be an array"),
            (json!({"root": {"children": [{"root": {}}]}}), "/root/children/0: `root` is not among"),
            (json!({"root": {"children": [{"item": {"x": 1}}]}}), "`item` has no property `x`"),
            (json!({"root": {"children": [{"item": {"n": "1"}}]}}), "/root/children/0/item/n: the value"),
            (json!({"root": {"children": [{"item": {"size": "m"}}]}}), "/root/children/0/item/size"),
            (
                json!({"root": {"children": [{"item": {"items": [{"text": {}}]}}]}}),
                "/root/children/0/item/items/0",
            ),
        ] {
            let said = create(json).unwrap_err().to_string();
            assert!(said.contains(place), "{said} has no {place}");
        }
    }

    #[test]
    fn a_rewrite_leaves_alone_what_stays_the_same() {
        let count = std::cell::Cell::new(0);
        let ids = || {
            count.set(count.get() + 1);
            format!("id{}", count.get())
        };
        let content = |values: &[&str]| {
            let items: Vec<Value> = values.iter().map(|v| json!({"item": {"v": v, "items": []}})).collect();
            json!({"root": {"children": items}})
        };
        let mut replica = Replica::create(1, &schema(), &content(&["a", "b", "c"]), &ids).unwrap();
        let mut follower = Replica::empty(2);
        follower.apply(&replica.state(None).unwrap()).unwrap();
        assert_eq!(replica.rewrite(&schema(), &content(&["a", "b", "c"]), &ids).unwrap(), None);
        let steps: [&[&str]; 5] = [&["a", "x", "c"], &["a", "c"], &["a", "a", "c"], &[], &["z"]];
        for step in steps {
            let update = replica.rewrite(&schema(), &content(step), &ids).unwrap().unwrap();
            follower.apply(&update).unwrap();
            assert_eq!(follower.render(&schema()).unwrap(), content(step));
            if step.len() == 3 {
                let with_ids = follower.render_with(&schema(), true).unwrap();
                let kept = &with_ids["root"]["children"];
                assert_eq!(
                    (&kept[0]["item"]["$id"], &kept[2]["item"]["$id"]),
                    (&json!("id1"), &json!("id3"))
                );
            }
        }
        assert!(replica.rewrite(&schema(), &json!({"root": {"children": [{"no": {}}]}}), &ids).is_err());
    }

    /// Updates of one client, one per appended element.
    fn typed(client: u64, count: usize) -> Vec<Bytes> {
        use yrs::{XmlElementPrelim, XmlFragment};
        let replica = Replica::with_client(ClientID::new(client));
        let fragment = replica.doc.get_or_insert_xml_fragment(ROOT);
        let append = |_| {
            let mut txn = replica.doc.transact_mut();
            let element = fragment.push_back(&mut txn, XmlElementPrelim::empty("item"));
            element.insert_attribute(&mut txn, "v", "x");
            txn.encode_update_v1()
        };
        (0..count).map(append).map(Bytes::from).collect()
    }

    #[test]
    fn what_comes_too_early_waits_and_others_are_not_held_up() {
        let updates = typed(1, 3);
        let mut replica = Replica::empty(9);
        assert_eq!(replica.apply(&updates[1]).unwrap(), Applied { change: None, waits: true });
        let other = replica.apply(&typed(2, 1)[0]).unwrap();
        assert!(other.change.is_some() && !other.waits, "another client's update does not wait");
        assert!(replica.would_change(&updates[1]).unwrap());
        let both = replica.apply(&updates[0]).unwrap();
        assert!(!both.waits);
        let mut follower = Replica::empty(10);
        follower.apply(&other.change.unwrap()).unwrap();
        follower.apply(&both.change.unwrap()).unwrap();
        assert_eq!(follower.state(None).unwrap(), replica.state(None).unwrap(), "relays carry all of it");
    }

    #[test]
    fn what_stands_beyond_a_hole_is_passed_on_once_the_hole_is_filled() {
        let element = "010101000701 03786d6c 03046974656d 00";
        // Its second attribute, sent with the element once more and without the first attribute.
        let beyond = "01030100 070103786d6c03046974656d 0a01 28000100 0176 01 770178 00";
        let first_attribute = "01010101 28000100 016e 01 7d01 00";
        for again in [false, true] {
            let mut replica = Replica::empty(9);
            replica.apply(&hex(element).into()).unwrap();
            assert!(replica.apply(&hex(beyond).into()).unwrap().waits);
            if again {
                let mut read = Replica::empty(10);
                read.replay(&replica.state(None).unwrap()).unwrap();
                replica = read;
            }
            let filled = replica.apply(&hex(first_attribute).into()).unwrap();
            assert!(!filled.waits && !replica.waits());
            let mut follower = Replica::empty(11);
            follower.replay(&hex(element)).unwrap();
            follower.replay(&filled.change.unwrap()).unwrap();
            let wanted = json!({"root": {"children": [{"item": {"n": 1, "v": "x", "items": []}}]}});
            assert_eq!(replica.render(&schema()).unwrap(), wanted);
            assert_eq!(follower.render(&schema()).unwrap(), wanted);
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut replica = Replica::empty(9);
        let updates = typed(1, DEPTH_MAX + 3);
        let outcome = updates[1..].iter().map(|update| replica.apply(update)).find(Result::is_err);
        assert_eq!(outcome, Some(Err(ApplyError::Broken(UpdateError::Missing))));
    }

    #[test]
    fn a_tree_that_grows_too_deep_is_refused() {
        use yrs::{XmlElementPrelim, XmlFragment};
        let writer = Replica::with_client(ClientID::new(1));
        let fragment = writer.doc.get_or_insert_xml_fragment(ROOT);
        let mut replica = Replica::empty(9);
        let mut at = None::<yrs::XmlElementRef>;
        let mut refused = None;
        for depth in 0..DEPTH_MAX + 2 {
            let mut txn = writer.doc.transact_mut();
            let element = XmlElementPrelim::empty("item");
            at = Some(match &at {
                None => fragment.push_back(&mut txn, element),
                Some(parent) => parent.push_back(&mut txn, element),
            });
            if let Err(error) = replica.apply(&txn.encode_update_v1().into()) {
                refused.get_or_insert((depth, error));
                break;
            }
        }
        assert_eq!(refused, Some((DEPTH_MAX, ApplyError::Broken(UpdateError::TooDeep))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Bytes of an honest update with some of them changed: taken or refused, and the document is still good.
        #[test]
        fn a_bent_update_leaves_a_good_document(at in 0..200usize, to in any::<u8>(), cut in 0..200usize) {
            let mut bytes = hex(VECTOR);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            bytes.truncate(bytes.len().min(cut.max(20)));
            let mut replica = Replica::empty(3);
            replica.apply(&typed(2, 1)[0]).unwrap();
            let before = replica.state(None).unwrap();
            match replica.apply(&bytes.into()) {
                Ok(applied) => {
                    let mut follower = Replica::empty(4);
                    follower.replay(&before).unwrap();
                    if let Some(change) = applied.change {
                        follower.replay(&change).unwrap();
                    }
                    // What waits is passed on later.
                    if !applied.waits {
                        prop_assert_eq!(follower.render(&schema()), replica.render(&schema()));
                    }
                    let mut folded = Replica::empty(5);
                    folded.replay(&replica.state(None).unwrap()).unwrap();
                    prop_assert_eq!(folded.render(&schema()), replica.render(&schema()));
                }
                Err(ApplyError::Refused(_)) => prop_assert_eq!(replica.state(None).unwrap(), before),
                Err(ApplyError::Broken(_)) => {}
            }
        }
    }
}
