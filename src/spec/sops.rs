//! Secret documents that SOPS encrypted: which of their parts are plain, what their code is over, and by whom they can be
//! opened. Nothing is opened here.
//!
//! What is read is one document that is a `Secret`, of which only `value` is encrypted, to recipients of age. The code is over
//! all of it in the order in which it is written, so that such a document is kept as text.

use super::problem::{Finding, Path, listing};
use super::tree::{self, Node, Shape};
use serde_json::Value;

/// The member that is encrypted.
pub(super) const VALUE: &str = "value";
/// What SOPS adds; in our documents, the text of all that SOPS wrote.
pub(super) const SOPS: &str = "sops";
/// Longest text of such a document, bytes.
pub const SOPS_BYTES_MAX: usize = 256 * 1024;
/// How encrypted values begin.
const ENCRYPTED: &str = "ENC[";
/// Keys of a file that are read.
const KEYS_MAX: usize = 16;
/// Recipients of other kinds than age, as SOPS names them.
const OTHERS: [&str; 6] = ["pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"];
const HOW: &str = "encrypt it with `sops encrypt --age RECIPIENT --encrypted-regex '^value$' FILE`";

/// A document as SOPS wrote it.
#[derive(Clone, PartialEq, Debug)]
pub struct Sealed {
    /// What the code is over, in this order; `None` in the place of the encrypted value.
    pub covered: Vec<Option<Vec<u8>>>,
    /// The encrypted value.
    pub value: String,
    /// The key of the document, encrypted with age, as armored texts.
    pub keys: Vec<String>,
    /// The encrypted code, and what it is bound to.
    pub mac: String,
    pub last_modified: String,
    /// All that is plain.
    pub document: Value,
}

/// Why a text is not read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unread {
    #[error("this is not the text of one document that SOPS encrypted")]
    NotOne,
    #[error("it has no `sops` block; it was not encrypted, or what SOPS added was removed")]
    NoBlock,
    #[error("it is encrypted for {0}, and only recipients of age are read")]
    OtherKeys(String),
    #[error("it is encrypted for groups of keys of which several are needed; only one group is read")]
    Groups,
    #[error("`sops.{0}` is missing")]
    Missing(&'static str),
    #[error(
        "its code is over encrypted values only (`mac_only_encrypted`), and not over the name and the account"
    )]
    OnlyEncrypted,
    #[error("`value` is not encrypted, and what stands in it is known to whoever has the document")]
    Plain,
    #[error("`{0}` is encrypted; only `value` may be, as the rest says which secret it is")]
    Encrypted(String),
}

impl Unread {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::OtherKeys(_) => "add a recipient of age: `sops rotate --add-age RECIPIENT FILE`",
            _ => HOW,
        }
    }
}

impl Sealed {
    /// Reads what SOPS wrote, as YAML or JSON.
    pub fn read(text: &str) -> Result<Self, Unread> {
        if text.len() > SOPS_BYTES_MAX {
            return Err(Unread::NotOne);
        }
        let nodes = tree::read(SOPS, text).map_err(|_| Unread::NotOne)?;
        let [node] = <[Node; 1]>::try_from(nodes).map_err(|_| Unread::NotOne)?;
        let Shape::Mapping(entries) = &node.shape else { return Err(Unread::NotOne) };
        let block = node.get(SOPS).ok_or(Unread::NoBlock)?;
        let Shape::Mapping(_) = &block.shape else { return Err(Unread::NoBlock) };
        let value = node.get(VALUE).and_then(Node::as_str).ok_or(Unread::Plain)?;
        if !value.starts_with(ENCRYPTED) {
            return Err(Unread::Plain);
        }
        if block.get("mac_only_encrypted").is_some_and(|of| of.to_json() != Value::Bool(false)) {
            return Err(Unread::OnlyEncrypted);
        }
        let mut covered = vec![];
        for (key, inner) in entries.iter().filter(|(key, _)| key.text != SOPS) {
            if key.text == VALUE {
                covered.push(None);
            } else {
                cover(inner, &key.text, &mut covered)?;
            }
        }
        let text = |name: &'static str| {
            block.get(name).and_then(Node::as_str).map(str::to_owned).ok_or(Unread::Missing(name))
        };
        let mut document = node.to_json();
        if let Some(members) = document.as_object_mut() {
            members.retain(|name, _| name != SOPS && name != VALUE);
        }
        Ok(Self {
            covered,
            value: value.to_owned(),
            keys: keys(block)?,
            mac: text("mac")?,
            last_modified: text("lastmodified")?,
            document,
        })
    }
}

