//! What is said of an object, by the rules of kstatus: it is `Reconciling` only while something is still to happen by itself,
//! and `Stalled` where somebody has to do something. Pure.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};

/// Something that is in progress for longer is stalled.
pub const PROGRESS_SECONDS_MAX: i64 = 600;
/// Longest text of a condition, bytes: Kubernetes takes 32 KiB, and nobody reads as much.
const MESSAGE_BYTES_MAX: usize = 4096;

/// How an object is.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Its newest generation is being looked at for the first time.
    Begun,
    /// The server has it; these are its status, id and generation there.
    Applied { status: Value, id: String, generation: u64 },
    /// The server does not take it as it is.
    Refused(String),
    /// What it needs is not there yet, and may come.
    Waiting(String),
    /// The server cannot be asked.
    Unreachable(String),
    /// It is to go, and what came of it still stands.
    Deleting(String),
}

/// One look at an object.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub now: DateTime<Utc>,
    /// Of the object.
    pub generation: i64,
    pub source: &'a str,
    /// The status it has.
    pub before: &'a Value,
}

struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

impl Look<'_> {
    /// The status that the object is to have.
    pub fn status(&self, verdict: &Verdict) -> Value {
        let conditions: Vec<Value> =
            self.conditions(verdict).into_iter().map(|condition| self.told(condition)).collect();
        let mut status = json!({
            "observedGeneration": self.generation, "source": self.source, "conditions": conditions});
        let kept = |field: &str| self.before.get(field).cloned();
        let (id, generation) = match verdict {
            Verdict::Applied { id, generation, .. } => (Some(json!(id)), Some(json!(generation))),
            _ => (kept("id"), kept("generation")),
        };
        let reconcile = match verdict {
            Verdict::Applied { status, .. } => status.get("reconcile").cloned(),
            _ => kept("reconcile"),
        };
        for (field, value) in [("id", id), ("generation", generation), ("reconcile", reconcile)] {
            if let Some(value) = value {
                status[field] = value;
            }
        }
        status
    }

    fn conditions(&self, verdict: &Verdict) -> Vec<Condition> {
        match verdict {
            Verdict::Begun => self.progressing("Unknown", "Reconciling", "the server is being asked"),
            Verdict::Applied { status, .. } => of_server(status),
            Verdict::Refused(text) => stalled("Refused", text),
            Verdict::Waiting(text) => self.progressing("False", "DependencyMissing", text),
            Verdict::Unreachable(text) => self.progressing("Unknown", "ServerUnreachable", text),
            Verdict::Deleting(text) => self.progressing("False", "Deleting", text),
        }
    }

    /// In progress, but not for ever.
    fn progressing(&self, ready: &'static str, reason: &str, text: &str) -> Vec<Condition> {
        let since = self.since("Reconciling", reason);
        let late = since.is_some_and(|since| self.now - since > TimeDelta::seconds(PROGRESS_SECONDS_MAX));
        if late || self.since("Stalled", reason).is_some() {
            let minutes = PROGRESS_SECONDS_MAX / 60;
            return stalled(
                reason,
                &format!("it does not get there for more than {minutes} minutes: {text}"),
            );
        }
        vec![condition("Ready", ready, reason, text), condition("Reconciling", "True", reason, text)]
    }

    /// Since when a condition of this generation holds for this reason.
    fn since(&self, kind: &str, reason: &str) -> Option<DateTime<Utc>> {
        let found = find(self.before, kind)?;
        let same = found["status"] == "True"
            && found["reason"] == reason
            && found["observedGeneration"] == self.generation;
        same.then(|| time_of(found)).flatten()
    }

    /// The condition with the time at which it became so.
    fn told(&self, condition: Condition) -> Value {
        let Condition { kind, status, reason, message } = condition;
        let before = find(self.before, kind).filter(|before| before["status"] == status);
        // A new reason for the same does not count for kstatus, but for how long it lasts.
        let same = before.filter(|before| before["reason"] == reason.as_str());
        let at = same.and_then(time_of).unwrap_or(self.now);
        json!({
            "type": kind, "status": status, "reason": reason, "message": cut(message),
            "observedGeneration": self.generation,
            "lastTransitionTime": at.to_rfc3339_opts(SecondsFormat::Secs, true),
        })
    }
}

/// Whether two statuses say the same.
pub fn same(a: &Value, b: &Value) -> bool {
    let plain = |status: &Value| {
        let mut status = status.as_object().cloned().unwrap_or_else(Map::new);
        if let Some(all) = status.get_mut("conditions").and_then(Value::as_array_mut) {
            all.sort_by_key(|condition| condition["type"].as_str().unwrap_or_default().to_owned());
        }
        status
    };
    plain(a) == plain(b)
}

/// Whether an object stands at a reason: `Ready` says why it is as it is.
pub fn reason(status: &Value) -> &str {
    find(status, "Ready").and_then(|ready| ready["reason"].as_str()).unwrap_or_default()
}

/// Whether a condition holds.
pub fn holds(status: &Value, kind: &str) -> bool {
    find(status, kind).is_some_and(|condition| condition["status"] == "True")
}

