//! Patches in the form that models write: blocks of lines that begin with a space (as it is), `-` (goes) or `+` (comes),
//! `@@ LINE` before a block for where it is, `*** End of File` after one that ends the file. Pure.

/// Bytes that a patch may have.
pub const PATCH_BYTES_MAX: usize = 1024 * 1024;

/// The text of a new file: every line begins with `+`.
pub fn create(patch: &str) -> Result<String, String> {
    let lines = content(patch)?.into_iter().map(|line| {
        let rest = line.strip_prefix('+');
        rest.ok_or_else(|| {
            format!("in the patch of a new file every line begins with `+`; `{}` does not", cut(line))
        })
    });
    Ok(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
}

/// The text with the patch applied. Where a block is not found as it is, white space at its lines' ends and then at
/// both ends is overlooked.
pub fn update(text: &str, patch: &str) -> Result<String, String> {
    let blocks = blocks(patch)?;
    if blocks.iter().all(|block| block.lines.is_empty()) {
        return Err("the patch changes nothing".into());
    }
    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let ends = text.ends_with('\n');
    let old: Vec<&str> = text.lines().collect();
    let (mut new, mut at) = (Vec::new(), 0);
    for block in &blocks {
        let begin = block.find(&old, at)?;
        new.extend(old.iter().take(begin).skip(at).map(|line| (*line).to_owned()));
        at = begin;
        for line in &block.lines {
            match line {
                Line::Stays(_) => {
                    new.extend(old.get(at).map(|line| (*line).to_owned()));
                    at += 1;
                }
                Line::Goes(_) => at += 1,
                Line::Comes(line) => new.push((*line).to_owned()),
            }
        }
    }
    new.extend(old.iter().skip(at).map(|line| (*line).to_owned()));
    let mut joined = new.join(ending);
    if ends && !joined.is_empty() {
        joined.push_str(ending);
    }
    Ok(joined)
}

#[derive(Debug, PartialEq)]
enum Line<'a> {
    Stays(&'a str),
    Goes(&'a str),
    Comes(&'a str),
}

#[derive(Debug, Default, PartialEq)]
struct Block<'a> {
    anchors: Vec<&'a str>,
    lines: Vec<Line<'a>>,
    at_end: bool,
}

impl Block<'_> {
    /// The lines that must be there.
    fn present(&self) -> Vec<&str> {
        let old = self.lines.iter().filter_map(|line| match line {
            Line::Stays(text) | Line::Goes(text) => Some(*text),
            Line::Comes(_) => None,
        });
        old.collect()
    }

    /// The line of `old` at which the block begins, not before `from`.
    fn find(&self, old: &[&str], from: usize) -> Result<usize, String> {
        let mut from = from;
        for anchor in self.anchors.iter().filter(|anchor| !anchor.is_empty()) {
            from = matching(old, &[anchor], from)
                .map(|at| at + 1)
                .ok_or_else(|| format!("the line `{}` after @@ is not in the file", cut(anchor)))?;
        }
        let wanted = self.present();
        if wanted.is_empty() {
            let anchored = self.anchors.iter().any(|anchor| !anchor.is_empty());
            return Ok(if anchored && !self.at_end { from } else { old.len() });
        }
        let last = old.len().saturating_sub(wanted.len()).max(from);
        let found = if self.at_end { matching(old, &wanted, last) } else { None };
        found.or_else(|| matching(old, &wanted, from)).ok_or_else(|| {
            let first = wanted.first().copied().unwrap_or_default();
            format!(
                "{} lines from `{}` on are not in the file as the patch has them; read the file again",
                wanted.len(),
                cut(first)
            )
        })
    }
}

fn matching(old: &[&str], wanted: &[&str], from: usize) -> Option<usize> {
    type Same = fn(&str, &str) -> bool;
    let ways: [Same; 3] = [|a, b| a == b, |a, b| a.trim_end() == b.trim_end(), |a, b| a.trim() == b.trim()];
    ways.iter().find_map(|same| {
        let fits = |at: &usize| {
            let here = old.get(*at..at + wanted.len()).unwrap_or_default();
            here.len() == wanted.len() && here.iter().zip(wanted).all(|(a, b)| same(a, b))
        };
        (from..=old.len()).find(fits)
    })
}

/// The lines without what stands around a whole patch.
fn content(patch: &str) -> Result<Vec<&str>, String> {
    if patch.len() > PATCH_BYTES_MAX {
        return Err(format!("the patch has more than {PATCH_BYTES_MAX} bytes"));
    }
    let around = |line: &str| {
        ["*** Begin Patch", "*** End Patch", "*** Add File:", "*** Update File:"]
            .iter()
            .any(|mark| line.starts_with(mark))
    };
    Ok(patch.lines().filter(|line| !around(line)).collect())
}

fn blocks(patch: &str) -> Result<Vec<Block<'_>>, String> {
    let mut all: Vec<Block<'_>> = Vec::new();
    let mut present = Block::default();
    for line in content(patch)? {
        if let Some(anchor) = line.strip_prefix("@@") {
            if !present.lines.is_empty() {
                all.push(std::mem::take(&mut present));
            }
            present.anchors.push(anchor.trim());
            continue;
        }
        if line == "*** End of File" {
            present.at_end = true;
            continue;
        }
        present.lines.push(match (line.chars().next(), line.get(1..)) {
            (None, _) => Line::Stays(""),
            (Some(' '), Some(text)) => Line::Stays(text),
            (Some('-'), Some(text)) => Line::Goes(text),
            (Some('+'), Some(text)) => Line::Comes(text),
            _ => {
                return Err(format!(
                    "a line of the patch begins with none of space, - and +: `{}`",
                    cut(line)
                ));
            }
        });
    }
    all.push(present);
    Ok(all)
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "def a():\n    x = 1\n    return x\n\ndef b():\n    x = 1\n    return x\n";

    #[test]
    fn a_new_file_is_all_plus() {
        assert_eq!(create("+one\n+\n+two\n+").unwrap(), "one\n\ntwo\n");
        assert!(create("one").unwrap_err().contains("begins with `+`"));
    }

    #[test]
    fn a_block_is_found_by_its_lines_and_by_what_stands_after_the_marks() {
        let first = update(FILE, " def a():\n-    x = 1\n+    x = 2\n     return x").unwrap();
        assert_eq!(first, FILE.replacen("x = 1", "x = 2", 1));
        let second = update(FILE, "@@ def b():\n-    x = 1\n+    x = 2\n     return x\n").unwrap();
        let (head, tail) = FILE.split_at(FILE.find("def b").unwrap());
        assert_eq!(second, format!("{head}{}", tail.replace("x = 1", "x = 2")));
        let both = "@@ def a():\n-    x = 1\n+    x = 2\n@@ def b():\n-    x = 1\n+    x = 3\n";
        let both = update(FILE, both).unwrap();
        assert!(both.contains("x = 2") && both.contains("x = 3") && !both.contains("x = 1"));
    }

    #[test]
    fn lines_are_put_at_the_end_and_after_a_mark() {
        assert_eq!(update("a\n", "+b\n").unwrap(), "a\nb\n");
        assert_eq!(update("", "+b").unwrap(), "b");
        assert_eq!(update("a\nb\n", "@@ a\n+x\n").unwrap(), "a\nx\nb\n");
        assert_eq!(update("x\ny\nx\n", "-x\n+z\n*** End of File\n").unwrap(), "x\ny\nz\n");
        assert_eq!(update("x\n", "-x\n").unwrap(), "");
    }

    #[test]
    fn white_space_is_overlooked_and_the_files_own_is_kept() {
        assert_eq!(update("\ta  \nb\n", " a\n-b\n+c\n").unwrap(), "\ta  \nc\n");
        assert_eq!(update("a\r\nb\r\n", " a\n-b\n+c\n").unwrap(), "a\r\nc\r\n");
        assert_eq!(update("a\nb", "-b\n+c").unwrap(), "a\nc");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (patch, why) in [
            ("-nope\n+x", "not in the file"),
            ("@@ nope\n-def a():", "after @@"),
            ("zap", "none of space"),
            ("ä", "none of space"),
            ("", "changes nothing"),
            ("@@ def b():\n-def a():", "not in the file"),
        ] {
            let error = update(FILE, patch).unwrap_err();
            assert!(error.contains(why), "{patch}: {error}");
        }
        assert!(update(FILE, &"+".repeat(PATCH_BYTES_MAX + 1)).unwrap_err().contains("more than"));
    }
}
