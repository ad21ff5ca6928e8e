//! What must stand beside the code: module docs, listed files, paired migrations, error pages; and what must stand nowhere.

use crate::source::{
    Source, end_of_braces, files_below, has_extension, kebab, report, root, text, word_positions,
};
use std::collections::BTreeSet;

/// Where errors get the codes that the REST API answers with.
const SERVER_CODE: [&str; 5] = ["src/api", "src/app", "src/control", "src/domain", "src/server"];
/// Stands on a line of a test that lets paused time pass.
const PAUSED_TIME: &str = "// time is paused";

/// Files that tools write and that quote the outside world.
const GENERATED: [&str; 2] = ["Cargo.lock", "package-lock.json"];

#[test]
fn every_module_says_what_it_is() {
    let mut problems = Vec::new();
    for source in Source::all_below(&["src"]) {
        let is_top = source.module().len() <= 1;
        let is_folder = source.path.ends_with("/mod.rs");
        if (is_top || is_folder) && !source.text.starts_with("//!") {
            problems.push(source.path);
        }
    }
    report("begin with `//!`: what the module is and what it may not know", &problems);
}

#[test]
fn every_source_file_is_a_module_of_its_folder() {
    let mut problems = Vec::new();
    for path in files_below("src").into_iter().chain(files_below("tests/it")) {
        if !has_extension(&path, "rs")
            || ["src/lib.rs", "src/main.rs", "tests/it/main.rs"].contains(&path.as_str())
        {
            continue;
        }
        let (folder, file) = path.rsplit_once('/').unwrap_or_default();
        let (parent_folder, name) = if file == "mod.rs" {
            folder.rsplit_once('/').unwrap_or_default()
        } else {
            (folder, file.trim_end_matches(".rs"))
        };
        let parents = [
            format!("{parent_folder}/mod.rs"),
            format!("{parent_folder}/lib.rs"),
            format!("{parent_folder}/main.rs"),
            format!("{parent_folder}.rs"),
        ];
        let is_listed = |parent: &String| {
            text(parent).lines().map(str::trim).any(|line| {
                let declaration =
                    line.rsplit_once("mod ").map(|(_, rest)| rest.trim_end_matches([';', '{', ' ', '}']));
                declaration == Some(name)
            })
        };
        let by_path = format!("#[path = \"{file}\"]");
        let is_named = |sibling: &String| sibling.starts_with(folder) && text(sibling).contains(&by_path);
        if !parents.iter().any(is_listed) && !files_below(folder).iter().any(is_named) {
            problems.push(format!("{path} is in no `mod {name};`, so nothing compiles it"));
        }
    }
    report("list the file in its parent module, or delete it", &problems);
}

#[test]
fn migrations_come_in_pairs() {
    let names = |engine: &str| -> BTreeSet<String> {
        let folder = format!("migrations/{engine}/");
        files_below(&folder).iter().filter_map(|path| path.strip_prefix(&folder)).map(str::to_owned).collect()
    };
    let (sqlite, postgres) = (names("sqlite"), names("postgres"));
    let mut problems: Vec<String> = sqlite
        .symmetric_difference(&postgres)
        .map(|name| format!("{name} exists for one engine only"))
        .collect();
    for (number, name) in (1..).zip(&sqlite) {
        if !name.starts_with(&format!("{number:04}_")) || !has_extension(name, "sql") {
            problems.push(format!("{name} should be {number:04}_<what>.sql"));
        }
    }
    report("one migration per change and engine, with the same number and name", &problems);
}

/// `(variant, number)` of the numeric room codes.
fn room_codes() -> Vec<(String, String)> {
    let source = text("src/error_code.rs");
    let body = source
        .split_once("pub enum RoomCode {")
        .map_or("", |(_, rest)| rest.split_once('}').map_or("", |(body, _)| body));
    body.lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "))
        .map(|(name, number)| (name.to_owned(), number.to_owned()))
        .collect()
}

