//! Entities and relationships by rules over English text. The same text always gives the same.
//!
//! Names are words with capital letters, addresses and links. A sentence "subject phrase object", where the phrase is
//! one of [`phrases`](super::phrases), is a relationship; its object may be a name or a few plain words. A sentence
//! that begins with he, she, they or it goes on about the last subject.

use super::phrases::{
    ADVERBS, CALENDAR, CONNECTORS, DETERMINERS, FILLERS, LOCATION_WORDS, ORGANIZATION_WORDS, PHRASES,
    PRONOUNS, Phrase, STOPS, TITLES,
};
use super::sentences::{Word, sentences, words};
use super::{Extraction, FOUND_MAX, FoundEntity, FoundRelationship, TEXT_BYTES_MAX};
use std::collections::HashMap;

/// Confidence in an entity whose type is not known, and in one whose type something tells.
const NAMED: f64 = 0.5;
const TYPED: f64 = 0.7;
/// Confidence in an object of plain words, and in a relationship.
const PLAIN: f64 = 0.4;
const SAID: f64 = 0.6;
/// Most words of a name, and of an object of plain words.
const NAME_WORDS_MAX: usize = 8;
const OBJECT_WORDS_MAX: usize = 4;
/// Most objects of one phrase: "tea, coffee and milk".
const OBJECTS_MAX: usize = 8;
const UNKNOWN: &str = "ENTITY";

/// Reads a text; of more than [`TEXT_BYTES_MAX`] only the beginning.
#[must_use]
pub fn extract(text: &str) -> Extraction {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    let mut reader = Reader::default();
    for sentence in sentences(text) {
        reader.sentence(sentence);
        if reader.found.entities.len() >= FOUND_MAX || reader.found.relationships.len() >= FOUND_MAX {
            break;
        }
    }
    reader.found.entities.truncate(FOUND_MAX);
    reader.found.relationships.truncate(FOUND_MAX);
    let names: Vec<&String> = reader.found.entities.iter().map(|e| &e.name).collect();
    let ends = |r: &FoundRelationship| names.contains(&&r.source) && names.contains(&&r.target);
    let relationships = reader.found.relationships.iter().filter(|r| ends(r)).cloned().collect();
    Extraction { relationships, entities: reader.found.entities }
}

/// Words `from..to` of a sentence that name something.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: usize,
    to: usize,
}

#[derive(Default)]
struct Reader {
    found: Extraction,
    /// Place among the entities, by name in lower case.
    places: HashMap<String, usize>,
    last_subject: Option<String>,
}

impl Reader {
    fn sentence(&mut self, sentence: &str) {
        let words = words(sentence);
        let names = names(&words);
        for name in &names {
            let words = &words[name.from..name.to];
            let kind = kind_of(words);
            self.add(&joined(words), kind, sentence, if kind == UNKNOWN { NAMED } else { TYPED });
        }
        let mut at = 0;
        while at < words.len() {
            match phrase_at(&words, at) {
                // A phrase within a name is none.
                Some(phrase) if at > 0 && !names.iter().any(|name| name.from < at && at < name.to) => {
                    self.relationship(sentence, &words, &names, at, phrase);
                    at += phrase.words.len();
                }
                _ => at += 1,
            }
        }
    }

