//! This server among the others: shows that it is there, and gives its rooms away when it is told to.

use crate::app::servers::Servers;
use crate::room::Hub;
use crate::room::world::EndReason;
use std::sync::Arc;

/// Beats for as long as the server runs.
pub(super) async fn follow(servers: Arc<Servers>, hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(servers.beat_every()).await;
        if let Err(error) = servers.beat().await {
            tracing::warn!(%error, "this server cannot show that it is there");
            continue;
        }
        if servers.is_draining() {
            give_away(&hub).await;
        }
    }
}

/// Ends what is live here; the clients connect again, and are taken in elsewhere.
async fn give_away(hub: &Hub) {
    for (room, session) in hub.sessions() {
        tracing::info!(%room, %session, "a room is given to another server");
        hub.end(room, session, EndReason::LeaseLost).await;
    }
}
