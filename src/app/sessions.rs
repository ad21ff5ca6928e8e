//! Sessions and what was seen of the services that run in them.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::instance::{self, Instance};
use crate::domain::session::{Command, Reason, Session, Started};
use crate::id::{RoomId, SessionId};

impl App {
    /// Records that this server runs a room now.
    pub async fn start_session(&self, actor: &Actor, room: RoomId, epoch: u64) -> Result<SessionId, Error> {
        let id = SessionId::new(room.project(), self.ids.fresh());
        self.transact(actor, |world| {
            let state = world.room(room).ok_or_else(|| Error::no_room(&room.to_string()))?;
            let started = Started {
                room,
                room_name: state.name.clone(),
                host: self.settings.server_name.clone(),
                epoch,
            };
            let events = Session::decide(None, Command::Start(started)).map_err(Error::rejected)?;
            let stands = Change::stands(id.project(), room.stream());
            Ok(Decision { changes: vec![stands, Change::new(id.project(), id.stream(), events)], answer: id })
        })
        .await
    }

    /// Records that a run is over. Ending twice is no news.
    pub async fn end_session(&self, actor: &Actor, id: SessionId, reason: Reason) -> Result<(), Error> {
        self.transact(actor, |world| {
            let events = Session::decide(world.session(id), Command::End(reason)).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: () })
        })
        .await
    }

    /// Records an observation of a service's run. One that fits nothing that runs is dropped.
    pub async fn record_instance(
        &self,
        actor: &Actor,
        key: instance::Key,
        seen: instance::Command,
    ) -> Result<(), Error> {
        self.transact(actor, |world| {
            if !world.session(key.session).is_some_and(Session::is_active) {
                return Ok(Decision { changes: vec![], answer: () });
            }
            let events = Instance::decide(world.instance(key), seen.clone()).unwrap_or_default();
            let change = Change::new(key.session.project(), key.stream(), events);
            Ok(Decision { changes: vec![change], answer: () })
        })
        .await
    }
}
