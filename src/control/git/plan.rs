//! When a source is to be looked at. Pure.

use crate::control::backoff;
use crate::domain::git_source::GitSource;
use crate::id::GitSourceId;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// A look is put off by up to this share of the interval, so that sources that were made together are not looked at
/// together for ever.
const SPREAD_PERCENT: u64 = 10;

/// Until a source that another server looks at is asked for again.
const ELSEWHERE_WAIT: TimeDelta = TimeDelta::seconds(10);

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The source is as its repository says, or will not be before something changes.
    Settled,
    /// Trying again soon may help.
    Failed,
    /// Another server looks at it, until then.
    Elsewhere(DateTime<Utc>),
}

/// What this server saw last of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    pub at: DateTime<Utc>,
    /// Generation that was looked at.
    pub generation: u64,
    /// Requests that were answered.
    pub request: u64,
    pub ended: Ended,
    /// Looks in a row that failed.
    pub failures: u32,
}

impl Looked {
    /// This look, after so many that failed.
    pub fn after(self, failures: u32) -> Self {
        let failures = if self.ended == Ended::Failed { failures.saturating_add(1) } else { 0 };
        Self { failures, ..self }
    }
}

/// When a source is to be looked at next; never while it is suspended or paused.
pub(super) fn due(id: GitSourceId, source: &GitSource, looked: Option<&Looked>) -> Option<DateTime<Utc>> {
    if source.rests() {
        return None;
    }
    let Some(looked) = looked else { return Some(source.updated_at) };
    if let Ended::Elsewhere(until) = looked.ended {
        // It may be done before, and something else be wanted then.
        return Some(until.min(looked.at + ELSEWHERE_WAIT));
    }
    if looked.generation != source.generation {
        return Some(source.updated_at);
    }
    let asked = source.asked_at().filter(|_| source.requests > looked.request);
    let interval = Duration::from_secs(source.spec.interval_seconds);
    let wait = match looked.ended {
        Ended::Failed => backoff::delay(looked.failures, id.uuid().as_u128()).min(interval),
        _ => interval + spread(id, interval),
    };
    let at = looked.at + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    Some(asked.map_or(at, |asked| asked.min(at)))
}

fn spread(id: GitSourceId, interval: Duration) -> Duration {
    let percent = u64::try_from(id.uuid().as_u128() % u128::from(SPREAD_PERCENT)).unwrap_or_default();
    interval.saturating_mul(u32::try_from(percent).unwrap_or_default()) / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Entity;
    use crate::domain::git_source::Command;
    use crate::id::ProjectId;
    use serde_json::json;
    use uuid::Uuid;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_source_is_looked_at_when_it_changed_was_asked_for_or_its_time_came() {
        let spec = json!({"metadata": {"name": "a"}, "url": "https://h/r", "interval_seconds": 100});
        let made = GitSource::decide(None, Command::Create(serde_json::from_value(spec).unwrap())).unwrap();
        let source = GitSource::evolve(None, &made[0], at(0)).unwrap();
        let id = GitSourceId::new(ProjectId::new(Uuid::nil()), Uuid::from_u128(5));
        let looked = |ended| Looked { at: at(1_000), generation: 1, request: 0, ended, failures: 1 };
        assert_eq!(due(id, &source, None), Some(at(0)), "never seen by this server");
        assert_eq!(due(id, &source, Some(&looked(Ended::Settled))), Some(at(1_105)), "with its spread");
        let soon = due(id, &source, Some(&looked(Ended::Failed))).unwrap();
        assert!(soon >= at(1_001) && soon < at(1_003), "{soon}");
        let often = Looked { failures: 40, ..looked(Ended::Failed) };
        assert_eq!(due(id, &source, Some(&often)), Some(at(1_100)), "never later than the interval");
        let elsewhere = looked(Ended::Elsewhere(at(1_005)));
        assert_eq!(due(id, &source, Some(&elsewhere)), Some(at(1_005)));
        let long = looked(Ended::Elsewhere(at(1_050)));
        assert_eq!(due(id, &source, Some(&long)), Some(at(1_010)), "it may be done before");
        let asked = GitSource { requests: 1, requested_at: Some(at(1_010)), ..source.clone() };
        assert_eq!(due(id, &asked, Some(&looked(Ended::Settled))), Some(at(1_010)));
        let answered = Looked { request: 1, ..looked(Ended::Settled) };
        assert_eq!(due(id, &asked, Some(&answered)), Some(at(1_105)));
        let changed = GitSource { generation: 2, updated_at: at(1_020), ..source.clone() };
        assert_eq!(due(id, &changed, Some(&looked(Ended::Settled))), Some(at(1_020)));
        let mut suspended = asked;
        suspended.spec.suspend = true;
        assert_eq!(due(id, &suspended, None), None);
        assert_eq!(looked(Ended::Failed).after(3).failures, 4);
        assert_eq!(looked(Ended::Settled).after(3).failures, 0);
    }
}
