//! Patterns: `*` is any text, `?` any character, and the whole must match. Takes time by the product of both lengths at most.

/// As written.
pub(super) fn exact(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    matches(&pattern, &text)
}

/// Without regard to case.
pub(super) fn folded(pattern: &str, text: &str) -> bool {
    exact(&pattern.to_lowercase(), &text.trim().to_lowercase())
}

fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and what of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                star = Some((p, t));
            }
            Some(one) if *one == '?' || *one == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((behind, taken)) = star else { return false };
                star = Some((behind, taken + 1));
                (p, t) = (behind, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|one| *one == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, want) in [
            ("gpt-*", "gpt-4.1", true),
            ("gpt-*", "xgpt-4.1", false),
            ("gpt-4", "gpt-4.1", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "aüc", true),
            ("a?c", "ac", false),
            ("*mini*", "gpt-4.1-mini-2025", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
        ] {
            assert_eq!(exact(pattern, text), want, "{pattern} {text}");
        }
        assert!(!exact("GPT*", "gpt-4") && folded("MeshAgent-*", " meshagent-cli/1 "));
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let (pattern, text) = ("*a".repeat(100), "a".repeat(10_000) + "b");
        assert!(!exact(&pattern, &text));
    }
}
