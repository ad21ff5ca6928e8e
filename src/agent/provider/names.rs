//! What tools are called on the wire: `<toolkit>__<tool>`, plain functions, which every endpoint knows. Pure.

use crate::agent::history::ToolCall;
use crate::agent::tools::ToolSpec;
use std::collections::HashMap;

/// Longest function name that endpoints take, characters.
const NAME_CHARS_MAX: usize = 64;
/// Characters left for the number of a name that is there twice.
const NUMBER_CHARS: usize = 8;

/// Function name on the wire → toolkit and tool.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, (String, String)>);

impl Names {
    /// The name of a tool that is offered.
    pub fn add(&mut self, spec: &ToolSpec) -> String {
        let mut name = function_name(&spec.toolkit, &spec.tool);
        if self.0.contains_key(&name) {
            // Equal after sanitising or cutting: a number tells them apart.
            let kept = name.get(..NAME_CHARS_MAX - NUMBER_CHARS).unwrap_or(&name);
            name = format!("{kept}_{}", self.0.len());
        }
        self.0.insert(name.clone(), (spec.toolkit.clone(), spec.tool.clone()));
        name
    }

    /// The call that the model means by this function name; an unknown one keeps it, so that the error can name it.
    pub fn call(&self, id: String, item_id: String, name: &str, arguments: String) -> ToolCall {
        let (toolkit, tool) = self.tool(name);
        ToolCall { id, item_id, toolkit, tool, arguments }
    }

    /// Toolkit and tool of a function name.
    pub fn tool(&self, name: &str) -> (String, String) {
        self.0.get(name).cloned().unwrap_or_else(|| (String::new(), name.to_owned()))
    }
}

/// `<toolkit>__<tool>` in the characters that endpoints take.
pub fn function_name(toolkit: &str, tool: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("{toolkit}__{tool}").chars().map(allowed).take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn function_names_are_allowed_unique_and_lead_back() {
        let mut names = Names::default();
        let long = "x".repeat(80);
        let mut add = |toolkit: &str, tool: &str| {
            names.add(&ToolSpec {
                toolkit: toolkit.into(),
                tool: tool.into(),
                description: "d".into(),
                parameters: json!({"type": "object"}),
                strict: true,
                approval: false,
            })
        };
        let written: Vec<_> = [("a.b", "c d"), ("a-b", "e"), (&*long, "1"), (&long, "2"), (&long, "3")]
            .into_iter()
            .map(|(toolkit, tool)| add(toolkit, tool))
            .collect();
        assert_eq!(written[0], "a_b__c_d");
        assert_eq!(written[1], "a-b__e");
        let unique: std::collections::HashSet<_> = written.iter().collect();
        assert_eq!(unique.len(), 5);
        assert!(unique.iter().all(|n| n.len() <= NAME_CHARS_MAX));
        let call = names.call("1".into(), "1".into(), "a_b__c_d", "{}".into());
        assert_eq!((call.toolkit.as_str(), call.tool.as_str()), ("a.b", "c d"));
        assert_eq!(names.call("1".into(), "1".into(), "zap", "{}".into()).tool, "zap");
    }
}
