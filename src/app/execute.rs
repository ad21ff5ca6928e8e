//! Load, decide, append, answer; again when somebody else wrote first.

use super::{App, Error};
use crate::domain::Event;
use crate::eventlog::{AppendError, Expected, Metadata, NewEvent, StreamWrite};
use crate::id::{ProjectId, StreamId};
use crate::projection::World;
use std::collections::HashMap;
use uuid::Uuid;

/// How often a decision is made anew because others wrote to its streams first.
pub const CONFLICT_RETRIES_MAX: usize = 32;

/// Who makes a fact. Both are names of identities, never credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Such as `service-account:default`, `participant:alice`, `controller:schedule`.
    pub name: String,
    pub on_behalf_of: Option<String>,
    /// Ties together all that one request or one reconcile run did.
    pub correlation: Option<Uuid>,
}

impl Actor {
    pub fn new(kind: &str, name: impl std::fmt::Display) -> Self {
        Self { name: format!("{kind}:{name}"), on_behalf_of: None, correlation: None }
    }

    /// A part of this server acting by itself.
    #[must_use]
    pub fn controller(name: &str) -> Self {
        Self::new("controller", name)
    }
}

/// Facts for one stream.
#[derive(Clone, Debug)]
pub struct Change {
    pub project: ProjectId,
    pub stream: StreamId,
    pub events: Vec<Event>,
    /// For a fact that must be recorded once whoever sees it: its derived id.
    pub event_id: Option<Uuid>,
    /// Without facts: whether the stream must be as it was decided on.
    stands: bool,
}

impl Change {
    #[must_use]
    pub fn new(project: ProjectId, stream: StreamId, events: Vec<Event>) -> Self {
        Self { project, stream, events, event_id: None, stands: false }
    }

    /// No fact: the rest is only made if the stream is as it was decided on. What comes to refer to an object goes with this,
    /// so that the object cannot end at the same moment.
    #[must_use]
    pub fn stands(project: ProjectId, stream: StreamId) -> Self {
        Self { stands: true, ..Self::new(project, stream, vec![]) }
    }
}

/// What a use-case decided: facts to append in one transaction, and what to answer then.
#[derive(Clone, Debug)]
pub struct Decision<T> {
    pub changes: Vec<Change>,
    pub answer: T,
}

impl App {
    /// Runs `decide` on the newest state and appends what it says, all or nothing. On return the writer reads
    /// its own write in [`App::world`].
    pub async fn transact<T>(
        &self,
        actor: &Actor,
        decide: impl Fn(&World) -> Result<Decision<T>, Error> + Send,
    ) -> Result<T, Error> {
        for _ in 0..CONFLICT_RETRIES_MAX {
            let world = self.world();
            let decision = decide(&world)?;
            if self.commit(actor, &world, decision.changes).await? {
                return Ok(decision.answer);
            }
        }
        Err(Error::Busy("the same objects".to_owned()))
    }

    /// Appends what was decided on `world`, all or nothing; nothing to append is as good. `false`: somebody else wrote
    /// to the same streams first, and it is to be decided anew.
    pub(super) async fn commit(
        &self,
        actor: &Actor,
        world: &World,
        changes: Vec<Change>,
    ) -> Result<bool, Error> {
        let writes = self.writes(actor, world, changes)?;
        if writes.iter().all(|write| write.events.is_empty()) {
            return Ok(true);
        }
        match self.log.append(writes).await {
            Ok(appended) => self.projection.absorb(&appended.events).await?,
            Err(AppendError::Conflict { .. }) => {
                self.projection.catch_up().await?;
                return Ok(false);
            }
            Err(error) => return Err(Error::Append(error)),
        }
        Ok(true)
    }

    pub(super) fn writes(
        &self,
        actor: &Actor,
        world: &World,
        changes: Vec<Change>,
    ) -> Result<Vec<StreamWrite>, Error> {
        let mut writes: Vec<StreamWrite> = Vec::with_capacity(changes.len());
        let mut places: HashMap<StreamId, usize> = HashMap::with_capacity(changes.len());
        for change in changes.into_iter().filter(|c| c.stands || !c.events.is_empty()) {
            let metadata = Metadata {
                project: Some(change.project),
                actor: actor.name.clone(),
                on_behalf_of: actor.on_behalf_of.clone(),
                causation: None,
                correlation: actor.correlation,
                request_id: None,
            };
            let events = change
                .events
                .iter()
                .map(|event| self.new_event(event, change.event_id, &metadata))
                .collect::<Result<Vec<_>, _>>()?;
            // Several changes of one stream in one decision go one after another.
            if let Some(same) = places.get(&change.stream).and_then(|place| writes.get_mut(*place)) {
                same.events.extend(events);
                continue;
            }
            let expected = match world.version(change.project, &change.stream) {
                0 => Expected::NoStream,
                version => Expected::Exact(version),
            };
            places.insert(change.stream.clone(), writes.len());
            writes.push(StreamWrite { stream: change.stream, expected, events });
        }
        Ok(writes)
    }

    fn new_event(&self, event: &Event, id: Option<Uuid>, metadata: &Metadata) -> Result<NewEvent, Error> {
        let data = event.encode().map_err(|error| Error::Invalid {
            code: "event-unwritable",
            text: format!(
                "`{}` cannot be written: {error}; this is a defect, please report it",
                event.kind()
            ),
        })?;
        Ok(NewEvent {
            event_id: id.unwrap_or_else(|| self.ids.fresh()),
            kind: event.kind().to_owned(),
            schema_version: event.schema_version(),
            data,
            metadata: metadata.clone(),
        })
    }
}