/// What the server says of the resource: its conditions as they are.
fn of_server(status: &Value) -> Vec<Condition> {
    let mut made = vec![];
    for kind in ["Ready", "Reconciling", "Stalled", "Paused"] {
        let Some(found) = find(status, kind) else { continue };
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        let status = match found["status"].as_str() {
            Some("True") => "True",
            Some("False") => "False",
            _ => "Unknown",
        };
        made.push(Condition { kind, status, reason: text("reason"), message: text("message") });
    }
    if made.is_empty() {
        made.push(condition("Ready", "True", "Accepted", "the server has it"));
    }
    made
}

fn stalled(reason: &str, text: &str) -> Vec<Condition> {
    vec![condition("Ready", "False", reason, text), condition("Stalled", "True", reason, text)]
}

fn condition(kind: &'static str, status: &'static str, reason: &str, text: &str) -> Condition {
    Condition { kind, status, reason: reason.to_owned(), message: text.to_owned() }
}

fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status.get("conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn time_of(condition: &Value) -> Option<DateTime<Utc>> {
    let text = condition["lastTransitionTime"].as_str()?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kstatus makes of a status, as Flux and `kubectl wait` users see it.
    fn kstatus(status: &Value, generation: i64) -> &'static str {
        if status["observedGeneration"] != generation {
            return "InProgress";
        }
        match (holds(status, "Stalled"), holds(status, "Reconciling"), holds(status, "Ready")) {
            (true, ..) => "Failed",
            (_, true, _) => "InProgress",
            (_, _, true) => "Current",
            _ => "InProgress",
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn look(now: i64, generation: i64, before: &Value) -> Look<'_> {
        Look { now: at(now), generation, source: "kubernetes/k/n/room/desk", before }
    }

    fn every_verdict() -> Vec<(Verdict, &'static str)> {
        let server = |conditions: Value| Verdict::Applied {
            status: json!({"observedGeneration": 7, "conditions": conditions}),
            id: "u".into(),
            generation: 7,
        };
        let one =
            |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "message": "m"});
        vec![
            (Verdict::Begun, "InProgress"),
            (server(json!([one("Ready", "True")])), "Current"),
            (server(json!([one("Ready", "False"), one("Reconciling", "True")])), "InProgress"),
            (server(json!([one("Ready", "False"), one("Stalled", "True")])), "Failed"),
            (server(json!(null)), "Current"),
            (Verdict::Refused("wrong".into()), "Failed"),
            (Verdict::Waiting("no room".into()), "InProgress"),
            (Verdict::Unreachable("down".into()), "InProgress"),
            (Verdict::Deleting("down".into()), "InProgress"),
        ]
    }

    #[test]
    fn every_verdict_is_what_kstatus_makes_of_it() {
        for (verdict, wanted) in every_verdict() {
            let status = look(0, 3, &Value::Null).status(&verdict);
            assert_eq!(kstatus(&status, 3), wanted, "{status}");
            assert_eq!(kstatus(&status, 4), "InProgress", "of an older generation: {status}");
            for condition in status["conditions"].as_array().unwrap() {
                assert!(!condition["reason"].as_str().unwrap().is_empty(), "{status}");
                assert_eq!(condition["observedGeneration"], 3);
            }
        }
    }

    #[test]
    fn what_the_operator_waits_for_is_not_in_progress_for_ever() {
        for (verdict, _) in every_verdict() {
            if matches!(verdict, Verdict::Applied { .. } | Verdict::Refused(_)) {
                continue;
            }
            let mut status = Value::Null;
            for now in (0..=1300).step_by(50) {
                status = look(now, 1, &status).status(&verdict);
                let wanted = if now <= PROGRESS_SECONDS_MAX { "InProgress" } else { "Failed" };
                assert_eq!(kstatus(&status, 1), wanted, "{verdict:?} after {now} s: {status}");
            }
            let edited = look(1350, 2, &status).status(&verdict);
            assert_eq!(kstatus(&edited, 2), "InProgress", "an edit begins anew: {edited}");
        }
    }

    #[test]
    fn a_status_that_says_the_same_is_the_same() {
        let verdict = Verdict::Refused("wrong".into());
        let first = look(0, 1, &Value::Null).status(&verdict);
        let again = look(99, 1, &first).status(&verdict);
        assert!(same(&first, &again));
        assert!(!same(&first, &look(99, 2, &first).status(&verdict)));
        assert!(!same(&Value::Null, &first));
        let mut turned = first.clone();
        turned["conditions"].as_array_mut().unwrap().reverse();
        assert!(same(&first, &turned));
    }

    #[test]
    fn what_the_server_called_it_stays_known() {
        let applied = Verdict::Applied { status: Value::Null, id: "u".into(), generation: 2 };
        let first = look(0, 1, &Value::Null).status(&applied);
        let down = look(1, 1, &first).status(&Verdict::Unreachable("down".into()));
        assert_eq!((down["id"].as_str(), down["generation"].as_u64()), (Some("u"), Some(2)));
        assert_eq!(reason(&down), "ServerUnreachable");
        let long = look(1, 1, &first).status(&Verdict::Refused("ü".repeat(5000)));
        assert!(long.to_string().len() < 3 * MESSAGE_BYTES_MAX);
    }
}
