//! Reads the repository as text: the files, and Rust code with comments and literals blanked out.

use std::fs;
use std::path::{Path, PathBuf};

/// Names that hold nothing a person wrote.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "__pycache__"];

/// The folder of the package.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` (relative to the package), sorted, as paths relative to the package.
pub fn files_below(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    found.sort();
    found
}

fn walk(dir: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if let Ok(relative) = path.strip_prefix(root()) {
            found.push(relative.to_string_lossy().into_owned());
        }
    }
}

/// The text of a file, or nothing where it is not UTF-8.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// One Rust file: its path, its text, and its code (same length and lines, comments and literals blanked).
pub struct Source {
    pub path: String,
    pub text: String,
    pub code: String,
}

impl Source {
    /// Every Rust file below the given folders.
    pub fn all_below(dirs: &[&str]) -> Vec<Source> {
        let mut sources = Vec::new();
        for dir in dirs {
            for path in files_below(dir) {
                if has_extension(&path, "rs") {
                    let text = text(&path);
                    let code = blank(&text);
                    sources.push(Source { path, text, code });
                }
            }
        }
        sources
    }

    /// Names of the modules from the crate root to this file: `src/room/hub.rs` is `["room", "hub"]`.
    pub fn module(&self) -> Vec<&str> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let mut parts: Vec<&str> = inner.trim_end_matches(".rs").split('/').collect();
        if parts.last() == Some(&"mod") || matches!(parts.as_slice(), ["lib" | "main"]) {
            parts.pop();
        }
        parts
    }

    /// The one-based line of a byte position.
    pub fn line_of(&self, position: usize) -> usize {
        self.code[..position].matches('\n').count() + 1
    }

    pub fn line_count(&self) -> usize {
        self.text.lines().count()
    }
}

pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// Replaces comments and the insides of string and character literals by spaces; newlines stay.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => end_of_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => end_of_block_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'r' if starts_raw_string(bytes, at) => end_of_raw_string(bytes, at),
            b'\'' => end_of_char(bytes, at),
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

fn end_of_line(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| from + length)
}

fn end_of_block_comment(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn starts_raw_string(bytes: &[u8], at: usize) -> bool {
    let before_is_name = at > 0 && is_name_byte(bytes[at - 1]) && bytes[at - 1] != b'b';
    let after_hashes = bytes[at + 1..].iter().find(|byte| **byte != b'#');
    !before_is_name && after_hashes == Some(&b'"')
}

fn end_of_raw_string(bytes: &[u8], from: usize) -> usize {
    let hashes = bytes[from + 1..].iter().take_while(|byte| **byte == b'#').count();
    let mut closing = vec![b'"'];
    closing.extend(std::iter::repeat_n(b'#', hashes));
    let body = from + 1 + hashes + 1;
    bytes[body..]
        .windows(closing.len())
        .position(|window| window == closing)
        .map_or(bytes.len(), |length| body + length + closing.len())
}

/// A character literal ends at its quote; a lifetime is one byte of nothing.
fn end_of_char(bytes: &[u8], from: usize) -> usize {
    if bytes.get(from + 1) == Some(&b'\\') {
        return bytes[from + 3..]
            .iter()
            .position(|byte| *byte == b'\'')
            .map_or(bytes.len(), |length| from + 3 + length + 1);
    }
    let longest_char_bytes = 4;
    (from + 2..=from + 1 + longest_char_bytes)
        .find(|at| bytes.get(*at) == Some(&b'\''))
        .filter(|at| std::str::from_utf8(&bytes[from + 1..*at]).is_ok_and(|inner| inner.chars().count() == 1))
        .map_or(from + 1, |at| at + 1)
}

pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Byte positions where `word` stands as a whole word.
pub fn word_positions(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || !is_name_byte(bytes[at - 1]))
        .filter(|at| bytes.get(at + word.len()).is_none_or(|after| !is_name_byte(*after)))
        .collect()
}

/// The name that starts at `from`, which may be empty.
pub fn name_at(code: &str, from: usize) -> &str {
    let length = code.as_bytes()[from..].iter().take_while(|byte| is_name_byte(**byte)).count();
    &code[from..from + length]
}

/// The position after the brace that closes the one at `open`.
pub fn end_of_braces(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return open + offset + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// `SomeName` as `some-name`.
pub fn kebab(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(character.to_lowercase());
    }
    out
}

/// Fails with every problem at once.
pub fn report(rule: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{rule}:\n  {}\n", problems.join("\n  "));
}

#[test]
fn literals_and_comments_are_blanked() {
    let text = "let a = \"{ fn x\"; // fn y\n/* { /* */ } */ let b = '{'; let d: &'static str = r#\"}\"#;";
    let code = blank(text);
    assert_eq!((code.len(), code.lines().count()), (text.len(), 2));
    for gone in ["fn", "{", "}"] {
        assert!(!code.contains(gone), "`{gone}` should be blank in {code}");
    }
    for kept in ["let a", "let b", "static str"] {
        assert!(code.contains(kept), "`{kept}` should stand in {code}");
    }
}
