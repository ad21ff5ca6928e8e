//! What the rules know of English.

/// A way of saying a relationship.
pub(super) struct Phrase {
    /// Lower case.
    pub words: &'static [&'static str],
    pub kind: &'static str,
    /// Types of the two ends; empty: unknown.
    pub source: &'static str,
    pub target: &'static str,
}

macro_rules! phrases {
    ($($kind:literal $source:literal $target:literal: $($words:literal)+;)*) => {
        &[$($(Phrase { words: &const_split::<{ count($words) }>($words), kind: $kind, source: $source, target: $target },)+)*]
    };
}

const fn count(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut n, mut at) = (1, 0);
    while at < bytes.len() {
        if bytes[at] == b' ' {
            n += 1;
        }
        at += 1;
    }
    n
}

/// The words of a text; `N` is their number.
const fn const_split<const N: usize>(text: &'static str) -> [&'static str; N] {
    let mut words = [""; N];
    let mut rest = text.as_bytes();
    let mut n = 0;
    while n < N {
        let mut end = 0;
        while end < rest.len() && rest[end] != b' ' {
            end += 1;
        }
        let (word, after) = rest.split_at(end);
        words[n] = match std::str::from_utf8(word) {
            Ok(word) => word,
            Err(_) => "",
        };
        rest = if after.is_empty() { after } else { after.split_at(1).1 };
        n += 1;
    }
    words
}

/// Longest first where one begins as another does.
pub(super) const PHRASES: &[Phrase] = phrases! {
    "WORKS_AT" "PERSON" "ORGANIZATION": "is employed by" "was employed by" "works at" "works for" "worked at"
        "worked for" "work at" "work for" "joined";
    "WORKS_WITH" "PERSON" "PERSON": "works with" "worked with" "collaborates with";
    "WORKS_ON" "PERSON" "": "is working on" "works on" "worked on";
    "WORKS_AS" "PERSON" "CONCEPT": "works as";
    "LIVES_IN" "PERSON" "LOCATION": "lives in" "lived in" "live in" "resides in" "is living in";
    "MOVED_TO" "PERSON" "LOCATION": "moved to" "relocated to" "is moving to";
    "COMES_FROM" "PERSON" "LOCATION": "comes from" "is from";
    "BORN_IN" "PERSON" "": "was born in" "was born on";
    "TRAVELLED_TO" "PERSON" "LOCATION": "travelled to" "traveled to" "flew to" "visited";
    "LOCATED_IN" "" "LOCATION": "is located in" "are located in" "is based in" "is headquartered in" "lies in";
    "STUDIED_AT" "PERSON" "ORGANIZATION": "graduated from" "studied at" "studies at" "attended";
    "STUDIES" "PERSON" "CONCEPT": "is studying" "studies" "studied";
    "MARRIED_TO" "PERSON" "PERSON": "is married to" "was married to" "married";
    "PARENT_OF" "PERSON" "PERSON": "is the mother of" "is the father of" "is the parent of";
    "CHILD_OF" "PERSON" "PERSON": "is the son of" "is the daughter of" "is the child of";
    "SIBLING_OF" "PERSON" "PERSON": "is the brother of" "is the sister of";
    "FRIEND_OF" "PERSON" "PERSON": "is a friend of" "is friends with";
    "KNOWS" "PERSON" "PERSON": "knows" "knew";
    "MET" "PERSON" "PERSON": "met with" "met";
    "REPORTS_TO" "PERSON" "PERSON": "reports to" "reported to";
    "MANAGES" "PERSON" "": "is the manager of" "manages" "managed" "leads" "led" "is the head of" "heads";
    "FOUNDED" "PERSON" "ORGANIZATION": "co-founded" "cofounded" "founded" "started";
    "MEMBER_OF" "" "ORGANIZATION": "is a member of" "is part of" "belongs to";
    "OWNS" "" "": "owns" "owned" "bought" "acquired";
    "CREATED" "" "": "created" "built" "wrote" "invented" "designed" "developed";
    "ALLERGIC_TO" "PERSON" "CONCEPT": "is allergic to";
    "INTERESTED_IN" "PERSON" "CONCEPT": "is interested in";
    "DISLIKES" "" "CONCEPT": "does not like" "doesn't like" "don't like" "do not like" "dislikes" "dislike" "hates" "hate";
    "LIKES" "" "CONCEPT": "really likes" "likes" "like" "loves" "love" "enjoys" "enjoy";
    "PREFERS" "" "CONCEPT": "prefers" "prefer";
    "WANTS" "" "CONCEPT": "would like to" "would like" "wants to" "wants" "want to" "want" "needs to" "needs"
        "need to" "need";
    "SPEAKS" "PERSON" "CONCEPT": "speaks" "speak";
    "PLAYS" "PERSON" "CONCEPT": "plays" "play";
    "USES" "" "CONCEPT": "uses" "use" "used";
    "HAS" "" "CONCEPT": "has a" "has an" "has" "have";
    "CONTAINS" "" "": "contains" "includes";
    "DEPENDS_ON" "" "": "depends on" "relies on";
    "IS_A" "" "CONCEPT": "is a" "is an" "is the" "was a" "was an" "was the" "are" "is";
};

