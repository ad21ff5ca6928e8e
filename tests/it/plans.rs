//! The planner by examples: each `tests/fixtures/plans/NAME.yaml` is a state and a request, `NAME.txt` the plan or the
//! problems. To add a case, add a file and run with `UPDATE_PLANS=1`; then read what it wrote.

use crate::api::Platform;
use meshagent::app::plan::{Plan, Problems, Request};
use meshagent::app::{Actor, Error};
use meshagent::vault::Secret;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

fn request(of: &Value) -> Request {
    let text = |key: &str| of[key].as_str().map(str::to_owned);
    let flag = |key: &str| of[key].as_bool().unwrap_or_default();
    let values = of["values"].as_object().into_iter().flatten();
    let value = |(index, value): (&String, &Value)| {
        (index.parse().unwrap(), Secret::from(value.as_str().unwrap().to_owned()))
    };
    Request {
        values: values.map(value).collect(),
        source: text("source").unwrap_or_else(|| "cli".to_owned()),
        documents: of["documents"].as_array().cloned().unwrap_or_default(),
        room: text("room"),
        prune: flag("prune"),
        force: flag("force"),
        replace: flag("replace"),
        ..Request::default()
    }
}

fn told(result: &Result<Plan, Error>) -> String {
    let mut text = String::new();
    match result {
        Ok(plan) => {
            for step in &plan.steps {
                let note = step.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
                writeln!(text, "{} {}{note}", step.action, step.key).unwrap();
                for change in &step.changes {
                    let side =
                        |value: &Option<Value>| value.as_ref().map_or("nothing".into(), Value::to_string);
                    writeln!(text, "    {}: {} -> {}", change.path, side(&change.from), side(&change.to))
                        .unwrap();
                }
            }
            for (source, holdings) in &plan.taken {
                let fields: Vec<_> = holdings.iter().map(|holding| holding.fields.join(" ")).collect();
                writeln!(text, "`{source}` keeps: {}", fields.join("; ")).unwrap();
            }
        }
        Err(Error::Plan(problems)) => {
            let Problems { list, count } = &**problems;
            writeln!(text, "{count} problems").unwrap();
            for problem in list {
                let document = problem.document.map_or("-".into(), |index| index.to_string());
                writeln!(text, "document {document}: {:?}: {problem}", problem.code).unwrap();
            }
        }
        Err(error) => writeln!(text, "{error}").unwrap(),
    }
    without_fingerprints(text)
}

/// Fingerprints differ from project to project.
fn without_fingerprints(text: String) -> String {
    const BEGIN: &str = "hmac-sha256:";
    let mut parts = text.split(BEGIN);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        format!("{text}{BEGIN}…{}", part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
    })
}

async fn run(case: &Value) -> String {
    let platform = Platform::new().await;
    let actor = Actor::new("test", "plans");
    for before in case["state"].as_array().into_iter().flatten() {
        let request = Arc::new(request(before));
        platform.app.apply(&actor, platform.project, request, None).await.expect("the state can be made");
    }
    let asked = Arc::new(request(&case["request"]));
    let result = platform.app.plan(platform.project, Arc::clone(&asked)).await;
    if let Ok(plan) = &result {
        // What was planned can be done, and nothing is left to do then.
        let done = platform.app.apply(&actor, platform.project, Arc::clone(&asked), Some(plan.hash.clone()));
        assert_eq!(done.await.expect("the plan can be carried out").hash, plan.hash);
        let again = platform.app.plan(platform.project, asked).await.expect("it can be planned again");
        assert!(!again.changes_anything(), "the same again changes something:\n{}", told(&Ok(again)));
    }
    told(&result)
}

#[tokio::test]
async fn plans_are_as_the_examples_say() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plans");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    assert!(files.len() >= 10, "only {} examples", files.len());
    let update = std::env::var_os("UPDATE_PLANS").is_some();
    for file in files {
        let case: Value = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let got = run(&case).await;
        let answer = file.with_extension("txt");
        if update {
            fs::write(&answer, got).unwrap();
            continue;
        }
        let wanted = fs::read_to_string(&answer).unwrap_or_default();
        assert_eq!(got, wanted, "{} (UPDATE_PLANS=1 writes it anew)", file.display());
    }
}

#[tokio::test]
async fn a_plan_that_was_seen_is_carried_out_or_refused_as_stale() {
    let platform = Platform::new().await;
    let actor = Actor::new("test", "plans");
    let room = |enabled: bool| serde_json::json!({"version": "v1", "kind": "Room", "metadata": {"name": "a"}, "enabled": enabled});
    let asked = |enabled| {
        let documents = vec![room(enabled)];
        Arc::new(Request { source: "cli".into(), documents, ..Request::default() })
    };
    let seen = platform.app.plan(platform.project, asked(true)).await.unwrap();
    platform.app.apply(&actor, platform.project, asked(false), None).await.unwrap();
    let late = platform.app.apply(&actor, platform.project, asked(true), Some(seen.hash.clone())).await;
    let error = late.unwrap_err();
    assert_eq!(error.code(), "plan-stale");
    assert!(error.to_string().contains(&seen.hash), "{error}");
}

#[tokio::test]
async fn one_bad_document_of_ten_thousand_is_named_and_nothing_is_changed() {
    let platform = Platform::new().await;
    let mut documents: Vec<Value> = (0..10_000)
        .map(|n| serde_json::json!({"version": "v1", "kind": "Room", "metadata": {"name": format!("r{n}")}}))
        .collect();
    documents[7_000]["enabled"] = "perhaps".into();
    let head = platform.app.log.head().await.unwrap();
    let request = Arc::new(Request { source: "cli".into(), documents, ..Request::default() });
    let actor = Actor::new("test", "plans");
    let error = platform.app.apply(&actor, platform.project, request, None).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("1 problem in") && text.contains("Room `r7000`: enabled: expected true"), "{text}");
    assert_eq!(platform.app.log.head().await.unwrap(), head);
}
