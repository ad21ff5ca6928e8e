//! Overlays: partial documents, merged field by field into those with the same kind and name. A mapping is merged, a
//! list or a scalar replaced, a null removes.

use super::sources::Sources;
use crate::cli::args;
use crate::cli::documents::{self, Text};
use crate::cli::error::CliError;
use crate::spec::{self, Problem};
use serde_json::Value;

/// Lays these texts over the documents. Every overlay must be over something.
pub fn lay(sources: &mut Sources, texts: &[Text]) -> Result<(), CliError> {
    let mut problems = vec![];
    for (source, text) in texts {
        let parts = spec::values(source, text).map_err(|problem| documents::refuse(&[problem]))?;
        for (part, line) in parts {
            if let Err((message, hint)) = lay_one(sources, part) {
                let (source, path) = (source.clone(), "metadata.name".to_owned());
                problems.push(Problem { source, line, column: 1, path, message, hint });
            }
        }
    }
    for (value, (source, line)) in sources.values.iter().zip(&sources.places) {
        let found = spec::document_from_json(value.clone()).err().unwrap_or_default();
        let place = |problem| Problem { source: source.clone(), line: *line, column: 1, ..problem };
        problems.extend(found.into_iter().map(place));
    }
    if problems.is_empty() { Ok(()) } else { Err(documents::refuse(&problems)) }
}

fn lay_one(sources: &mut Sources, part: Value) -> Result<(), (String, Option<String>)> {
    let (kind, name) = named(&part);
    let (kind, name) = (kind.to_owned(), name.to_owned());
    let same: Vec<usize> = (0..sources.values.len())
        .filter(|place| sources.values.get(*place).is_some_and(|value| named(value) == (&kind, &name)))
        .filter(|place| {
            let (own, over) = (sources.values.get(*place).and_then(room), room(&part));
            over.is_none() || over == own
        })
        .collect();
    let [place] = same.as_slice() else {
        let names = sources.values.iter().map(|value| named(value).1);
        let hint = args::nearest(&name, names).map(|near| format!("did you mean `{near}`?"));
        let many = same.len() > 1;
        let why = if many { "several documents are" } else { "no document is" };
        let hint =
            if many { Some("say the room, by the annotation meshagent.room".to_owned()) } else { hint };
        return Err((format!("{why} the {kind} `{name}` that this is laid over"), hint));
    };
    if let Some(value) = sources.values.get_mut(*place) {
        merge(value, part);
    }
    Ok(())
}

fn named(value: &Value) -> (&str, &str) {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").or_else(|| text("/address"));
    (text("/kind").unwrap_or_default(), name.unwrap_or_default())
}

fn room(value: &Value) -> Option<&str> {
    value.pointer("/metadata/annotations/meshagent.room").and_then(Value::as_str)
}

fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (key, value) in part {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, part) => *into = part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sources() -> Sources {
        let service = |room: &str| {
            json!({"version": "v1", "kind": "Service", "enabled": true, "ports": [{"num": 80}],
                "metadata": {"name": "web", "annotations": {"meshagent.room": room, "a": "1"}}})
        };
        Sources {
            values: vec![service("one"), service("two")],
            places: vec![("a.yaml".into(), 1), ("a.yaml".into(), 9)],
        }
    }

    fn over(text: &str) -> Result<Sources, String> {
        let mut sources = sources();
        lay(&mut sources, &[("o.yaml".to_owned(), text.to_owned())]).map_err(|error| error.to_string())?;
        Ok(sources)
    }

    #[test]
    fn mappings_merge_lists_are_replaced_nulls_remove() {
        let text = "kind: Service\nmetadata: {name: web, annotations: {meshagent.room: two, a: null, b: '2'}}\nports: []\n";
        let laid = over(text).unwrap();
        assert_eq!(laid.values[0], sources().values[0]);
        assert_eq!(laid.values[1]["ports"], json!([]));
        assert_eq!(laid.values[1]["metadata"]["annotations"], json!({"meshagent.room": "two", "b": "2"}));
    }

    #[test]
    fn an_overlay_of_nothing_or_of_several_is_refused() {
        let missing = over("kind: Service\nmetadata: {name: wbe}\n").unwrap_err();
        assert!(missing.contains("o.yaml:1:1") && missing.contains("did you mean `web`?"), "{missing}");
        let several = over("kind: Service\nmetadata: {name: web}\n").unwrap_err();
        assert!(several.contains("several documents") && several.contains("say the room"), "{several}");
        let broken = over(
            "kind: Service\nmetadata: {name: web, annotations: {meshagent.room: two}}\nenabled: perhaps\n",
        );
        let broken = broken.unwrap_err();
        assert!(broken.contains("a.yaml:9:1: enabled"), "{broken}");
    }
}
