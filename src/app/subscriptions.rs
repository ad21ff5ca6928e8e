//! Deliveries to agents that subscribed to events.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::subscription::Notices;
use crate::id::{Position, ProjectId};

impl App {
    /// Records that everything noted for subscribers up to a position is in its queue; nothing where that is known.
    pub async fn record_notices(
        &self,
        actor: &Actor,
        project: ProjectId,
        up_to: Position,
    ) -> Result<(), Error> {
        self.transact(actor, |world| {
            let events =
                world.project(project).map(|view| view.notices.state.deliver(up_to)).unwrap_or_default();
            let change = Change::new(project, Notices::stream(project), events);
            Ok(Decision { changes: vec![change], answer: () })
        })
        .await
    }
}
