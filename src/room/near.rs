//! Near misses: what somebody may have meant by a name that does not exist.

/// Most names that a text lists.
const LISTED_MAX: usize = 12;
/// A name this near is a likely typing mistake, in edits.
const EDITS_MAX: usize = 2;

/// `; did you mean …?` or `; there are …`, or that there are none.
#[must_use]
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<(usize, &str)> =
        known.into_iter().map(|k| (strsim::damerau_levenshtein(name, k), k)).collect();
    known.sort_unstable();
    known.dedup();
    let near: Vec<String> =
        known.iter().take_while(|(edits, _)| *edits <= EDITS_MAX).map(|(_, k)| format!("`{k}`")).collect();
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(" or "));
    }
    let all: Vec<String> = known.iter().take(LISTED_MAX).map(|(_, k)| format!("`{k}`")).collect();
    match (all.len(), known.len()) {
        (0, _) => "there are none".to_owned(),
        (shown, total) if shown < total => format!("there are {total}, among them {}", all.join(", ")),
        _ => format!("there are {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_typing_mistake_is_recognised() {
        assert_eq!(hint("quues", ["queues", "storage"]), "did you mean `queues`?");
        assert_eq!(hint("zzzzzzz", ["queues", "storage"]), "there are `queues`, `storage`");
        assert_eq!(hint("a", []), "there are none");
    }
}
