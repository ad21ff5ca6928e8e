//! Which sessions end, which rooms open: decided from facts alone.

use crate::domain::session::Reason;
use crate::id::{RoomId, SessionId};
use chrono::{DateTime, TimeDelta, Utc};

/// Seconds without anybody before a session ends, where neither room nor operator says.
pub const EMPTY_ROOM_SECONDS: u64 = 300;
/// Annotation of a room: seconds without anybody before its session ends.
pub const EMPTY_ROOM_TIMEOUT: &str = "meshagent.room.empty-room-timeout";
/// Annotation of a room: longest life of a session, seconds.
pub const MAX_RUNTIME: &str = "meshagent.room.max-runtime-seconds";
/// Most seconds an annotation may say; more is cut to this.
pub const SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;
/// A session that this server recorded but does not run after this long failed to open, seconds.
pub const OPENING_SECONDS_MAX: i64 = 60;
/// How often sessions of other servers are looked at, seconds.
pub const FOREIGN_SECONDS: i64 = 20;
/// When a room with work under way is looked at again, seconds.
pub const BUSY_SECONDS: i64 = 30;

/// What the room wants of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub enabled: bool,
    pub empty_seconds: u64,
    pub max_seconds: Option<u64>,
}

/// Who runs a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This server; `idle_since` as its host says.
    Live { idle_since: Option<DateTime<Utc>> },
    /// Recorded for this server, and not running on it.
    NotLive {
        /// An earlier run of this server began it.
        orphan: bool,
    },
    /// Another server. `gone`: its lease is over.
    Elsewhere { gone: bool },
}

/// One session that the log does not show ended, or that runs here.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub room: RoomId,
    pub session: SessionId,
    pub started_at: DateTime<Utc>,
    pub place: Place,
    /// Set where the log shows it ended.
    pub ended: Option<Reason>,
    /// `None`: the room is deleted.
    pub wanted: Option<Wanted>,
    /// Not to be ended for idleness before this.
    pub busy_until: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send everybody away and record the end.
    End { room: RoomId, session: SessionId, reason: Reason },
    /// The same, unless queues have work under way.
    EndIfUnused { room: RoomId, session: SessionId },
    /// Only record the end: nobody runs it.
    Close { session: SessionId, reason: Reason },
    /// Look again then.
    Wait { until: DateTime<Utc> },
}

/// What to do about one session; nothing where only a change can matter.
#[must_use]
pub fn plan(facts: &Facts, now: DateTime<Utc>) -> Option<Step> {
    let Facts { room, session, .. } = *facts;
    match facts.place {
        Place::Live { .. } if facts.ended.is_some() => {
            facts.ended.map(|reason| Step::End { room, session, reason })
        }
        Place::Live { idle_since } => Some(plan_live(facts, idle_since, now)),
        Place::NotLive { orphan: true } | Place::Elsewhere { gone: true } => {
            Some(Step::Close { session, reason: Reason::HostGone })
        }
        Place::NotLive { orphan: false } => {
            let until = facts.started_at + TimeDelta::seconds(OPENING_SECONDS_MAX);
            let late = now >= until;
            Some(if late { Step::Close { session, reason: Reason::HostGone } } else { Step::Wait { until } })
        }
        Place::Elsewhere { gone: false } => {
            Some(Step::Wait { until: now + TimeDelta::seconds(FOREIGN_SECONDS) })
        }
    }
}

fn plan_live(facts: &Facts, idle_since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Step {
    let Facts { room, session, .. } = *facts;
    let Some(wanted) = facts.wanted.filter(|w| w.enabled) else {
        return Step::End { room, session, reason: Reason::RoomGone };
    };
    let over = wanted.max_seconds.map(|seconds| facts.started_at + seconds_delta(seconds));
    if over.is_some_and(|over| over <= now) {
        return Step::End { room, session, reason: Reason::Terminated };
    }
    let timeout = seconds_delta(wanted.empty_seconds);
    let look = match idle_since {
        Some(since) if since + timeout <= now && facts.busy_until.is_none_or(|until| until <= now) => {
            return Step::EndIfUnused { room, session };
        }
        Some(since) => facts.busy_until.map_or(since + timeout, |until| until.max(since + timeout)),
        // Nobody tells when the last one leaves: it cannot be due before this.
        None => now + (timeout / 2).max(TimeDelta::seconds(1)),
    };
    Step::Wait { until: over.map_or(look, |over| over.min(look)) }
}

fn seconds_delta(seconds: u64) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(seconds.min(SECONDS_MAX)).unwrap_or(i64::MAX / 1000))
}

