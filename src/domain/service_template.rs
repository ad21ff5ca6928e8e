//! A service template that a project keeps: the text that is rendered. Its name is held by [`super::names`].

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::spec::TEMPLATE_BYTES_MAX;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most templates of one project.
pub const TEMPLATES_MAX: usize = 1_000;

/// What is wanted of a template; the payload of `template.created` and `template.updated`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Wanted {
    pub name: String,
    /// As it was written, not rendered.
    pub source: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A template as the events tell it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceTemplate {
    pub wanted: Wanted,
    /// Counts the changes, from 1.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Wanted),
    Update(Wanted),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the service template exists already; update it instead")]
    Exists,
    #[error("no such service template here; `meshagent get service-templates` shows those that exist")]
    NotFound,
    #[error("the template has {0} bytes, at most {TEMPLATE_BYTES_MAX} are kept; make it smaller")]
    TooLong(usize),
    #[error("the project has {TEMPLATES_MAX} service templates, the most there may be; delete one first")]
    TooMany,
    #[error(
        "the instances {0} are made of this template; delete them first, or name another template in them"
    )]
    InUse(String),
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::TooLong(_) => Refusal::Invalid,
            Self::TooMany | Self::InUse(_) => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "template-exists",
            Self::NotFound => "template-not-found",
            Self::TooLong(_) => "template-invalid",
            Self::TooMany => "template-limit",
            Self::InUse(_) => "template-in-use",
        }
    }
}

impl Entity for ServiceTemplate {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        if let Command::Create(wanted) | Command::Update(wanted) = &command
            && wanted.source.len() > TEMPLATE_BYTES_MAX
        {
            return Err(Refused::TooLong(wanted.source.len()));
        }
        match (state, command) {
            (None, Command::Create(wanted)) => Ok(vec![Event::TemplateCreated(wanted)]),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(wanted)) if old.wanted == wanted => Ok(vec![]),
            (Some(_), Command::Update(wanted)) => Ok(vec![Event::TemplateUpdated(wanted)]),
            (Some(_), Command::Delete) => Ok(vec![Event::TemplateDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::TemplateCreated(wanted) => {
                Some(Self { wanted: wanted.clone(), generation: 1, created_at: at })
            }
            Event::TemplateUpdated(wanted) => state.map(|old| Self {
                wanted: wanted.clone(),
                generation: old.generation + 1,
                created_at: old.created_at,
            }),
            Event::TemplateDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_made_changed_and_deleted() {
        let wanted = |source: &str| Wanted { name: "a".into(), source: source.into(), ..Wanted::default() };
        let mut state = None;
        assert_eq!(ServiceTemplate::decide(None, Command::Update(wanted("x"))), Err(Refused::NotFound));
        for command in
            [Command::Create(wanted("x")), Command::Update(wanted("y")), Command::Update(wanted("y"))]
        {
            for event in ServiceTemplate::decide(state.as_ref(), command).unwrap() {
                state = ServiceTemplate::evolve(state, &event, DateTime::UNIX_EPOCH);
            }
        }
        let template = state.clone().unwrap();
        assert_eq!((template.wanted.source.as_str(), template.generation), ("y", 2));
        assert_eq!(
            ServiceTemplate::decide(state.as_ref(), Command::Create(wanted("x"))),
            Err(Refused::Exists)
        );
        let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
        let long = ServiceTemplate::decide(state.as_ref(), Command::Update(wanted(&long)));
        assert_eq!(long, Err(Refused::TooLong(TEMPLATE_BYTES_MAX + 1)));
        let gone = ServiceTemplate::decide(state.as_ref(), Command::Delete).unwrap();
        assert_eq!(ServiceTemplate::evolve(state, &gone[0], DateTime::UNIX_EPOCH), None);
    }
}
