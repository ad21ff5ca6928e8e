//! `meshagent why` and `graph`: what a resource waits for, and what needs what.

use super::past::One;
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use clap::ValueEnum;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// Links followed one behind another.
const DEPTH_MAX: usize = 32;

/// Say why a resource is not ready: its own reasons, then those of what it needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  meshagent why service/web --room desk")]
pub struct WhyArgs {
    #[command(flatten)]
    one: One,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Form {
    /// One line per resource and per need.
    #[default]
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown.
    Mermaid,
    Json,
}

/// Show what needs what.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  meshagent graph -o dot | dot -Tsvg > graph.svg")]
pub struct GraphArgs {
    /// How to print it
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
}

pub async fn why(ctx: &Ctx, args: WhyArgs) -> Result<(), CliError> {
    let graph = ctx.project()?.graph().await?;
    let one = &args.one;
    let nodes: Vec<&Value> = graph["nodes"].as_array().into_iter().flatten().collect();
    let known = crate::spec::Kind::from_argument(one.kind());
    let kind = known.map_or_else(|| one.kind().to_owned(), |kind| kind.as_str().to_owned());
    let named = |node: &&&Value| {
        node["kind"].as_str().is_some_and(|text| text.eq_ignore_ascii_case(&kind))
            && (node["name"] == one.name() || node["id"] == one.name())
            && one.room().is_none_or(|room| node["room"] == room)
    };
    let found: Vec<&&Value> = nodes.iter().filter(named).collect();
    let of_project = found.iter().find(|node| node["room"].is_null()).copied();
    if found.len() > 1 && of_project.is_none() {
        let rooms: Vec<&str> = found.iter().filter_map(|node| node["room"].as_str()).collect();
        let text = format!("several rooms have a {} `{}`: {}", one.kind(), one.name(), rooms.join(", "));
        return Err(CliError::user(text).hint("say which with --room ROOM"));
    }
    let Some(start) = of_project.or_else(|| found.first().copied()) else {
        let error = CliError::user(format!("there is no {} `{}`", one.kind(), one.name()));
        let names = nodes
            .iter()
            .filter(|node| node["kind"] == kind.as_str())
            .filter_map(|node| node["name"].as_str());
        let made = nodes.iter().any(|node| node["kind"] == "ServiceInstance" && node["name"] == one.name());
        if made && kind == "Service" {
            let hint = format!("an instance makes it: `meshagent why service-instance/{}`", one.name());
            return Err(error.hint(hint));
        }
        return Err(match args::nearest(one.name(), names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`meshagent graph` shows everything there is"),
        });
    };
    let by_id: HashMap<&str, &Value> =
        nodes.iter().filter_map(|node| Some((node["id"].as_str()?, *node))).collect();
    let mut text = String::new();
    chain(start, &by_id, &mut HashSet::new(), 0, &mut text);
    output::data(&text)
}

/// One resource with its conditions, then what it needs, deeper.
fn chain(
    node: &Value,
    all: &HashMap<&str, &Value>,
    seen: &mut HashSet<String>,
    depth: usize,
    text: &mut String,
) {
    let indent = "  ".repeat(depth);
    let _ = writeln!(text, "{indent}{}: {}", label(node), state(node));
    for condition in node.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten() {
        let word = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        let (kind, status, reason, since) =
            (word("type"), word("status"), word("reason"), word("lastTransitionTime"));
        let _ = writeln!(text, "{indent}  {kind}={status} {reason}: {} (since {since})", word("message"));
    }
    tries(&node["status"]["reconcile"], &indent, text);
    for (source, revision) in node["revisions"].as_object().into_iter().flatten() {
        let _ = writeln!(
            text,
            "{indent}  applied by {source} at commit {}",
            revision.as_str().unwrap_or_default()
        );
    }
    if depth >= DEPTH_MAX || !seen.insert(node["id"].to_string()) {
        return;
    }
    for need in node["needs"].as_array().into_iter().flatten() {
        match need["id"].as_str().and_then(|id| all.get(id)) {
            Some(needed) => chain(needed, all, seen, depth + 1, text),
            None => {
                let _ = writeln!(text, "{indent}  {}: it is not there", label(&need["key"]));
            }
        }
    }
}

/// What came of the last tries, where they failed.
fn tries(reconcile: &Value, indent: &str, text: &mut String) {
    let failed = reconcile["attempts"].as_u64().filter(|failed| *failed > 0);
    let Some(failed) = failed else { return };
    let word = |key: &str| reconcile[key].as_str().map(str::to_owned);
    let last = word("lastAttempt").map(|at| format!(", the last at {at}")).unwrap_or_default();
    let next = match (word("nextAttempt"), reconcile["backoffSeconds"].as_u64()) {
        (Some(at), Some(seconds)) => format!("; the next is due at {at}, {seconds} s later"),
        (Some(at), None) => format!("; the next is due at {at}"),
        (None, _) => "; none is due".to_owned(),
    };
    let _ = writeln!(text, "{indent}  {failed} failed in a row{last}{next}");
    if let Some(error) = word("lastError") {
        let _ = writeln!(text, "{indent}    {error}");
    }
}

fn label(node: &Value) -> String {
    let text = |key: &str| node[key].as_str().unwrap_or_default();
    let room = node["room"].as_str().map(|room| format!(" in room {room}")).unwrap_or_default();
    format!("{}/{}{room}", text("kind").to_lowercase(), text("name"))
}

fn state(node: &Value) -> &'static str {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let holds = |name: &str| {
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == name && one["status"] == "True"))
    };
    match (holds("Stalled"), holds("Reconciling"), holds("Ready")) {
        (true, ..) => "stalled",
        (_, true, _) => "on its way",
        (_, _, true) => "ready",
        _ => "unknown",
    }
}

