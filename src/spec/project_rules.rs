//! Rules of `kind: Project` beyond its schema, and its settings documents by their own types.

use super::llm::{Budgets, ProviderSettings, check_base_url, check_budgets, without_values};
use super::problem::{Finding, Path, shown};
use super::project::{Project, ProjectSettings};
use super::room_roles::RoleSettings;
use super::router::Router;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What is wrong with a document.
pub(super) fn check(project: &Project) -> Vec<Finding> {
    let mut findings = vec![];
    let mut say = |path: Path, text: &str, hint: &str| findings.push(Finding::new(path, text).hint(hint));
    if project.metadata.name.trim().is_empty() {
        say(Path::of("metadata.name"), "the name is empty", "write the name of the project, or its key");
    }
    let at = Path::of("members");
    if project.members.as_ref().is_some_and(BTreeMap::is_empty) {
        say(at.clone(), "no member is named", "leave `members` out to leave them as they are");
    }
    let mut seen = BTreeMap::new();
    for (user, roles) in project.members.iter().flatten() {
        if let Some(same) = seen.insert(user.trim().to_lowercase(), user) {
            say(at.key(user), &format!("`{}` is the same address", shown(same)), "name it once");
        }
        if user.trim().is_empty() || user.chars().any(char::is_control) {
            say(at.key(user), "a member is named by an address", "such as ann@example.com");
        } else if roles.is_empty() {
            say(at.key(user), "the member has no role", "name one, or leave the member out");
        }
    }
    for (name, document) in project.settings.iter().flat_map(ProjectSettings::said) {
        findings.extend(read(name, document).err());
    }
    findings
}

/// A settings document as it is kept.
fn read(name: &str, document: &Map<String, Value>) -> Result<Map<String, Value>, Finding> {
    let at = Path::of("settings").key(name);
    let wrong = |text: String| Finding::new(at.clone(), text);
    match name {
        "router" => shaped::<Router>(&at, document)?.checked().map(|router| object(&router)).map_err(wrong),
        "budgets" => {
            let budgets: Budgets = shaped(&at, document)?;
            check_budgets(&budgets).map_err(wrong)?;
            Ok(object(&budgets))
        }
        "room-roles" => Ok(object(&shaped::<RoleSettings>(&at, document)?)),
        _ => provider(&at, document),
    }
}

fn provider(at: &Path, document: &Map<String, Value>) -> Result<Map<String, Value>, Finding> {
    if let Some(key) = ["api_key", "apiKey"].into_iter().find(|key| document.contains_key(*key)) {
        let finding = Finding::new(at.key(key), "a document has no place for a key of a provider");
        return Err(finding.hint("set it with `meshagent llm provider set`"));
    }
    let read: ProviderSettings = shaped(at, document)?;
    let base_url = read.base_url.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let Some(base_url) = base_url else {
        return Err(Finding::new(at.key("base_url"), "the address of the provider is missing"));
    };
    check_base_url(&base_url).map_err(|why| Finding::new(at.key("base_url"), why))?;
    Ok(object(&ProviderSettings { api_key: None, base_url: Some(base_url) }))
}

fn shaped<T: DeserializeOwned>(at: &Path, document: &Map<String, Value>) -> Result<T, Finding> {
    serde_path_to_error::deserialize(Value::Object(document.clone())).map_err(|error| {
        let path = error.path().iter().fold(at.clone(), |path, segment| match segment {
            serde_path_to_error::Segment::Seq { index } => path.index(*index),
            serde_path_to_error::Segment::Map { key } => path.key(key),
            _ => path,
        });
        Finding::new(path, without_values(&error.inner().to_string()))
    })
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::json!(value) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A settings document of a Project as it is kept. One that is none stays as it is: it was refused before.
#[must_use]
pub fn kept_settings(name: &str, document: &Map<String, Value>) -> Map<String, Value> {
    read(name, document).unwrap_or_else(|_| document.clone())
}

impl Finding {
    /// Whether it is about something in this.
    #[cfg(test)]
    fn is_in(&self, key: &str) -> bool {
        self.path.0.contains(&super::problem::Step::Key(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn findings(rest: Value) -> Vec<Finding> {
        let mut project = json!({"version": "v1", "kind": "Project", "metadata": {"name": "one"}});
        project.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        check(&serde_json::from_value(project).unwrap())
    }

    #[test]
    fn settings_are_read_by_their_own_types() {
        let good = json!({"members": {"ann@x": ["admin"]}, "settings": {
            "router": {"allowedModels": [{"provider": "openai", "model": "gpt-*"}]}, "budgets": {},
            "openai": {"base_url": "https://models.example.com/v1"},
            "room-roles": {"roles": {"viewer": {"participant": {"api": {"queues": {}}}}}},
        }});
        assert!(findings(good).is_empty());
        for (name, document, inner) in [
            ("router", json!({"rules": [{"name": "a", "then": {}, "x": 1}]}), "router"),
            ("budgets", json!({"limits": 3}), "limits"),
            ("openai", json!({"base_url": "ftp://x"}), "base_url"),
            ("openai", json!({}), "base_url"),
            ("openai", json!({"base_url": ["sk-secret"]}), "base_url"),
            ("grok", json!({"api_key": "secret"}), "api_key"),
            ("room-roles", json!({"roles": {"owner": {}}}), "room-roles"),
        ] {
            let found = findings(json!({"settings": {name: document}}));
            assert_eq!(found.len(), 1, "{name}");
            assert!(found[0].is_in(name) && found[0].is_in(inner), "{:?}", found[0]);
            assert!(!found[0].message.contains("secret"), "{:?}", found[0]);
        }
    }

    #[test]
    fn members_have_addresses_and_roles() {
        for members in [
            json!({}),
            json!({" ": ["admin"]}),
            json!({"ann@x": []}),
            json!({"a\nb": ["admin"]}),
            json!({"A@x": ["admin"], "a@x": ["member"]}),
        ] {
            assert_eq!(findings(json!({"members": members})).len(), 1, "{members}");
        }
    }
}