/// What the code is over, as SOPS writes each value. Nothing is written for what is null.
fn cover(node: &Node, path: &str, covered: &mut Vec<Option<Vec<u8>>>) -> Result<(), Unread> {
    let text = match &node.shape {
        Shape::Mapping(entries) => {
            let mut inner = entries.iter();
            return inner.try_for_each(|(key, node)| cover(node, &format!("{path}.{}", key.text), covered));
        }
        Shape::Sequence(items) => {
            return items.iter().try_for_each(|node| cover(node, path, covered));
        }
        Shape::Scalar { value: Value::Null, .. } => return Ok(()),
        Shape::Scalar { value: Value::Bool(truth), .. } => if *truth { "True" } else { "False" }.to_owned(),
        Shape::Scalar { value: Value::String(text), .. } if text.starts_with(ENCRYPTED) => {
            return Err(Unread::Encrypted(path.to_owned()));
        }
        Shape::Scalar { value: Value::String(text), .. } => text.clone(),
        Shape::Scalar { value, .. } => match (value.as_i64(), value.as_f64()) {
            (None, Some(number)) => number.to_string(),
            _ => value.to_string(),
        },
    };
    covered.push(Some(text.into_bytes()));
    Ok(())
}

fn items<'a>(block: &'a Node, name: &str) -> &'a [Node] {
    match block.get(name).map(|node| &node.shape) {
        Some(Shape::Sequence(items)) => items,
        _ => &[],
    }
}

fn keys(block: &Node) -> Result<Vec<String>, Unread> {
    let groups = items(block, "key_groups");
    if groups.len() > 1 {
        return Err(Unread::Groups);
    }
    let places = [block].into_iter().chain(groups);
    let of_age = places.clone().flat_map(|place| items(place, "age"));
    let keys = of_age.filter_map(|key| key.get("enc").and_then(Node::as_str)).take(KEYS_MAX);
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    if !keys.is_empty() {
        return Ok(keys);
    }
    let others = OTHERS.into_iter().filter(|name| places.clone().any(|place| !items(place, name).is_empty()));
    let others: Vec<&str> = others.collect();
    Err(if others.is_empty() { Unread::Missing("age") } else { Unread::OtherKeys(listing(others)) })
}

/// A document that SOPS encrypted, with its text in the place of what SOPS wrote. Others stay as they are.
pub(super) fn kept(node: Node) -> Node {
    let is_secret = node.get("kind").and_then(Node::as_str) == Some("Secret");
    let by_sops = node.get(SOPS).is_some_and(|block| matches!(block.shape, Shape::Mapping(_)));
    if !is_secret || !by_sops {
        return node;
    }
    let mut text = String::new();
    written(&node, &mut text);
    let Node { mark, shape } = node;
    let Shape::Mapping(mut entries) = shape else { return Node { mark, shape } };
    entries.retain(|(key, _)| key.text != VALUE);
    for (key, inner) in &mut entries {
        if key.text == SOPS {
            inner.shape = Shape::Scalar { value: Value::String(std::mem::take(&mut text)), tagged: false };
        }
    }
    Node { mark, shape: Shape::Mapping(entries) }
}

