//! A text into sentences, a sentence into words.

use super::phrases::{FILLERS, TITLES};

/// A dot behind these ends no sentence.
const ABBREVIATIONS: [&str; 24] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "e.g", "i.e", "inc", "ltd", "co", "corp",
    "no", "dept", "approx", "jan", "feb", "aug", "sept", "dec",
];

/// Sentences, trimmed, in order. Line breaks with an empty line or a list mark end a sentence too.
pub(super) fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    for (n, (at, c)) in characters.iter().enumerate() {
        let next = characters.get(n + 1).map(|(_, c)| *c);
        let ends = match c {
            '。' | '！' | '？' => true,
            '!' | '?' => next.is_none_or(|c| !c.is_alphanumeric()),
            '.' => next.is_none_or(char::is_whitespace) && ends_at(&text[start..*at], &text[at + 1..]),
            '\n' => next.is_none_or(|c| matches!(c, '\n' | '-' | '*' | '•' | '#') || c.is_ascii_digit()),
            _ => false,
        };
        if ends {
            let end = at + c.len_utf8();
            found.push(&text[start..end]);
            start = end;
        }
    }
    found.push(&text[start..]);
    found.iter().map(|sentence| trimmed(sentence)).filter(|sentence| !sentence.is_empty()).collect()
}

fn trimmed(sentence: &str) -> &str {
    sentence.trim().trim_start_matches(['-', '*', '•', '#']).trim()
}

/// Whether a dot ends a sentence. One behind "Corp" does where a word follows that begins sentences.
fn ends_at(before: &str, after: &str) -> bool {
    if !is_abbreviated(before) {
        return true;
    }
    let next = after.split_whitespace().next().map(trim_word).unwrap_or_default();
    let begins = next.chars().next().is_some_and(char::is_uppercase)
        && FILLERS.contains(&next.to_lowercase().as_str());
    let last = before.rsplit(char::is_whitespace).next().unwrap_or_default().to_lowercase();
    begins && !TITLES.contains(&last.as_str()) && last.chars().count() > 1
}

fn is_abbreviated(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// A word of a sentence and what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub text: &'t str,
    /// A comma, a colon, a bracket or the like follows.
    pub broken: bool,
}

impl Word<'_> {
    pub fn is_capitalised(&self) -> bool {
        self.text.chars().next().is_some_and(char::is_uppercase)
    }

    pub fn lower(&self) -> String {
        self.text.to_lowercase()
    }
}

pub(super) fn words(sentence: &str) -> Vec<Word<'_>> {
    let pieces = sentence.split_whitespace();
    let word = |piece| {
        let text = trim_word(piece);
        let after = &piece[text.as_ptr() as usize - piece.as_ptr() as usize + text.len()..];
        // The dot of an abbreviation or an initial breaks nothing.
        let broken = after.chars().any(|c| matches!(c, ',' | ';' | ':' | ')' | '!' | '?' | '"' | '”'))
            || (after.starts_with('.') && !is_abbreviated(text));
        Word { text, broken }
    };
    pieces.map(word).filter(|word| !word.text.is_empty()).collect()
}

fn trim_word(piece: &str) -> &str {
    let inner =
        piece.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '@' | '#' | '+' | '$' | '€' | '%'));
    inner.strip_suffix("'s").or_else(|| inner.strip_suffix("’s")).unwrap_or(inner)
}