    fn relationship(
        &mut self,
        sentence: &str,
        words: &[Word<'_>],
        names: &[Span],
        at: usize,
        phrase: &Phrase,
    ) {
        let Some(subject) = self.subject(words, names, at) else { return };
        let after = at + phrase.words.len();
        if words[..after].last().is_some_and(|word| word.broken) {
            return;
        }
        let objects = objects(words, names, after);
        if objects.is_empty() {
            return;
        }
        self.add(&subject, phrase.source, sentence, TYPED);
        for (object, named) in objects {
            let kind = if named && phrase.target == "CONCEPT" { "" } else { phrase.target };
            self.add(&object, kind, sentence, if named { TYPED } else { PLAIN });
            let object = self.known(&object);
            if object == self.known(&subject) {
                continue;
            }
            let found = FoundRelationship {
                source: self.known(&subject),
                target: object,
                kind: phrase.kind.to_owned(),
                description: Some(sentence.to_owned()),
                confidence: SAID,
            };
            let same = |r: &FoundRelationship| {
                r.source == found.source && r.target == found.target && r.kind == found.kind
            };
            if !self.found.relationships.iter().any(same) {
                self.found.relationships.push(found);
            }
        }
        self.last_subject = Some(subject);
    }

    /// The name right before the phrase, adverbs between them passed over, or whom a pronoun stands for.
    fn subject(&self, words: &[Word<'_>], names: &[Span], phrase_at: usize) -> Option<String> {
        let mut end = phrase_at;
        while end > 0 && ADVERBS.contains(&words[end - 1].lower().as_str()) {
            end -= 1;
        }
        if let Some(name) = names.iter().find(|name| name.to == end) {
            return Some(joined(&words[name.from..name.to]));
        }
        let pronoun = end == 1 && PRONOUNS.contains(&words[0].lower().as_str());
        let again = end > 0 && words[end - 1].text == "and";
        if pronoun || again { self.last_subject.clone() } else { None }
    }

    /// The name under which something is known.
    fn known(&self, name: &str) -> String {
        self.places
            .get(&name.to_lowercase())
            .map_or_else(|| name.to_owned(), |at| self.found.entities[*at].name.clone())
    }

    /// `kind`: empty or unknown changes nothing of what is known.
    fn add(&mut self, name: &str, kind: &str, sentence: &str, confidence: f64) {
        let kind = if kind.is_empty() { UNKNOWN } else { kind };
        if let Some(at) = self.places.get(&name.to_lowercase()) {
            let known = &mut self.found.entities[*at];
            if known.kind == UNKNOWN && kind != UNKNOWN {
                kind.clone_into(&mut known.kind);
            }
            known.confidence = known.confidence.max(confidence);
        } else {
            self.places.insert(name.to_lowercase(), self.found.entities.len());
            self.found.entities.push(FoundEntity {
                name: name.to_owned(),
                kind: kind.to_owned(),
                context: Some(sentence.to_owned()),
                confidence,
            });
        }
    }
}

/// The longest phrase that begins here.
fn phrase_at(words: &[Word<'_>], at: usize) -> Option<&'static Phrase> {
    let fits = |phrase: &&Phrase| {
        words.len() >= at + phrase.words.len()
            && phrase.words.iter().zip(&words[at..]).all(|(wanted, word)| word.lower() == *wanted)
    };
    PHRASES.iter().filter(fits).max_by_key(|phrase| phrase.words.len())
}

/// All names of a sentence, in order, without overlap.
fn names(words: &[Word<'_>]) -> Vec<Span> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match name_at(words, at) {
            Some(to) => {
                names.push(Span { from: at, to });
                at = to;
            }
            None => at += 1,
        }
    }
    names
}

/// Where a name that begins here ends.
fn name_at(words: &[Word<'_>], at: usize) -> Option<usize> {
    let word = &words[at];
    if is_address(word.text) {
        return Some(at + 1);
    }
    let lower = word.lower();
    if !starts_name(word) || FILLERS.contains(&lower.as_str()) || CALENDAR.contains(&lower.as_str()) {
        return None;
    }
    let mut to = at + 1;
    while to < words.len() && to - at < NAME_WORDS_MAX && !words[to - 1].broken {
        if starts_name(&words[to]) && words[to].text != "I" {
            to += 1;
            continue;
        }
        // "Bank of England", but not "Alice and Bob".
        let connects = CONNECTORS.contains(&words[to].text) && words[to].text != "and";
        let goes_on = words.get(to + 1).is_some_and(starts_name) && !words[to].broken;
        let of = words[to].text == "of" || words[to].text == "&" || words[to - 1].text.len() > 3;
        if connects && goes_on && (of && words[to].text != "for" && words[to].text != "the") {
            to += 2;
            continue;
        }
        break;
    }
    // "Dr Grace Hopper" is Grace Hopper.
    Some(to)
}

fn starts_name(word: &Word<'_>) -> bool {
    word.is_capitalised() && word.text.chars().any(char::is_alphabetic)
}

fn is_address(word: &str) -> bool {
    let mail = word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    mail || word.starts_with("http://") || word.starts_with("https://")
}

fn joined(words: &[Word<'_>]) -> String {
    let title = words.len() > 1 && TITLES.contains(&words[0].lower().trim_end_matches('.'));
    let words = if title { &words[1..] } else { words };
    words.iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
}

/// What the words of a name tell of its type.
fn kind_of(words: &[Word<'_>]) -> &'static str {
    let lower: Vec<String> = words.iter().map(Word::lower).collect();
    let any = |known: &[&str]| lower.iter().any(|word| known.contains(&word.as_str()));
    let [first, ..] = lower.as_slice() else { return UNKNOWN };
    if first.contains('@') {
        "EMAIL"
    } else if first.starts_with("http") && first.contains("://") {
        "URL"
    } else if lower.len() > 1 && TITLES.contains(&first.as_str()) {
        "PERSON"
    } else if any(ORGANIZATION_WORDS) {
        "ORGANIZATION"
    } else if any(LOCATION_WORDS) {
        "LOCATION"
    } else {
        UNKNOWN
    }
}

/// What follows a phrase: names, or a few plain words, joined by commas and "and". Whether each is a name.
fn objects(words: &[Word<'_>], names: &[Span], from: usize) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut at = from;
    while at < words.len() && found.len() < OBJECTS_MAX {
        while at < words.len() && DETERMINERS.contains(&words[at].text) {
            at += 1;
        }
        let end = if let Some(name) = names.iter().find(|name| name.from == at) {
            found.push((joined(&words[name.from..name.to]), true));
            name.to
        } else {
            let mut to = at;
            while to < words.len() && to - at < OBJECT_WORDS_MAX && is_plain(words, to) {
                to += 1;
                if words[to - 1].broken || names.iter().any(|name| name.from == to) {
                    break;
                }
            }
            if to == at {
                break;
            }
            found.push((joined(&words[at..to]), false));
            to
        };
        // Goes on behind a comma or "and", unless a new clause begins there.
        let and = words.get(end).is_some_and(|word| word.text == "and" || word.text == "or");
        let comma = words[end - 1].broken && !and;
        at = if and { end + 1 } else { end };
        let clause = (at..words.len().min(at + 3)).any(|n| phrase_at(words, n).is_some());
        if !(and || comma) || clause {
            break;
        }
    }
    found
}

fn is_plain(words: &[Word<'_>], at: usize) -> bool {
    let lower = words[at].lower();
    !STOPS.contains(&lower.as_str()) && !FILLERS.contains(&lower.as_str()) && words[at].text != "and"
}
