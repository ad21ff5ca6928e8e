//! Who holds which fields, as `metadata.managedFields`: each source is a manager. Pure.

use crate::app::plan::is_source;
use crate::crd::names;
use crate::domain::object::Object;
use serde_json::{Map, Value, json};

/// Both ways in which `kubectl apply` works are one manager, so that going from one to the other takes nothing away.
pub const APPLY: &str = "kubectl";
const CLIENT_SIDE_APPLY: &str = "kubectl-client-side-apply";
/// The manager of those who name none.
const UNNAMED: &str = "kubernetes-api";

/// The source of a request: its field manager, or else the program that sent it.
pub(super) fn source(manager: Option<&str>, user_agent: &str) -> Result<String, String> {
    if let Some(manager) = manager {
        let named = if manager == CLIENT_SIDE_APPLY { APPLY } else { manager };
        return if is_source(named) {
            Ok(named.to_owned())
        } else {
            Err(format!(
                "{manager:?} cannot be a field manager here: letters, digits and -_./:@, at most 128"
            ))
        };
    }
    let program = user_agent.split(['/', ' ']).next().unwrap_or_default();
    Ok(if is_source(program) { program.to_owned() } else { UNNAMED.to_owned() })
}

/// One entry of `managedFields`; none for a source that holds nothing.
pub(super) fn manager(source: &str, pointers: &[String], note: Option<&Object>) -> Option<Value> {
    if pointers.is_empty() {
        return None;
    }
    let updates = note.is_some_and(|note| note.updaters.contains(source));
    let mut tree = Map::new();
    for pointer in pointers {
        let pointer = pointer.strip_suffix('/').unwrap_or(pointer);
        let mut at = &mut tree;
        for part in std::iter::once("spec").chain(pointer.split('/').skip(1)) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let entry = at.entry(format!("f:{part}")).or_insert_with(|| json!({}));
            let Some(inner) = entry.as_object_mut() else { break };
            at = inner;
        }
    }
    Some(json!({
        "manager": source, "operation": if updates { "Update" } else { "Apply" },
        "apiVersion": names::api_version(), "fieldsType": "FieldsV1", "fieldsV1": tree,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_managers() {
        assert_eq!(source(Some("flux"), "").unwrap(), "flux");
        assert_eq!(source(Some("kubectl-client-side-apply"), "").unwrap(), "kubectl");
        assert_eq!(source(None, "curl/8.1 (x)").unwrap(), "curl");
        assert_eq!(source(None, "").unwrap(), "kubernetes-api");
        assert!(source(Some("a b"), "").is_err());
    }

    #[test]
    fn held_fields_become_a_tree() {
        let pointers = ["/container/image".to_owned(), "/metadata/annotations/a~1b".into(), "/queue/".into()];
        let made = manager("cli", &pointers, None).unwrap();
        assert_eq!(made["operation"], "Apply");
        assert_eq!(
            made["fieldsV1"],
            json!({"f:spec": {"f:container": {"f:image": {}}, "f:queue": {},
                "f:metadata": {"f:annotations": {"f:a/b": {}}}}})
        );
        let note = Object { updaters: ["cli".to_owned()].into(), ..Object::default() };
        assert_eq!(manager("cli", &pointers, Some(&note)).unwrap()["operation"], "Update");
        assert_eq!(manager("cli", &[], None), None);
    }
}
