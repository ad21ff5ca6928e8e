//! `apply --wait`: until everything that was applied is ready, telling what each waits for.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::client::rest::{Plan, ProjectRest};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the server is asked.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// What names a resource: kind, room, name.
type Name = (String, Option<String>, String);

pub async fn until_ready(project: &ProjectRest, plan: &Plan, limit: Duration) -> Result<(), CliError> {
    let kept = plan.steps.iter().filter(|step| step.action != "delete");
    let wanted: HashSet<Name> =
        kept.map(|step| (step.kind.clone(), step.room.clone(), step.name.clone())).collect();
    let end = Instant::now() + limit;
    let mut ask = tokio::time::interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        ask.tick().await;
        let graph = project.graph().await?;
        let waiting = waiting(&graph, &wanted);
        for (label, (reason, _)) in &waiting {
            if told.get(label) != Some(reason) {
                output::note(format!("{label}: {reason}"));
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let stalled: Vec<&String> =
            waiting.iter().filter(|(_, (_, stalled))| *stalled).map(|(label, _)| label).collect();
        if let Some(label) = stalled.first() {
            let more =
                if stalled.len() > 1 { format!(" and {} more", stalled.len() - 1) } else { String::new() };
            return Err(CliError::user(format!("{label}{more} does not become ready"))
                .hint(format!("`meshagent why {label}` tells more")));
        }
        if Instant::now() >= end {
            let labels: Vec<&str> = waiting.keys().map(String::as_str).collect();
            return Err(CliError::user(format!("timed out waiting for {}", labels.join(", ")))
                .hint("`meshagent why KIND/NAME` tells what each waits for"));
        }
        told = waiting.into_iter().map(|(label, (reason, _))| (label, reason)).collect();
    }
}

/// Those that are not ready: why, and whether they ever will be.
fn waiting(graph: &Value, wanted: &HashSet<Name>) -> BTreeMap<String, (String, bool)> {
    let mut waiting = BTreeMap::new();
    for node in graph["nodes"].as_array().into_iter().flatten() {
        let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
        let name = (text("kind"), node["room"].as_str().map(str::to_owned), text("name"));
        if !wanted.contains(&name) {
            continue;
        }
        let all = node.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let holds = |name: &str| all.iter().any(|one| one["type"] == name && one["status"] == "True");
        if holds("Ready") {
            continue;
        }
        let ready = all.iter().find(|one| one["type"] == "Ready").cloned().unwrap_or_default();
        let word = |key: &str| ready[key].as_str().unwrap_or("unknown").to_owned();
        let label = format!("{}/{}", name.0.to_lowercase(), name.2);
        waiting.insert(label, (format!("{}: {}", word("reason"), word("message")), holds("Stalled")));
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn those_that_were_applied_and_are_not_ready_are_waited_for() {
        let node = |name: &str, condition: &str| {
            json!({"kind": "Service", "room": "desk", "name": name, "status": {"conditions": [
                {"type": "Ready", "status": if condition == "Ready" { "True" } else { "False" },
                    "reason": "Starting", "message": "m"},
                {"type": condition, "status": "True", "reason": "x", "message": "x"}]}})
        };
        let graph = json!({"nodes": [node("a", "Ready"), node("b", "Reconciling"), node("c", "Stalled"), node("d", "Stalled")]});
        let wanted = ["a", "b", "c"].map(|name| ("Service".into(), Some("desk".into()), name.into()));
        let waiting = waiting(&graph, &wanted.into_iter().collect());
        assert_eq!(
            waiting,
            BTreeMap::from([
                ("service/b".into(), ("Starting: m".into(), false)),
                ("service/c".into(), ("Starting: m".into(), true)),
            ])
        );
    }
}
