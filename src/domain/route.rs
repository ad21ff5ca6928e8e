//! A route: what answers at a domain. The domain is held by [`super::names`], once on the whole platform.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::{ManagedAgentId, RoomId};
use crate::spec::Route as Spec;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Bytes of a domain, and of one of its labels (RFC 1035).
const DOMAIN_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Whose files and ports answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    Room(RoomId),
    Agent(ManagedAgentId),
}

impl Backend {
    /// The room that has the files and the services; a managed agent lives in one.
    #[must_use]
    pub const fn room(self) -> RoomId {
        match self {
            Self::Room(room) => room,
            Self::Agent(agent) => agent.room(),
        }
    }
}

/// Fact: this is what is wanted from now on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// The names in its backend are those of the time; [`Wanted::backend`] says who is meant.
    pub spec: Spec,
    pub backend: Backend,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Route {
    pub spec: Spec,
    pub backend: Backend,
    /// Counts the changes of what is wanted; 1 at creation.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Route {
    /// The domain as it is looked up; the document keeps how it was written.
    #[must_use]
    pub fn domain(&self) -> String {
        canonical(&self.spec.domain)
    }
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Wanted),
    /// The domain stays what it is.
    Update(Wanted),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the route exists already; update it instead")]
    Exists,
    #[error("the route does not exist; `meshagent route list` shows those that do")]
    NotFound,
    #[error(
        "`{0}` is not a domain that a route can have; write labels of letters, digits and hyphens with dots between them, such as shop.example.com"
    )]
    BadDomain(String),
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::BadDomain(_) => Refusal::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "route-exists",
            Self::NotFound => "route-not-found",
            Self::BadDomain(_) => "route-domain-invalid",
        }
    }
}

/// A domain as it is kept and looked up: lower case, without a dot at the end.
#[must_use]
pub fn canonical(domain: &str) -> String {
    let domain = domain.trim();
    domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase()
}

/// Whether a canonical text is a host name. Addresses of machines are not.
#[must_use]
pub fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte != b'-');
        let bytes = label.as_bytes();
        bytes.len() <= LABEL_BYTES_MAX
            && edge(bytes.first().copied())
            && edge(bytes.last().copied())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    let numeric = domain.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
    domain.len() <= DOMAIN_BYTES_MAX && !numeric && domain.split('.').all(label)
}

impl Entity for Route {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(wanted)) => {
                let domain = canonical(&wanted.spec.domain);
                if !is_domain(&domain) {
                    return Err(Refused::BadDomain(domain.chars().take(DOMAIN_BYTES_MAX).collect()));
                }
                Ok(vec![Event::RouteCreated(wanted)])
            }
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(wanted)) => {
                let domain = Some(wanted.spec.domain.clone()).filter(|new| canonical(new) == old.domain());
                let domain = domain.unwrap_or_else(|| old.spec.domain.clone());
                let spec = Spec { domain, ..wanted.spec };
                let same = spec == old.spec && wanted.backend == old.backend;
                Ok(if same { vec![] } else { vec![Event::RouteUpdated(Wanted { spec, ..wanted })] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::RouteDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::RouteCreated(Wanted { spec, backend }) => Some(Self {
                spec: spec.clone(),
                backend: *backend,
                generation: 1,
                created_at: at,
                updated_at: at,
            }),
            Event::RouteUpdated(Wanted { spec, backend }) => {
                let old = state?;
                let generation = old.generation + 1;
                Some(Self { spec: spec.clone(), backend: *backend, generation, updated_at: at, ..old })
            }
            Event::RouteDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use serde_json::json;
    use uuid::Uuid;

    fn wanted(domain: &str, port: u16) -> Wanted {
        let spec = json!({"metadata": {"name": "a"}, "domain": domain, "backend": {"room": {"name": "den"}},
            "paths": [{"path": "/", "targetPort": port}]});
        let room = RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2));
        Wanted { spec: serde_json::from_value(spec).unwrap(), backend: Backend::Room(room) }
    }

    #[test]
    fn a_route_is_created_changed_and_deleted() {
        let at = DateTime::UNIX_EPOCH;
        let made = Route::decide(None, Command::Create(wanted("Shop.Example.", 80))).unwrap();
        let route = Route::evolve(None, &made[0], at).unwrap();
        assert_eq!((route.domain().as_str(), route.generation), ("shop.example", 1));
        let update = |port| Route::decide(Some(&route), Command::Update(wanted("other.example", port)));
        assert_eq!(update(80).unwrap(), vec![], "the domain stays, so nothing changed");
        let changed = Route::evolve(Some(route.clone()), &update(81).unwrap()[0], at).unwrap();
        assert_eq!((changed.generation, changed.domain().as_str()), (2, "shop.example"));
        assert_eq!(Route::decide(Some(&route), Command::Create(wanted("a.b", 1))), Err(Refused::Exists));
        assert_eq!(Route::decide(None, Command::Delete), Err(Refused::NotFound));
        let gone = Route::decide(Some(&route), Command::Delete).unwrap();
        assert_eq!(Route::evolve(Some(route), &gone[0], at), None);
    }

    #[test]
    fn only_host_names_are_domains() {
        let long = format!("{}.example", "a".repeat(64));
        let whole = vec!["a"; 128].join(".");
        for bad in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "a b",
            "a/b",
            "a:80",
            "*.a.b",
            "127.0.0.1",
            "[::1]",
            "ü.de",
            "a.b.1",
            &long,
            &whole,
        ] {
            let refused = Route::decide(None, Command::Create(wanted(bad, 1)));
            assert!(matches!(refused, Err(Refused::BadDomain(_))), "{bad}");
        }
        for good in ["a", "localhost", "a.b", "xn--mnchen-3ya.de", "1.a", "a-b.c3"] {
            assert!(Route::decide(None, Command::Create(wanted(good, 1))).is_ok(), "{good}");
        }
    }
}
