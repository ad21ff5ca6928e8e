//! The arrows: a module uses only modules above it in `src/lib.rs`, and each layer only the crates it may know.

use crate::source::{Source, end_of_braces, name_at, report, text, word_positions};

/// Doors of the server; none uses another.
const EDGES: [&str; 6] = ["api", "room", "proxy", "smtp", "operator", "runner"];

/// What sits on the user's side of the wire and may use of ours only words, documents and itself.
const CLIENT_SIDE: [&str; 2] = ["client", "agent"];

/// What the client side must reach through the wire.
const SERVER_SIDE: [&str; 14] = [
    "eventlog",
    "projection",
    "queue",
    "blob",
    "dataset",
    "document",
    "vault",
    "mail",
    "app",
    "control",
    "api",
    "room",
    "server",
    "runtime",
];

/// Modules, and the paths that must not be named in them.
const BANNED: [(&[&str], &[&str]); 3] = [
    (
        &["id", "name", "error_code", "wire", "spec", "domain"],
        &[
            "tokio",
            "tokio_util",
            "axum",
            "tower",
            "rusqlite",
            "tokio_postgres",
            "deadpool_postgres",
            "kube",
            "reqwest",
            "object_store",
            "rand",
            "tracing",
            "Utc::now",
            "Local::now",
            "SystemTime",
            "Instant::now",
            "Uuid::new_v4",
            "Uuid::now_v7",
            "std::fs",
            "std::net",
            "std::env",
            "std::thread",
            "std::process",
        ],
    ),
    (
        &["app", "control"],
        &[
            "axum",
            "rusqlite",
            "tokio_postgres",
            "deadpool_postgres",
            "kube",
            "reqwest",
            "tokio_tungstenite",
            "object_store",
        ],
    ),
    (&["eventlog", "projection", "queue", "blob", "dataset", "document", "vault", "mail"], &["axum", "kube"]),
];