/// Words that begin a sentence without naming anything, and that are no objects.
pub(super) const FILLERS: &[&str] = &[
    "a",
    "about",
    "after",
    "again",
    "all",
    "also",
    "although",
    "an",
    "and",
    "another",
    "any",
    "as",
    "at",
    "because",
    "before",
    "both",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "during",
    "each",
    "either",
    "even",
    "every",
    "everyone",
    "finally",
    "first",
    "for",
    "from",
    "he",
    "her",
    "here",
    "hers",
    "hi",
    "hello",
    "his",
    "how",
    "however",
    "i",
    "if",
    "in",
    "instead",
    "is",
    "it",
    "its",
    "just",
    "last",
    "later",
    "like",
    "many",
    "may",
    "maybe",
    "me",
    "meanwhile",
    "might",
    "more",
    "most",
    "my",
    "neither",
    "never",
    "next",
    "no",
    "nobody",
    "not",
    "nothing",
    "now",
    "of",
    "often",
    "on",
    "once",
    "one",
    "only",
    "or",
    "other",
    "our",
    "out",
    "over",
    "perhaps",
    "please",
    "remember",
    "she",
    "should",
    "since",
    "so",
    "some",
    "someone",
    "sometimes",
    "soon",
    "still",
    "such",
    "thank",
    "thanks",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "though",
    "to",
    "today",
    "together",
    "tomorrow",
    "too",
    "under",
    "until",
    "up",
    "us",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "why",
    "will",
    "with",
    "would",
    "yes",
    "yesterday",
    "yet",
    "you",
    "your",
];

/// Stand between a subject and its verb.
pub(super) const ADVERBS: &[&str] = &[
    "also",
    "always",
    "already",
    "currently",
    "formerly",
    "generally",
    "just",
    "mostly",
    "never",
    "now",
    "often",
    "originally",
    "previously",
    "probably",
    "really",
    "recently",
    "sometimes",
    "still",
    "then",
    "usually",
    "who",
];

/// Stand for the last person or thing spoken of.
pub(super) const PRONOUNS: &[&str] = &["he", "she", "they", "it"];

/// End an object.
pub(super) const STOPS: &[&str] = &[
    "after", "although", "and", "as", "at", "because", "before", "but", "by", "during", "for", "from", "if",
    "in", "near", "on", "or", "since", "so", "than", "that", "though", "to", "until", "very", "when",
    "where", "which", "while", "who", "with", "without",
];

/// Before an object, and no part of it.
pub(super) const DETERMINERS: &[&str] = &[
    "a", "an", "the", "his", "her", "their", "its", "my", "our", "your", "some", "any", "very", "much",
    "more",
];

/// Within a name of several words.
pub(super) const CONNECTORS: &[&str] =
    &["of", "the", "and", "&", "de", "del", "la", "van", "von", "der", "da", "di", "for"];

pub(super) const TITLES: &[&str] =
    &["mr", "mrs", "ms", "dr", "prof", "professor", "sir", "captain", "president"];

pub(super) const ORGANIZATION_WORDS: &[&str] = &[
    "inc",
    "ltd",
    "llc",
    "corp",
    "corporation",
    "gmbh",
    "ag",
    "company",
    "co",
    "university",
    "college",
    "institute",
    "school",
    "bank",
    "hospital",
    "foundation",
    "group",
    "labs",
    "laboratories",
    "agency",
    "ministry",
    "association",
    "club",
    "team",
    "technologies",
    "systems",
    "airlines",
    "museum",
];

pub(super) const LOCATION_WORDS: &[&str] = &[
    "street", "avenue", "road", "city", "river", "lake", "mountain", "mount", "island", "valley", "park",
    "square", "county", "province", "republic", "kingdom", "states", "airport", "station", "bay", "beach",
];

pub(super) const CALENDAR: &[&str] = &[
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