/// A number of seconds as an annotation writes it, fractions cut off.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok().map(|seconds: u64| seconds.min(SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use uuid::Uuid;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
    }

    fn facts(place: Place) -> Facts {
        let project = ProjectId::new(Uuid::from_u128(1));
        Facts {
            room: RoomId::new(project, Uuid::from_u128(2)),
            session: SessionId::new(project, Uuid::from_u128(3)),
            started_at: at(0),
            place,
            ended: None,
            wanted: Some(Wanted { enabled: true, empty_seconds: 300, max_seconds: None }),
            busy_until: None,
        }
    }

    /// A word per step, with its time where it has one.
    fn shown(facts: &Facts, now: i64) -> String {
        match plan(facts, at(now)) {
            None => "nothing".to_owned(),
            Some(Step::End { reason, .. }) => format!("end {reason:?}"),
            Some(Step::EndIfUnused { .. }) => "end if unused".to_owned(),
            Some(Step::Close { reason, .. }) => format!("close {reason:?}"),
            Some(Step::Wait { until }) => format!("wait {}", (until - at(0)).num_seconds()),
        }
    }

    #[test]
    fn a_live_session_ends_when_it_was_idle_for_its_time() {
        let idle = |since: i64| facts(Place::Live { idle_since: Some(at(since)) });
        let busy = facts(Place::Live { idle_since: None });
        let table = [
            (idle(100), 200, "wait 400"),
            (idle(100), 399, "wait 400"),
            (idle(100), 400, "end if unused"),
            (busy, 1000, "wait 1150"),
            (Facts { busy_until: Some(at(500)), ..idle(100) }, 400, "wait 500"),
            (Facts { busy_until: Some(at(500)), ..idle(100) }, 500, "end if unused"),
            (Facts { wanted: None, ..busy }, 1, "end RoomGone"),
            (Facts { ended: Some(Reason::Terminated), ..busy }, 1, "end Terminated"),
        ];
        for (facts, now, expected) in table {
            assert_eq!(shown(&facts, now), expected, "{facts:?} at {now}");
        }
    }

    #[test]
    fn a_disabled_room_and_a_session_past_its_longest_life_end() {
        let wanted = |enabled, max_seconds| Some(Wanted { enabled, empty_seconds: 300, max_seconds });
        let live = facts(Place::Live { idle_since: None });
        assert_eq!(shown(&Facts { wanted: wanted(false, None), ..live }, 1), "end RoomGone");
        assert_eq!(shown(&Facts { wanted: wanted(true, Some(60)), ..live }, 59), "wait 60");
        assert_eq!(shown(&Facts { wanted: wanted(true, Some(60)), ..live }, 60), "end Terminated");
    }

    #[test]
    fn sessions_that_nobody_runs_are_closed() {
        let table = [
            (Place::NotLive { orphan: true }, 0, "close HostGone"),
            (Place::NotLive { orphan: false }, 10, "wait 60"),
            (Place::NotLive { orphan: false }, 60, "close HostGone"),
            (Place::Elsewhere { gone: false }, 10, "wait 30"),
            (Place::Elsewhere { gone: true }, 10, "close HostGone"),
        ];
        for (place, now, expected) in table {
            assert_eq!(shown(&facts(place), now), expected, "{place:?} at {now}");
        }
    }

    #[test]
    fn annotations_are_whole_seconds() {
        for (text, read) in [("60", Some(60)), (" 1.5 ", Some(1)), ("0", Some(0)), ("-1", None), ("x", None)]
        {
            assert_eq!(seconds(text), read, "{text}");
        }
        assert_eq!(seconds("99999999999999"), Some(SECONDS_MAX));
    }
}
