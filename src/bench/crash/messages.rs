//! Messages are not kept: what a crash may not do to them is deliver one that nobody sent, or one twice, or list a
//! participant whose connection died with its server.

use super::Site;
use super::ledger::Ledger;
use super::work::connect;
use crate::client::room::{Push, RoomClient, RoomMessage};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;

/// Starts one sender and its receiver.
pub(super) fn start(site: &Site, ledger: &Arc<Ledger>, round: u32) -> JoinHandle<()> {
    let (site, ledger) = (site.clone(), Arc::clone(ledger));
    tokio::spawn(async move {
        let (Some(sender), Some(receiver)) = (connect(&site).await, connect(&site).await) else {
            return;
        };
        let _ = talk(&sender, &receiver, &ledger, round).await;
        let ids = [sender.participant_id(), receiver.participant_id()];
        ledger.books().gone.extend(ids);
    })
}

/// Sends and takes one message after the other until the server dies; `None` then.
async fn talk(sender: &RoomClient, receiver: &RoomClient, ledger: &Ledger, round: u32) -> Option<()> {
    sender.enable_messaging().await.ok()?;
    let mut pushes = receiver.pushes();
    receiver.enable_messaging().await.ok()?;
    roster(&next(receiver, &mut pushes, "messaging.enabled").await?.body, ledger);
    let to = receiver.participant_id();
    for n in 0_u64.. {
        let key = format!("r{round}-{n}");
        ledger.books().messages.tried.insert(key.clone());
        sender.send_message(&to, "crash", &json!({"key": key}), None).await.ok()?;
        let got = next(receiver, &mut pushes, "crash").await?;
        let mut books = ledger.books();
        if got.body["key"] == key.as_str() {
            books.messages.acknowledged.insert(key);
        } else {
            books.invented.insert(format!("message {} instead of {key}", got.body["key"]));
        }
    }
    None
}

/// The next message of a kind.
async fn next(receiver: &RoomClient, pushes: &mut Receiver<Push>, kind: &str) -> Option<RoomMessage> {
    loop {
        let push = tokio::select! {
            push = pushes.recv() => push.ok()?,
            _ = receiver.closed() => return None,
        };
        match RoomMessage::from_push(&push) {
            Some(message) if message.kind == kind => return Some(message),
            _ => {}
        }
    }
}

/// Whom the room says to be there: none of those whose server died.
fn roster(said: &Value, ledger: &Ledger) {
    let mut books = ledger.books();
    let listed: Vec<String> = said["participants"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|participant| participant["id"].as_str().map(str::to_owned))
        .collect();
    if listed.is_empty() {
        books.invented.insert(format!("a roster without its sender: {said}"));
    }
    let ghosts: Vec<String> = listed.into_iter().filter(|id| books.gone.contains(id)).collect();
    books.invented.extend(ghosts.into_iter().map(|id| format!("participant {id}")));
}
