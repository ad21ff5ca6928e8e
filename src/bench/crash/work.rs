//! The clients: each writes until its server dies, and books what it tried and what it was told.

use super::ledger::Ledger;
use super::{QUEUE, ROOM, Site, WRITERS};
use crate::client::room::{Options, Retry, RoomClient, Token, room_url};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Lease of the consumer, milliseconds: longer than a round.
pub(super) const LEASE_MS: u64 = 3_000;
/// Service whose annotation counts the applies.
pub(super) const SERVICE: &str = "counter";

/// Makes the room and the service; both may be there from an earlier round.
pub(super) async fn prepare(site: &Site) {
    let room = json!({"name": ROOM, "if_not_exists": true});
    let _ = site.project.rest().post(&["accounts", "projects", site.project.id(), "rooms"], &room).await;
    let path = ["accounts", "projects", site.project.id(), "rooms", ROOM, "services"];
    let _ = site.project.rest().post(&path, &service(0)).await;
}

fn service(number: u64) -> Value {
    json!({"version": "v1", "kind": "Service", "enabled": false,
        "metadata": {"name": SERVICE, "annotations": {"number": number.to_string()}}, "external": {}})
}

/// Starts all clients of a round.
pub(super) fn start(site: &Site, ledger: &Arc<Ledger>, round: u32) -> Vec<JoinHandle<()>> {
    let mut workers = vec![];
    for writer in 0..WRITERS {
        let name = format!("r{round}-w{writer}");
        workers.push(tokio::spawn(rooms(site.clone(), Arc::clone(ledger), name.clone())));
        workers.push(tokio::spawn(files(site.clone(), Arc::clone(ledger), name.clone())));
        workers.push(tokio::spawn(items(site.clone(), Arc::clone(ledger), name)));
    }
    workers.push(tokio::spawn(applies(site.clone(), Arc::clone(ledger))));
    workers.push(tokio::spawn(consumer(site.clone(), Arc::clone(ledger))));
    workers
}

async fn rooms(site: Site, ledger: Arc<Ledger>, writer: String) {
    for n in 0_u64.. {
        let name = format!("{writer}-{n}");
        ledger.books().rooms.tried.insert(name.clone());
        let body = json!({"name": name});
        let path = ["accounts", "projects", site.project.id(), "rooms"];
        if site.project.rest().post(&path, &body).await.is_err() {
            return;
        }
        ledger.books().rooms.acknowledged.insert(name);
    }
}

async fn files(site: Site, ledger: Arc<Ledger>, writer: String) {
    let Ok(Some(files)) = site.project.files().await else { return };
    let target = super::verify::target(&site);
    for n in 0_u64.. {
        let path = format!("{writer}/{n}.txt");
        ledger.books().files.tried.insert(path.clone());
        let text = super::verify::content(&path);
        let body = futures_util::stream::once(async { Ok(text) });
        if files.put(&target, &path, true, body).await.is_err() {
            return;
        }
        ledger.books().files.acknowledged.insert(path);
    }
}

async fn applies(site: Site, ledger: Arc<Ledger>) {
    loop {
        let number = {
            let mut books = ledger.books();
            books.applied.0 += 1;
            books.applied.0
        };
        let scope = ["accounts", "projects", site.project.id(), "rooms", ROOM, "services", SERVICE];
        if site.project.rest().put(&scope, &service(number)).await.is_err() {
            return;
        }
        ledger.books().applied.1 = number;
    }
}

/// A connection that ends with its server.
pub(super) async fn connect(site: &Site) -> Option<RoomClient> {
    let url = room_url(site.project.rest().base(), ROOM);
    RoomClient::connect(Options::new(url, Token::new(site.token.clone())).retry(Retry::Never)).await.ok()
}

async fn items(site: Site, ledger: Arc<Ledger>, writer: String) {
    let Some(room) = connect(&site).await else { return };
    for n in 0_u64.. {
        let name = format!("{writer}-{n}");
        ledger.books().items.tried.insert(name.clone());
        if room.queues().send(QUEUE, true, json!({"name": name})).await.is_err() {
            return;
        }
        ledger.books().items.acknowledged.insert(name);
    }
}

/// Takes items under leases and acknowledges most of them.
async fn consumer(site: Site, ledger: Arc<Ledger>) {
    let Some(room) = connect(&site).await else { return };
    loop {
        let Ok(item) = room.queues().lease(QUEUE, true, true, LEASE_MS).await else { return };
        let Some(item) = item else { continue };
        let name = item.message["name"].as_str().unwrap_or_default().to_owned();
        {
            let mut books = ledger.books();
            *books.deliveries.entry(name.clone()).or_insert(0) += 1;
            if books.done.contains(&name) {
                books.repeated.insert(name.clone());
            }
            books.settling.insert(name.clone());
        }
        if room.queues().ack(QUEUE, &item).await.is_err() {
            return;
        }
        let mut books = ledger.books();
        books.settling.remove(&name);
        books.done.insert(name);
    }
}
