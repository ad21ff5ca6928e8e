//! Which turns of a thread are done, and what they said: another attempt at one goes on from there.

use crate::agent::history::Item;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Turns whose texts are kept.
const TEXTS_MAX: usize = 64;
/// Bytes of the texts that are kept.
const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Earlier attempts at a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Their names.
    pub turns: Vec<String>,
    /// The turn is not run any more: it is only seen whether one of them is done.
    pub look_only: bool,
}

/// Turns that ended without an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoneTurns {
    turns: BTreeSet<String>,
    texts: BTreeMap<String, String>,
    /// Those with a text, oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

impl DoneTurns {
    pub fn contains(&self, turn: &str) -> bool {
        self.turns.contains(turn)
    }

    pub fn insert(&mut self, turn: String, text: String) {
        if text.len() <= TEXT_BYTES_MAX && !text.is_empty() && !self.turns.contains(&turn) {
            self.bytes += text.len();
            self.order.push_back(turn.clone());
            self.texts.insert(turn.clone(), text);
        }
        while self.order.len() > TEXTS_MAX || self.bytes > TEXT_BYTES_MAX {
            let oldest = self.order.pop_front().and_then(|turn| self.texts.remove(&turn));
            self.bytes -= oldest.map_or(0, |text| text.len());
        }
        self.turns.insert(turn);
    }

    /// What the first of these turns that is done said; `None` where none is done. What was said long ago is forgotten:
    /// it is empty.
    pub fn text_of(&self, turns: &[String]) -> Option<String> {
        let done = turns.iter().find(|turn| self.turns.contains(*turn))?;
        Some(self.texts.get(done).cloned().unwrap_or_default())
    }
}

/// All that a turn's answers say, as [`super::super::turn::Outcome::Done`] has it.
#[must_use]
pub fn text_of(items: &[Item]) -> String {
    let said: Vec<&str> = items
        .iter()
        .filter_map(|item| match item {
            Item::Answer { text, .. } => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        })
        .collect();
    said.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_last_turns_are_kept_and_names_of_all() {
        let mut done = DoneTurns::default();
        for n in 0..=TEXTS_MAX {
            done.insert(format!("t{n}"), format!("said {n}"));
        }
        done.insert("long".into(), "x".repeat(TEXT_BYTES_MAX + 1));
        let text = |turn: &str| done.text_of(&["none".to_owned(), turn.to_owned()]);
        assert_eq!(text("t0").as_deref(), Some(""), "forgotten");
        assert_eq!((text("t1").as_deref(), text("long").as_deref()), (Some("said 1"), Some("")));
        assert_eq!(text("t99"), None);
        done.insert("large".into(), "y".repeat(TEXT_BYTES_MAX));
        assert_eq!(done.text_of(&["t64".to_owned()]).as_deref(), Some(""));
        assert_eq!((done.bytes, done.order.len()), (TEXT_BYTES_MAX, 1));
    }
}
