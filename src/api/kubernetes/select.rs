//! Selectors: which objects of a list or a watch are wanted, by labels and by name.

use super::Refusal;
use serde_json::Value;
use std::collections::BTreeSet;

/// Conditions of one selector.
const TERMS_MAX: usize = 64;

/// What is wanted. All terms hold.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Selection {
    labels: Vec<Term>,
    fields: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Missing,
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::In(all), Some(value)) => all.contains(value),
            (Self::NotIn(all), Some(value)) => !all.contains(value),
            (Self::Exists, value) => value.is_some(),
            (Self::Missing, value) => value.is_none(),
            (Self::In(_), None) => false,
            (Self::NotIn(_), None) => true,
        }
    }
}

impl Selection {
    pub fn by_labels(&mut self, text: &str) -> Result<(), Refusal> {
        self.labels = terms(text)?;
        Ok(())
    }

    pub fn by_fields(&mut self, text: &str) -> Result<(), Refusal> {
        self.fields = terms(text)?;
        let known = |term: &&Term| matches!(term.key.as_str(), "metadata.name" | "metadata.namespace");
        if let Some(other) = self.fields.iter().find(|term| !known(term)) {
            let text = format!(
                "field label not supported: {}; there are metadata.name and metadata.namespace",
                other.key
            );
            return Err(Refusal::bad_request(text));
        }
        Ok(())
    }

    /// Whether an object is wanted.
    pub fn takes(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let label = |key: &str| metadata.get("labels")?.get(key)?.as_str();
        self.takes_place(object) && self.labels.iter().all(|term| term.test.holds(label(&term.key)))
    }

    /// Whether every object is wanted.
    pub fn is_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is one that is asked for by name and place, whatever its labels.
    pub fn takes_place(&self, object: &Value) -> bool {
        let field = |key: &str| object["metadata"].get(key.strip_prefix("metadata.")?)?.as_str();
        self.fields.iter().all(|term| term.test.holds(field(&term.key)))
    }

    /// The only name that is wanted, where there is just one.
    pub fn name(&self) -> Option<&str> {
        self.fields.iter().find_map(|term| match &term.test {
            Test::In(all) if term.key == "metadata.name" => all.first().map(String::as_str),
            _ => None,
        })
    }
}

fn terms(text: &str) -> Result<Vec<Term>, Refusal> {
    let mut found = vec![];
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (term, after) = split(rest);
        found.push(term_of(term).ok_or_else(|| {
            Refusal::bad_request(format!("unable to parse requirement {term:?} of the selector {text:?}"))
        })?);
        if found.len() > TERMS_MAX {
            return Err(Refusal::bad_request(format!("a selector has at most {TERMS_MAX} requirements")));
        }
        rest = after.trim();
    }
    Ok(found)
}

/// The text before the next comma that is in no parentheses, and what comes after it.
fn split(text: &str) -> (&str, &str) {
    let mut depth = 0_i32;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => return (text[..at].trim(), &text[at + 1..]),
            _ => {}
        }
    }
    (text.trim(), "")
}

fn term_of(text: &str) -> Option<Term> {
    let term = |key: &str, test| {
        let key = key.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        (!key.is_empty() && key.chars().all(plain)).then(|| Term { key: key.to_owned(), test })
    };
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    if let Some(list) = text.strip_suffix(')') {
        let (head, values) = list.split_once('(')?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = head.trim().rsplit_once(char::is_whitespace)?;
        return match word {
            "in" => term(key, Test::In(values)),
            "notin" => term(key, Test::NotIn(values)),
            _ => None,
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return term(key, Test::NotIn(one(value)));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return term(key, Test::In(one(value)));
    }
    match text.strip_prefix('!') {
        Some(key) => term(key, Test::Missing),
        None => term(text, Test::Exists),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn takes(selector: &str) -> bool {
        let mut selection = Selection::default();
        selection.by_labels(selector).unwrap();
        selection.takes(&json!({"metadata": {"labels": {"app": "web", "tier": "1"}}}))
    }

    #[test]
    fn labels_are_held_against_every_form() {
        for wanted in [
            "",
            "app",
            "app=web",
            "app == web",
            "app!=db",
            "!gone",
            "app in (web, db)",
            "app notin (db),tier=1",
        ] {
            assert!(takes(wanted), "{wanted}");
        }
        for other in ["gone", "app=db", "!app", "app notin (web)", "app=web,tier=2", "gone in (x)"] {
            assert!(!takes(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        let mut selection = Selection::default();
        for wrong in ["a b", "app in web)", "=x", "a in (b", &"a,".repeat(100)] {
            assert!(selection.by_labels(wrong).is_err(), "{wrong}");
        }
        assert!(selection.by_fields("spec.room=x").is_err());
        selection.by_fields("metadata.name=web").unwrap();
        assert_eq!(selection.name(), Some("web"));
        assert!(selection.takes(&json!({"metadata": {"name": "web"}})));
        assert!(!selection.takes(&json!({"metadata": {"name": "db"}})));
    }
}
