//! Which files of a folder are documents: by their endings, and by `.meshagentignore`, which names what is left out. One
//! pattern per line, as in `.gitignore`: `*` and `?` within a
//! name, `**` over folders, a `/` at the end for folders only, a `/` elsewhere for a path from the file's own folder, `!` to
//! take a file back in, `#` for remarks. The last pattern that fits decides.

/// Endings of files that are documents.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Whether a file of this name is a document.
#[must_use]
pub fn is_document(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

/// The name of the file that names what is left out.
pub const IGNORE_FILE: &str = ".meshagentignore";

/// The patterns of one folder.
#[derive(Debug, Default, Clone)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Vec<char>,
    /// From the folder itself; else anywhere below.
    anchored: bool,
    folders_only: bool,
    back_in: bool,
}

impl Ignore {
    /// Reads the patterns of a file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let rules = lines.map(|line| {
            let (back_in, line) = line.strip_prefix('!').map_or((false, line), |line| (true, line));
            let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |line| (true, line));
            let anchored = line.contains('/');
            let pattern = line.trim_start_matches('/').chars().collect();
            Rule { pattern, anchored, folders_only, back_in }
        });
        Self { rules: rules.collect() }
    }

    /// Whether a path, relative to the folder and with `/` between names, is left out; nothing where no pattern fits.
    #[must_use]
    pub fn verdict(&self, path: &str, is_folder: bool) -> Option<bool> {
        let name: Vec<char> = path.rsplit('/').next().unwrap_or(path).chars().collect();
        let whole: Vec<char> = path.chars().collect();
        let fits = |rule: &&Rule| {
            let of = if rule.anchored { &whole } else { &name };
            (is_folder || !rule.folders_only) && matches(&rule.pattern, of)
        };
        self.rules.iter().rev().find(fits).map(|rule| !rule.back_in)
    }
}

/// Whether a pattern fits all of a text. Linear in memory: one row of the table of prefixes.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let mut row: Vec<bool> = std::iter::once(true).chain(text.iter().map(|_| false)).collect();
    let mut rest = pattern;
    while let Some((sign, after)) = rest.split_first() {
        let double = *sign == '*' && after.first() == Some(&'*');
        rest = if double { after.get(1..).unwrap_or_default() } else { after };
        // `**/` is also nothing at all.
        let none = double && rest.first() == Some(&'/');
        let before = row.clone();
        let at = |row: &[bool], place: usize| row.get(place).copied().unwrap_or_default();
        let mut next = vec![at(&before, 0) && *sign == '*'];
        for (place, c) in text.iter().enumerate() {
            next.push(match sign {
                '*' => at(&before, place + 1) || (next.last() == Some(&true) && (double || *c != '/')),
                '?' => at(&before, place) && *c != '/',
                sign => at(&before, place) && sign == c,
            });
        }
        if none {
            // Either folders and a `/`, or neither.
            row = std::iter::once(false)
                .chain(text.iter().enumerate().map(|(place, c)| at(&next, place) && *c == '/'))
                .zip(before)
                .map(|(over, skipped)| over || skipped)
                .collect();
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        row = next;
    }
    row.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_gitignore() {
        let fits = |pattern: &str, path: &str| Ignore::parse(pattern).verdict(path, false) == Some(true);
        for (pattern, path) in [
            ("*.tmp.yaml", "a/b.tmp.yaml"),
            ("drafts.yaml", "a/drafts.yaml"),
            ("/a.yaml", "a.yaml"),
            ("a/*.yaml", "a/b.yaml"),
            ("a/**", "a/b/c.yaml"),
            ("**/b.yaml", "b.yaml"),
            ("**/b.yaml", "x/y/b.yaml"),
            ("a/**/c.yaml", "a/c.yaml"),
            ("?.yaml", "x.yaml"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/a.yaml", "b/a.yaml"),
            ("a/*.yaml", "a/b/c.yaml"),
            ("*.yml", "a.yaml"),
            ("a/**/c.yaml", "ac.yaml"),
            ("# a.yaml", "a.yaml"),
            ("a.yaml/", "a.yaml"),
        ] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_pattern_decides() {
        let ignore = Ignore::parse("*.yaml\n!keep.yaml\nold/\n");
        assert_eq!(ignore.verdict("a.yaml", false), Some(true));
        assert_eq!(ignore.verdict("x/keep.yaml", false), Some(false));
        assert_eq!(ignore.verdict("old", true), Some(true));
        assert_eq!(ignore.verdict("old", false), None);
        assert!(!matches(
            &"*a".repeat(30).chars().collect::<Vec<_>>(),
            &"a".repeat(29).chars().collect::<Vec<_>>()
        ));
    }
}
