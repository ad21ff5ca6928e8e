//! A subscription of a feed: what is published is written into files of a room.

use super::event::Nothing;
use super::feed::are_short;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::{FeedId, RoomId};
use crate::spec::reconcile::Cadence;
use crate::spec::{STAMP_PARTS, is_folder, is_stamp};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most subscriptions of one feed.
pub const SUBSCRIPTIONS_MAX: usize = 100;

/// What is wanted; the payload of `feedsubscription.created` and `feedsubscription.updated`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// What documents call it; subscriptions that are made otherwise have no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub feed: FeedId,
    pub room: RoomId,
    /// Folder in the room's storage, without slashes at its ends; empty is the root.
    pub path: String,
    /// How the time stands in names of files; `None`: `YYYY-MM-DDThh_mm_ssZ`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename_datetime_format: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A subscription as the events tell it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FeedSubscription {
    pub wanted: Wanted,
    pub created_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub generation: u64,
    /// Since when nothing is delivered, as it is paused.
    #[serde(default)]
    pub paused_at: Option<DateTime<Utc>>,
}

fn cadence(wanted: &Wanted) -> Cadence {
    Cadence::of(Some(&wanted.annotations))
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Wanted),
    /// Feed, room and path stay what they are.
    Update {
        filename_datetime_format: Option<String>,
        annotations: BTreeMap<String, String>,
    },
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the subscription exists already; update it instead")]
    Exists,
    #[error("no such subscription here; `meshagent subscription list --feed-id FEED` shows those that exist")]
    NotFound,
    #[error("`{0}` is no folder of a room; give a path without `..`, empty segments and control characters")]
    BadPath(String),
    #[error(
        "`{0}` cannot stand in names of files; use YYYY, MM, DD, hh, mm and ss each at most once, with letters, digits, `-`, `_`, `.` and `/` between"
    )]
    BadFormat(String),
    #[error("there are too many annotations, or one is too long; shorten them")]
    LongNotes,
    #[error("the feed has {SUBSCRIPTIONS_MAX} subscriptions already; delete one first")]
    TooMany,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::TooMany => Refusal::State,
            Self::BadPath(_) | Self::BadFormat(_) | Self::LongNotes => Refusal::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "subscription-exists",
            Self::NotFound => "subscription-not-found",
            Self::TooMany => "feed-limit",
            Self::BadPath(_) | Self::BadFormat(_) | Self::LongNotes => "subscription-invalid",
        }
    }
}

/// How the time stands in names of files unless told.
pub const DEFAULT_FORMAT: &str = "YYYY-MM-DDThh_mm_ssZ";

/// The time of a file, as its name has it.
#[must_use]
pub fn stamp(format: Option<&str>, at: DateTime<Utc>) -> String {
    let mut text = format.unwrap_or(DEFAULT_FORMAT).to_owned();
    // The month first: nothing that is put in has these letters.
    for (part, with) in STAMP_PARTS {
        text = text.replacen(part, &at.format(with).to_string(), 1);
    }
    text
}

impl Wanted {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Refused> {
        if !is_folder(&self.path) {
            return Err(Refused::BadPath(self.path.chars().take(80).collect()));
        }
        if !are_short(&self.annotations) {
            return Err(Refused::LongNotes);
        }
        match self.filename_datetime_format.as_deref() {
            Some(format) if !is_stamp(format) => Err(Refused::BadFormat(format.chars().take(80).collect())),
            _ => Ok(()),
        }
    }
}

impl Entity for FeedSubscription {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(wanted)) => {
                wanted.check()?;
                Ok(vec![Event::FeedSubscriptionCreated(wanted)])
            }
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update { filename_datetime_format, annotations }) => {
                let wanted = Wanted { filename_datetime_format, annotations, ..old.wanted.clone() };
                wanted.check()?;
                let same = wanted == old.wanted;
                Ok(if same { vec![] } else { vec![Event::FeedSubscriptionUpdated(wanted)] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::FeedSubscriptionDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::FeedSubscriptionCreated(wanted) => {
                let paused_at = cadence(wanted).paused_at(None, at);
                Some(Self { wanted: wanted.clone(), created_at: at, generation: 1, paused_at })
            }
            Event::FeedSubscriptionUpdated(wanted) => state.map(|old| Self {
                wanted: wanted.clone(),
                generation: old.generation.saturating_add(1),
                paused_at: cadence(wanted).paused_at(old.paused_at, at),
                ..old
            }),
            Event::FeedSubscriptionDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use uuid::Uuid;

    fn wanted(path: &str, format: Option<&str>) -> Wanted {
        let project = ProjectId::new(Uuid::from_u128(1));
        Wanted {
            name: None,
            feed: FeedId::new(project, Uuid::from_u128(2)),
            room: RoomId::new(project, Uuid::from_u128(3)),
            path: path.to_owned(),
            filename_datetime_format: format.map(str::to_owned),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn times_stand_in_names_as_wanted() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(stamp(None, at), "2023-11-14T22_13_20Z");
        assert_eq!(stamp(Some("YYYY/MM/DD/hh_mm_ssZ"), at), "2023/11/14/22_13_20Z");
        assert_eq!(stamp(Some("plain"), at), "plain");
    }

    #[test]
    fn a_subscription_keeps_its_place() {
        let made = FeedSubscription::decide(None, Command::Create(wanted("logs/a", None))).unwrap();
        let one = FeedSubscription::evolve(None, &made[0], DateTime::UNIX_EPOCH).unwrap();
        let update = |format: Option<&str>| Command::Update {
            filename_datetime_format: format.map(str::to_owned),
            annotations: BTreeMap::new(),
        };
        assert_eq!(FeedSubscription::decide(Some(&one), update(None)), Ok(vec![]));
        let changed = FeedSubscription::decide(Some(&one), update(Some("YYYY/MM"))).unwrap();
        let one = FeedSubscription::evolve(Some(one), &changed[0], DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((one.wanted.path.as_str(), one.generation), ("logs/a", 2));
        assert!(matches!(
            FeedSubscription::decide(Some(&one), update(Some("../x"))),
            Err(Refused::BadFormat(_))
        ));
    }

    #[test]
    fn folders_and_formats_that_lead_elsewhere_are_refused() {
        for path in ["..", "a/../b", "/a", "a//b", "a/", "a\\b", "a\nb", &"a".repeat(2_000)] {
            let refused = FeedSubscription::decide(None, Command::Create(wanted(path, None)));
            assert!(matches!(refused, Err(Refused::BadPath(_))), "{path}");
        }
        for format in ["", "../YYYY", "YYYY YYYY", "YYYY/../MM", "YYYY%d", "/YYYY", "YYYYYYYY", "a:b"] {
            let refused = FeedSubscription::decide(None, Command::Create(wanted("", Some(format))));
            assert!(matches!(refused, Err(Refused::BadFormat(_))), "{format}");
        }
    }
}
