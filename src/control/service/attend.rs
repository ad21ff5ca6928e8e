//! Agents elsewhere that take part over a socket which this server dials: dialled when a session runs, and anew when
//! the socket ends.

use super::elsewhere::{Call, Called};
use crate::app::host::Dial;
use crate::control::{ControlParts, Error};
use crate::projection::World;
use chrono::TimeDelta;
use tokio::task::JoinHandle;

/// Sockets held at once, of all services.
pub const SOCKETS_MAX: usize = 1_024;
/// A socket that lasted this long did not fail: its service is dialled anew at once.
pub const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(1);

/// Dials, and returns when the socket is over; an error is one that came too soon.
pub async fn attend(call: Call, parts: &ControlParts, called: &Called) -> Result<(), Error> {
    if !wanted(&parts.app.world(), &call) {
        return Ok(());
    }
    let began = parts.app.clock.now();
    let why = match dial(&call, parts).await {
        Ok(socket) => {
            called.set(&call, Ok(()));
            tracing::info!(identity = call.identity, "an agent elsewhere takes part over a socket");
            wait(&call, parts, socket).await;
            called.forget(&call);
            let lasted = parts.app.clock.now() - began;
            if lasted >= SETTLED_AFTER || !wanted(&parts.app.world(), &call) {
                return Ok(());
            }
            format!("its socket ended after {} s", lasted.num_seconds())
        }
        // The session ended, or the service changed, while it was dialled.
        Err(_) if !wanted(&parts.app.world(), &call) => return Ok(()),
        Err(why) => why,
    };
    called.set(&call, Err(why.clone()));
    let path = call.url.as_ref().map(|url| url.path().to_owned()).unwrap_or_default();
    Err(Error::Call { identity: call.identity.clone(), path, why })
}

async fn dial(call: &Call, parts: &ControlParts) -> Result<JoinHandle<()>, String> {
    let url = call.url.clone()?;
    let Some((event, secret)) = call.event(parts).await? else {
        return Err("the room is gone".to_owned());
    };
    let dial = Dial {
        room: call.key.room,
        session: call.run.0,
        url,
        event,
        secret,
        allowed: parts.settings.outward.allowed.clone(),
        name: call.identity.clone(),
        api: call.api.clone(),
        service: call.key.service,
    };
    parts.host.dial(dial).await
}

/// Until the socket is over; ends it when it is wanted no more.
async fn wait(call: &Call, parts: &ControlParts, mut socket: JoinHandle<()>) {
    let mut changes = parts.app.projection.changes();
    loop {
        if !wanted(&parts.app.world(), call) {
            socket.abort();
        }
        tokio::select! {
            _ = &mut socket => return,
            changed = changes.changed() => if changed.is_err() { return socket.abort() },
        }
    }
}

/// Whether the service is still as it was called, in a session that runs.
fn wanted(world: &World, call: &Call) -> bool {
    let (session, generation) = call.run;
    let same =
        world.service(call.key.service).is_some_and(|s| s.spec.enabled && s.run_generation == generation);
    same && world.session(session).is_some_and(crate::domain::session::Session::is_active)
}