pub async fn graph(ctx: &Ctx, args: GraphArgs) -> Result<(), CliError> {
    let graph = ctx.project()?.graph().await?;
    if args.output == Form::Json {
        return output::json(&graph);
    }
    output::data(&drawn(&graph, args.output))
}

fn drawn(graph: &Value, form: Form) -> String {
    let nodes: Vec<&Value> = graph["nodes"].as_array().into_iter().flatten().collect();
    let places: HashMap<&str, usize> =
        nodes.iter().enumerate().filter_map(|(place, node)| Some((node["id"].as_str()?, place))).collect();
    let mut text = String::new();
    text.push_str(match form {
        Form::Dot => "digraph meshagent {\n",
        Form::Mermaid => "graph LR\n",
        Form::Text | Form::Json => "",
    });
    for (place, node) in nodes.iter().enumerate() {
        // Labels are anybody's text; in quotes, a quote would end them.
        let label = label(node).replace(['"', '\\'], "'");
        let _ = match form {
            Form::Dot => writeln!(text, "  n{place} [label=\"{label}\"];"),
            Form::Mermaid => writeln!(text, "  n{place}[\"{label}\"]"),
            Form::Text | Form::Json => writeln!(text, "{label}: {}", state(node)),
        };
        for need in node["needs"].as_array().into_iter().flatten() {
            let target = need["id"].as_str().and_then(|id| places.get(id));
            let _ = match (form, target) {
                (Form::Text | Form::Json, _) => writeln!(text, "  needs {}", self::label(&need["key"])),
                (Form::Dot, Some(target)) => writeln!(text, "  n{place} -> n{target};"),
                (Form::Mermaid, Some(target)) => writeln!(text, "  n{place} --> n{target}"),
                (_, None) => Ok(()),
            };
        }
    }
    if form == Form::Dot {
        text.push_str("}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> Value {
        let status = |name: &str, reason: &str| json!({"conditions": [{"type": name, "status": "True", "reason": reason, "message": "m"}]});
        json!({"nodes": [
            {"id": "1", "kind": "Room", "name": "desk", "room": null, "needs": [], "status": status("Ready", "Disabled")},
            {"id": "2", "kind": "Service", "name": "w\"b", "room": "desk", "status": status("Stalled", "CrashLoop"),
                "needs": [{"id": "1", "key": {"kind": "Room", "name": "desk"}},
                    {"id": null, "key": {"kind": "Room", "name": "gone"}}]},
        ]})
    }

    #[test]
    fn reasons_are_told_from_the_resource_to_what_it_needs() {
        let graph = example();
        let nodes = graph["nodes"].as_array().unwrap();
        let all = nodes.iter().map(|node| (node["id"].as_str().unwrap(), node)).collect();
        let mut text = String::new();
        chain(&nodes[1], &all, &mut HashSet::new(), 0, &mut text);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[0], "service/w\"b in room desk: stalled");
        assert!(lines[1].starts_with("  Stalled=True CrashLoop: m"), "{text}");
        assert_eq!(lines[2], "  room/desk: ready");
        assert_eq!(lines[4], "  room/gone: it is not there");
    }

    #[test]
    fn a_graph_is_drawn_and_labels_cannot_break_out() {
        let text = drawn(&example(), Form::Text);
        assert_eq!(
            text,
            "room/desk: ready\nservice/w'b in room desk: stalled\n  needs room/desk\n  needs room/gone\n"
        );
        let dot = drawn(&example(), Form::Dot);
        assert!(dot.contains("n1 [label=\"service/w'b in room desk\"];\n  n1 -> n0;\n}"), "{dot}");
    }
}
