//! What the rules find, and that they find the same again.

use super::heuristic::extract;
use proptest::prelude::*;

#[track_caller]
fn finds(text: &str, entities: &[(&str, &str)], relationships: &[(&str, &str, &str)]) {
    let found = extract(text);
    let own: Vec<(&str, &str)> = found.entities.iter().map(|e| (e.name.as_str(), e.kind.as_str())).collect();
    assert_eq!(own, entities, "{text}");
    let own: Vec<(&str, &str, &str)> =
        found.relationships.iter().map(|r| (r.source.as_str(), r.kind.as_str(), r.target.as_str())).collect();
    assert_eq!(own, relationships, "{text}");
}

#[test]
fn subject_phrase_object() {
    finds("Alice likes tea.", &[("Alice", "ENTITY"), ("tea", "CONCEPT")], &[("Alice", "LIKES", "tea")]);
    finds(
        "Alice works at Acme Corp. and lives in New York.",
        &[("Alice", "PERSON"), ("Acme Corp", "ORGANIZATION"), ("New York", "LOCATION")],
        &[("Alice", "WORKS_AT", "Acme Corp"), ("Alice", "LIVES_IN", "New York")],
    );
    finds(
        "Bob really likes tea, dark coffee and milk because they are warm.",
        &[("Bob", "ENTITY"), ("tea", "CONCEPT"), ("dark coffee", "CONCEPT"), ("milk", "CONCEPT")],
        &[("Bob", "LIKES", "tea"), ("Bob", "LIKES", "dark coffee"), ("Bob", "LIKES", "milk")],
    );
    finds(
        "Rust is a programming language.",
        &[("Rust", "ENTITY"), ("programming language", "CONCEPT")],
        &[("Rust", "IS_A", "programming language")],
    );
    finds(
        "Carol doesn't like mornings.",
        &[("Carol", "ENTITY"), ("mornings", "CONCEPT")],
        &[("Carol", "DISLIKES", "mornings")],
    );
}

#[test]
fn pronouns_go_on_about_the_last_subject() {
    finds(
        "Dr. Grace Hopper worked at Yale University. She founded a club. It rained.",
        &[("Grace Hopper", "PERSON"), ("Yale University", "ORGANIZATION"), ("club", "ORGANIZATION")],
        &[("Grace Hopper", "WORKS_AT", "Yale University"), ("Grace Hopper", "FOUNDED", "club")],
    );
}

#[test]
fn names_alone() {
    finds(
        "Yesterday the Bank of England wrote to ada@example.com about https://example.com/a?b=1 on Monday.",
        &[
            ("Bank of England", "ORGANIZATION"),
            ("ada@example.com", "EMAIL"),
            ("https://example.com/a?b=1", "URL"),
        ],
        &[],
    );
    finds("nothing is named here", &[], &[]);
    finds("", &[], &[]);
    finds("The. A! I? ...", &[], &[]);
}

#[test]
fn a_thing_is_found_once() {
    finds(
        "Alice knows Bob. ALICE knows Bob.\n\n- Bob knows Alice",
        &[("Alice", "PERSON"), ("Bob", "PERSON")],
        &[("Alice", "KNOWS", "Bob"), ("Bob", "KNOWS", "Alice")],
    );
}

proptest! {
    #[test]
    fn any_text_is_read_the_same_twice(text in "\\PC{0,200}") {
        let found = extract(&text);
        prop_assert_eq!(&found, &extract(&text));
        for relationship in &found.relationships {
            let named = |name: &String| found.entities.iter().any(|e| e.name == *name);
            prop_assert!(named(&relationship.source) && named(&relationship.target));
        }
    }

    #[test]
    fn any_words_are_read(words in prop::collection::vec(prop::sample::select(vec![
        "Alice", "Bob", "likes", "is", "a", "and", "and,", "tea.", "She", "the", "Acme", "Corp.", "of", "works at",
        "I", "é", "ß!", "--", "\n\n- ", "'s", "’s", "@", "a@b.c",
    ]), 0..40)) {
        let _ = extract(&words.join(" "));
    }
}
