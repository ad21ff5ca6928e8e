//! Sizes: functions and files stay short; the old long ones are listed with a reason and may only shrink.

use crate::source::{Source, end_of_braces, name_at, report, text, word_positions};
use std::collections::BTreeMap;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
/// No reason lets a file grow beyond this.
const FILE_LINES_HARD_MAX: usize = 800;
/// At most this share of functions may be longer than `FUNCTION_LINES_MAX`.
const LONG_FUNCTIONS_PERCENT_MAX: usize = 5;
const EXCEPTIONS: &str = "tests/architecture/exceptions.txt";
const CODE_DIRS: [&str; 4] = ["src", "tests", "benches", "fuzz"];

/// Recorded exceptions: `path` or `path::function` → the lines it had when recorded.
fn exceptions() -> BTreeMap<String, usize> {
    let mut known = BTreeMap::new();
    for line in text(EXCEPTIONS).lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut fields = line.splitn(3, ' ');
        let (Some(what), Some(lines), Some(reason)) = (fields.next(), fields.next(), fields.next()) else {
            panic!("{EXCEPTIONS}: `{line}` is not `path[::function] lines reason`");
        };
        assert!(!reason.trim().is_empty(), "{EXCEPTIONS}: `{what}` has no reason");
        known.insert(
            what.to_owned(),
            lines.parse().unwrap_or_else(|_| panic!("{EXCEPTIONS}: `{what}` has no number of lines")),
        );
    }
    known
}

/// `(name, lines)` of every function with a body.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for at in word_positions(&source.code, "fn") {
        let name_start = at + "fn ".len();
        if name_start >= source.code.len() {
            continue;
        }
        let name = name_at(&source.code, name_start);
        if name.is_empty() {
            continue;
        }
        if let Some(open) = body_start(&source.code, name_start) {
            let lines = source.code[at..end_of_braces(&source.code, open)].matches('\n').count() + 1;
            found.push((name.to_owned(), lines));
        }
    }
    found
}

/// Where the body opens; nothing for a declaration that ends with `;`.
fn body_start(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.as_bytes()[from..].iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(from + offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn functions_and_files_stay_short() {
    let known = exceptions();
    let mut used = Vec::new();
    let mut problems = Vec::new();
    let (mut all, mut long) = (0_usize, 0_usize);
    let mut judge =
        |what: String, lines: usize, limit: usize, problems: &mut Vec<String>| match known.get(&what) {
            Some(recorded) if lines <= *recorded => used.push(what),
            Some(recorded) => problems.push(format!("{what} grew from {recorded} to {lines} lines")),
            None => problems.push(format!("{what} has {lines} lines; {limit} is the limit")),
        };
    for source in Source::all_below(&CODE_DIRS) {
        let lines = source.line_count();
        if lines > FILE_LINES_HARD_MAX {
            problems
                .push(format!("{} has {lines} lines; nothing may exceed {FILE_LINES_HARD_MAX}", source.path));
        } else if lines > FILE_LINES_MAX {
            judge(source.path.clone(), lines, FILE_LINES_MAX, &mut problems);
        }
        for (name, lines) in functions(&source) {
            all += 1;
            if lines > FUNCTION_LINES_MAX {
                long += 1;
                judge(format!("{}::{name}", source.path), lines, FUNCTION_LINES_MAX, &mut problems);
            }
        }
    }
    for stale in known.keys().filter(|what| !used.contains(what)) {
        if !problems.iter().any(|problem| problem.starts_with(stale.as_str())) {
            problems.push(format!("{EXCEPTIONS}: `{stale}` is short again or gone; delete its line"));
        }
    }
    if long * 100 > all * LONG_FUNCTIONS_PERCENT_MAX {
        problems.push(format!("{long} of {all} functions are longer than {FUNCTION_LINES_MAX} lines; {LONG_FUNCTIONS_PERCENT_MAX} % is the limit"));
    }
    report(&format!("split it, or record it with a reason in {EXCEPTIONS}"), &problems);
}

#[test]
fn function_lengths_are_measured() {
    let code = "impl X {\n    fn a(b: [u8; 2]) -> Y {\n        1\n    }\n    fn c();\n}\nfn d() {}\ntype E = fn(u8);\n";
    let source = Source { path: "x.rs".into(), text: code.into(), code: code.into() };
    assert_eq!(functions(&source), [("a".to_owned(), 3), ("d".to_owned(), 1)]);
}