/// JSON in the order of the document.
fn written(node: &Node, text: &mut String) {
    match &node.shape {
        Shape::Scalar { value, .. } => text.push_str(&value.to_string()),
        Shape::Sequence(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                written(item, text);
            }
            text.push(']');
        }
        Shape::Mapping(entries) => {
            text.push('{');
            for (at, (key, inner)) in entries.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                text.push_str(&Value::from(key.text.as_str()).to_string());
                text.push_str(": ");
                written(inner, text);
            }
            text.push('}');
        }
    }
}

/// What is wrong with a document that SOPS had something to do with, where it is not one that is read.
pub(super) fn misplaced(node: &Node) -> Option<Finding> {
    let at = |name: &str| Path::default().key(name);
    let kind = node.get("kind").and_then(Node::as_str);
    if kind.is_some_and(|text| text.starts_with(ENCRYPTED)) {
        let finding = Finding::new(
            at("kind"),
            "SOPS encrypted all of this document; only the value of a Secret may be",
        );
        return Some(finding.hint(HOW));
    }
    let Shape::Mapping(_) = node.get(SOPS)?.shape else { return None };
    if kind == Some("Secret") {
        let text = "the code of SOPS is over the order of the document, which JSON does not keep";
        return Some(Finding::new(at(SOPS), text).hint("send all of the file as the text `sops`"));
    }
    let text = "only a Secret can be encrypted with SOPS; what else is confidential is named from there";
    Some(Finding::new(at(SOPS), text).hint("put the value into a Secret, and name that here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "version: v1\nkind: Secret\nmetadata:\n    name: token\n    annotations:\n        n: \"1.50\"\n\
        http_only: true\nvalue: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]\nsops:\n    age:\n        - recipient: age1x\n\
        \x20         enc: text\n    lastmodified: \"2026-01-01T00:00:00Z\"\n    mac: ENC[x]\n    encrypted_regex: ^value$\n";

    #[test]
    fn what_is_covered_stands_in_its_order() {
        let read = Sealed::read(FILE).unwrap();
        let covered: Vec<String> = read
            .covered
            .iter()
            .map(|bytes| {
                bytes.as_ref().map_or("?".to_owned(), |bytes| String::from_utf8(bytes.clone()).unwrap())
            })
            .collect();
        assert_eq!(covered, ["v1", "Secret", "token", "1.50", "True", "?"]);
        assert_eq!(read.keys, ["text"]);
        assert!(read.document.get("sops").is_none() && read.document.get("value").is_none());
    }

    #[test]
    fn a_file_is_kept_as_a_text_that_reads_the_same() {
        let nodes = tree::read("f", FILE).unwrap();
        let kept = kept(nodes[0].clone());
        let text = kept.get(SOPS).and_then(Node::as_str).unwrap();
        assert!(kept.get(VALUE).is_none());
        assert_eq!(Sealed::read(text), Sealed::read(FILE));
    }

    #[test]
    fn what_is_not_read_is_said_in_words() {
        let with = |from: &str, to: &str| Sealed::read(&FILE.replace(from, to)).unwrap_err();
        let table = [
            (with("    name: token", "    name: ENC[x]"), Unread::Encrypted("metadata.name".into())),
            (
                with("value: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]", "value: plain"),
                Unread::Plain,
            ),
            (with("    age:", "    pgp:"), Unread::OtherKeys("`pgp`".into())),
            (with("    age:", "    kms:"), Unread::OtherKeys("`kms`".into())),
            (with("    age:", "    wonders:"), Unread::Missing("age")),
            (with("    age:", "    key_groups: [{}, {}]\n    age:"), Unread::Groups),
            (with("    mac: ENC[x]\n", ""), Unread::Missing("mac")),
            (with("    mac:", "    mac_only_encrypted: true\n    mac:"), Unread::OnlyEncrypted),
            (Sealed::read("kind: Secret\nvalue: a\n").unwrap_err(), Unread::NoBlock),
            (Sealed::read("a: 1\n---\nb: 2\n").unwrap_err(), Unread::NotOne),
            (Sealed::read("a: [").unwrap_err(), Unread::NotOne),
        ];
        for (found, wanted) in table {
            assert_eq!(found, wanted);
        }
    }
}
