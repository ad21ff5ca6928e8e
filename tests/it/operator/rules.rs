//! The validation rules of the definitions (CEL), run by an interpreter of their language: each is a rule, holds for every
//! document of `specs/`, and does not for what it is there to refuse.

use super::documents::documents;
use cel::{Context, Program, Value as Answer};
use meshagent::app::plan::resource;
use meshagent::crd::{convert, definition as crd};
use meshagent::spec::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The rules of every kind.
fn rules() -> BTreeMap<String, Vec<String>> {
    let of = |definition: &Value| {
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let rules = spec["x-kubernetes-validations"].as_array().unwrap().iter();
        let rules = rules.map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect();
        (definition["spec"]["names"]["kind"].as_str().unwrap().to_owned(), rules)
    };
    crd::definitions(true).iter().map(of).collect()
}

/// What a rule says of an object that was `old` and is to be `new`.
fn holds(rule: &str, old: &Value, new: &Value) -> bool {
    let program = Program::compile(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
    let mut context = Context::default();
    context.add_variable("self", new.clone()).unwrap();
    context.add_variable("oldSelf", old.clone()).unwrap();
    match program.execute(&context) {
        Ok(Answer::Bool(answer)) => answer,
        other => panic!("{rule}: {other:?} of {new}"),
    }
}

/// The `spec` of every document as an object, by kind.
fn specs() -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for document in documents().iter().filter(|document| resource(document.kind()).is_some()) {
        let object = convert::to_object(&serde_json::to_value(document).unwrap(), None).unwrap();
        all.entry(document.kind().as_str().to_owned()).or_default().push(object["spec"].clone());
    }
    all
}

/// The field that a rule keeps as it is.
fn kept(rule: &str) -> Option<String> {
    let (_, path) = rule.rsplit_once("oldSelf.")?;
    Some(format!("/{}", path.trim_end_matches(')').replace('.', "/")))
}

fn set(spec: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut spec = spec.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let mut at = &mut spec;
    for part in parent.split('/').skip(1) {
        at = &mut at.as_object_mut().unwrap()[part];
    }
    match value {
        Some(value) => at.as_object_mut().unwrap().insert(name.to_owned(), value),
        None => at.as_object_mut().unwrap().remove(name),
    };
    spec
}

#[test]
fn every_rule_holds_for_every_document_as_it_is() {
    let (rules, specs) = (rules(), specs());
    for (kind, rules) in &rules {
        assert!(!rules.is_empty(), "{kind} has no rule: its name would be free to change");
        let specs = specs.get(kind).unwrap_or_else(|| panic!("specs/ has no {kind}"));
        for (rule, spec) in rules.iter().flat_map(|rule| specs.iter().map(move |spec| (rule, spec))) {
            assert!(holds(rule, spec, spec), "{kind}: {rule}\n{spec}");
        }
    }
}

#[test]
fn what_cannot_be_changed_is_neither_changed_nor_added_nor_removed() {
    let specs = specs();
    for (kind, rules) in rules() {
        for rule in rules.iter().filter(|rule| rule.contains("oldSelf")) {
            let field = kept(rule).unwrap();
            let with = |spec: &&Value| spec.pointer(&field).is_some();
            let parent = field.rsplit_once('/').unwrap().0.to_owned();
            // One that has the field; where none does, one that could.
            let there = specs[&kind].iter().find(with).cloned();
            let could = || specs[&kind].iter().find(|spec| spec.pointer(&parent).is_some()).cloned();
            let spec = there.or_else(|| could().map(|spec| set(&spec, &field, Some(json!("first")))));
            let spec = spec.unwrap_or_else(|| panic!("{kind}: no document has room for {field}"));
            let (other, without) = (set(&spec, &field, Some(json!("another"))), set(&spec, &field, None));
            assert!(holds(rule, &spec, &spec) && holds(rule, &without, &without), "{kind}: {rule}");
            for (old, new) in [(&spec, &other), (&spec, &without), (&without, &spec)] {
                assert!(!holds(rule, old, new), "{kind}: {rule}\n{old}\n{new}");
            }
            // What is above the field may be missing: that is no error of the rule.
            if !parent.is_empty() {
                let bare = set(&spec, &parent, None);
                assert!(!holds(rule, &spec, &bare) && holds(rule, &bare, &bare), "{kind}: {rule}");
            }
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let rule = |kind: Kind| {
        let all = rules().remove(kind.as_str()).unwrap();
        let own: Vec<String> = all.into_iter().filter(|rule| !rule.contains("oldSelf")).collect();
        let [own] = <[String; 1]>::try_from(own).unwrap();
        own
    };
    let (task, service) = (rule(Kind::ScheduledTask), rule(Kind::Service));
    let (a, b) = (json!({"name": "q"}), json!({"image": "i"}));
    let table = [
        (&task, json!({"queue": a}), true),
        (&task, json!({"container": b}), true),
        (&task, json!({"queue": a, "container": b}), false),
        (&task, json!({}), false),
        (&service, json!({"container": b}), true),
        (&service, json!({"external": {}}), true),
        (&service, json!({}), true),
        (&service, json!({"container": b, "external": {}}), false),
    ];
    for (rule, spec, wanted) in table {
        assert_eq!(holds(rule, &spec, &spec), wanted, "{rule} of {spec}");
    }
    let others = rules().into_iter().flat_map(|(_, rules)| rules).filter(|rule| !rule.contains("oldSelf"));
    assert_eq!(others.count(), 2, "a new rule needs its rows here");
}
