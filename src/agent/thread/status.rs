//! The words of `thread.status`. Pure.

use serde_json::{Map, Value};

/// While the model is asked.
pub const THINKING: &str = "Thinking";
/// While the agent speaks.
pub const SPEAKING: &str = "Speaking";
/// While somebody must approve a call.
pub const WAITING: &str = "Waiting for approval";

/// While a text comes in.
pub fn text(phase: Option<&str>) -> &'static str {
    match phase {
        Some("commentary") => "Planning",
        _ => "Writing",
    }
}

/// While the model writes a call.
pub fn preparing(toolkit: &str, tool: &str) -> String {
    match (toolkit, tool) {
        ("storage", "read_file" | "grep_file" | "list_files_in_room") => "Preparing to read".to_owned(),
        ("storage", "write_file" | "save_file_from_url") => "Preparing to write".to_owned(),
        _ => format!("Preparing {}", human(tool)),
    }
}

/// While a tool runs.
pub fn calling(toolkit: &str, tool: &str, arguments: Option<&Map<String, Value>>) -> String {
    let path = arguments.and_then(|all| all.get("path")).and_then(Value::as_str);
    match (toolkit, tool, path) {
        ("storage", "read_file", Some(path)) => format!("Reading {path}"),
        ("storage", "write_file" | "save_file_from_url", Some(path)) => format!("Writing {path}"),
        ("storage", "grep_file", Some(path)) => format!("Searching {path}"),
        ("openai", "web_search", _) => "Searching the web".to_owned(),
        _ => format!("Calling {}", human(tool)),
    }
}

fn human(tool: &str) -> String {
    tool.replace(['_', '-'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_names_what_is_worked_on() {
        let path = json!({"path": "a.md"});
        assert_eq!(calling("storage", "write_file", path.as_object()), "Writing a.md");
        assert_eq!(calling("crm", "look_up", None), "Calling look up");
        assert_eq!(
            (text(Some("commentary")), preparing("x", "do_it")),
            ("Planning", "Preparing do it".to_owned())
        );
    }
}