/// Text codes: the literals in bodies of `fn code`, and those that stand as `code: "…"`.
fn text_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for source in Source::all_below(&SERVER_CODE) {
        let mut spans: Vec<(usize, usize)> =
            source.text.match_indices("code: \"").map(|(at, _)| (at, at + 80)).collect();
        for at in
            word_positions(&source.code, "code").into_iter().filter(|at| source.code[..*at].ends_with("fn "))
        {
            if let Some(open) =
                source.code[at..].find(['{', ';']).filter(|open| source.code.as_bytes()[at + open] == b'{')
            {
                spans.push((at, end_of_braces(&source.code, at + open)));
            }
        }
        for (from, to) in spans {
            let piece = source.text.get(from..to.min(source.text.len())).unwrap_or_default();
            let piece =
                if piece.starts_with("code: ") { piece.lines().next().unwrap_or_default() } else { piece };
            let is_code = |literal: &&str| {
                literal.len() > 2 && literal.chars().all(|each| each.is_ascii_lowercase() || each == '-')
            };
            codes.extend(piece.split('"').skip(1).step_by(2).filter(is_code).map(str::to_owned));
        }
    }
    codes
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let room_codes: Vec<(String, String)> =
        room_codes().into_iter().map(|(name, number)| (kebab(&name), number)).collect();
    let text_codes = text_codes();
    assert!(room_codes.len() > 20 && text_codes.len() > 20, "the codes in src were not understood");
    let mut problems = Vec::new();
    let numbers = room_codes.iter().map(|(page, number)| (page, number));
    for (page, code) in numbers.chain(text_codes.iter().map(|code| (code, code))) {
        let page_text = text(&format!("docs/errors/{page}.md"));
        if !page_text.contains(&format!("`{code}`")) || !page_text.contains("## What to do") {
            problems
                .push(format!("docs/errors/{page}.md should explain code `{code}` and have `## What to do`"));
        }
    }
    for path in files_below("docs/errors") {
        let name = path.trim_start_matches("docs/errors/").trim_end_matches(".md");
        if !text_codes.contains(name) && !room_codes.iter().any(|(page, _)| page == name) {
            problems.push(format!("{path} explains a code that nothing has"));
        }
    }
    report("an error code is a promise; its page says what happened and what to do", &problems);
}

#[test]
fn tests_wait_for_events_and_not_for_time() {
    let banned =
        ["thread::sleep", "time::sleep", "asyncio.sleep", "time.sleep", "setTimeout", "timers/promises"];
    let mut problems = Vec::new();
    for path in files_below("tests").into_iter().filter(|path| !path.starts_with("tests/architecture/")) {
        let source = text(&path);
        for (line, content) in (1..).zip(source.lines()) {
            if banned.iter().any(|word| content.contains(word)) && !content.contains(PAUSED_TIME) {
                problems.push(format!("{path}:{line}: {}", content.trim()));
            }
        }
    }
    for source in Source::all_below(&["src"]) {
        let tests_from = source.code.find("#[cfg(test)]").unwrap_or(source.code.len());
        for at in word_positions(&source.code, "sleep").into_iter().filter(|at| *at > tests_from) {
            problems.push(format!("{}:{}: sleep in tests", source.path, source.line_of(at)));
        }
    }
    report("wait for the event with a deadline; fix the clock where time matters", &problems);
}

/// Spelt in halves so that this file does not name what it looks for.
fn forbidden_texts() -> Vec<String> {
    [
        ("/wor", "k/main"),
        ("/wor", "k/wt"),
        ("/wor", "k/shared"),
        ("/wor", "k/.library"),
        ("/tmp/", "helper"),
        ("/tmp/", "conf-notes"),
        ("../shared", "/reference"),
        ("pypi", ".org"),
        ("pythonhosted", ".org"),
        ("registry.npmjs", ".org"),
        ("index.crates", ".io"),
        ("static.crates", ".io"),
        ("proxy.golang", ".org"),
    ]
    .map(|(one, two)| format!("{one}{two}"))
    .to_vec()
}

#[test]
fn nothing_names_the_place_it_was_made_in() {
    let forbidden = forbidden_texts();
    let mut problems = Vec::new();
    for path in files_below("") {
        if GENERATED.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        let content = text(&path);
        for word in forbidden.iter().filter(|word| content.contains(word.as_str())) {
            problems.push(format!("{path} names {word}"));
        }
    }
    report("name no workplace and no package registry; clients of registries know their hosts", &problems);
}

#[test]
fn the_documents_exist() {
    let wanted = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "deny.toml",
        "justfile",
        ".ci/run",
        "clippy.toml",
    ];
    let problems: Vec<String> = wanted
        .iter()
        .filter(|path| !root().join(path).is_file())
        .map(|path| format!("{path} is missing"))
        .collect();
    report("the workshop is part of the product", &problems);
}