/// The modules of `src/lib.rs` in their order.
pub fn order() -> Vec<String> {
    text("src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")))
        .filter_map(|rest| rest.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// `(line, root module)` for every path of this file that begins at the crate root.
fn uses_of_root_modules(source: &Source) -> Vec<(usize, String)> {
    let mut uses = Vec::new();
    for at in word_positions(&source.code, "crate") {
        if source.code[at..].starts_with("crate::") {
            for name in names_after(&source.code, at + "crate::".len()) {
                uses.push((source.line_of(at), name));
            }
        }
    }
    for (at, after, supers) in super_chains(&source.code) {
        let depth = source.module().len() + inline_modules_around(&source.code, at);
        if supers >= depth && !source.module().is_empty() {
            uses.extend(names_after(&source.code, after).into_iter().map(|name| (source.line_of(at), name)));
        }
    }
    uses
}

/// The first names of a path or of a group of paths.
fn names_after(code: &str, at: usize) -> Vec<String> {
    if code.as_bytes().get(at) != Some(&b'{') {
        return vec![name_at(code, at).to_owned()];
    }
    let inner = &code[at + 1..end_of_braces(code, at) - 1];
    let mut depth = 0_usize;
    let mut names = vec![String::new()];
    for character in inner.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ if depth == 0 => {
                if let Some(last) = names.last_mut() {
                    last.push(character);
                }
            }
            _ => {}
        }
    }
    names
        .iter()
        .map(|path| path.trim())
        .map(|path| name_at(path, 0).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Start, end and length of each `super::super::…`.
fn super_chains(code: &str) -> Vec<(usize, usize, usize)> {
    let mut chains: Vec<(usize, usize, usize)> = Vec::new();
    for at in word_positions(code, "super") {
        if !code[at..].starts_with("super::") {
            continue;
        }
        let after = at + "super::".len();
        match chains.last_mut() {
            Some((_, end, count)) if *end == at => {
                *end = after;
                *count += 1;
            }
            _ => chains.push((at, after, 1)),
        }
    }
    chains
}

fn inline_modules_around(code: &str, position: usize) -> usize {
    word_positions(&code[..position], "mod")
        .into_iter()
        .filter_map(|at| {
            let name_start = at + "mod ".len();
            let after_name = name_start + name_at(code, name_start.min(code.len())).len();
            let open = after_name + code[after_name..].find(|character: char| !character.is_whitespace())?;
            (code.as_bytes()[open] == b'{').then(|| (open, end_of_braces(code, open)))
        })
        .filter(|(open, end)| *open < position && position < *end)
        .count()
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let order = order();
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut problems = Vec::new();
    for source in Source::all_below(&["src"]) {
        let Some(own) = source.module().first().map(|name| (*name).to_owned()) else { continue };
        let Some(own_place) = place(&own) else {
            problems.push(format!(
                "{}: module `{own}` is not in src/lib.rs; add it at its layer or delete the file",
                source.path
            ));
            continue;
        };
        for (line, used) in uses_of_root_modules(&source) {
            if let Some(used_place) = place(&used)
                && used_place > own_place
            {
                problems
                    .push(format!("{}:{line}: `{own}` uses `{used}`, which stands below it", source.path));
            }
        }
    }
    report(
        "a module uses only what stands above it in src/lib.rs; move the shared part up or turn the call round",
        &problems,
    );
}

#[test]
fn edges_never_use_each_other() {
    let mut problems = Vec::new();
    for source in Source::all_below(&["src"]) {
        let module = source.module();
        let Some(own) = module.first().filter(|name| EDGES.contains(name)) else { continue };
        for (line, used) in uses_of_root_modules(&source) {
            if EDGES.contains(&used.as_str()) && used != *own {
                problems.push(format!("{}:{line}: edge `{own}` uses edge `{used}`", source.path));
            }
        }
    }
    report("edges share through `app` or a port, never directly", &problems);
}

#[test]
fn the_client_side_speaks_only_over_the_wire() {
    let mut problems = Vec::new();
    for source in Source::all_below(&["src"]) {
        let module = source.module();
        let Some(own) = module.first().filter(|name| CLIENT_SIDE.contains(name)) else { continue };
        for (line, used) in uses_of_root_modules(&source) {
            if SERVER_SIDE.contains(&used.as_str()) {
                problems.push(format!("{}:{line}: `{own}` uses `{used}` of the server", source.path));
            }
        }
    }
    report("client and agent reach the server over REST and the room socket only", &problems);
}

#[test]
fn each_layer_names_only_the_crates_it_may_know() {
    let mut problems = Vec::new();
    for source in Source::all_below(&["src"]) {
        let module = source.module();
        let Some(own) = module.first() else { continue };
        for (modules, banned) in &BANNED {
            if !modules.contains(own) {
                continue;
            }
            for path in *banned {
                for at in word_positions(&source.code, path) {
                    let is_path = source.code[at + path.len()..].starts_with("::")
                        || path.contains("::")
                        || *path == "SystemTime";
                    if is_path || source.code[..at].ends_with("use ") {
                        problems.push(format!(
                            "{}:{}: `{own}` names `{path}`",
                            source.path,
                            source.line_of(at)
                        ));
                    }
                }
            }
        }
    }
    report(
        "the pure layers know no runtime, transport, store, clock or rng; pass the value in or move the code to a port",
        &problems,
    );
}

#[test]
fn root_paths_are_found_in_groups_and_through_super() {
    let source = |code: &str| Source { path: "src/room/hub.rs".into(), text: code.into(), code: code.into() };
    let found = |code: &str| {
        uses_of_root_modules(&source(code)).into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(found("use crate::{app::{a, b}, wire}; crate::id::X"), ["app", "wire", "id"]);
    assert_eq!(found("use super::super::api::x;"), ["api"]);
    assert_eq!(found("mod tests { use super::super::participant; }"), Vec::<String>::new());
    assert_eq!(found("mod tests { use super::super::super::api; }"), ["api"]);
}
