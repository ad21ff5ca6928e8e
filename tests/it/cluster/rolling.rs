//! Three servers on one PostgreSQL, behind a balancer: each is killed and started again, then each is drained, stopped and
//! started again, while 300 clients are there. Nobody is lost beyond a reconnect, nothing that was acknowledged is gone, every
//! instant of a schedule is fired once, and no room ever has two sessions.

use super::{ANSWER_LIMIT, TAKE_OVER_LIMIT, project};
use crate::support::postgres;
use crate::support::server::Server;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use meshagent::client::rest::ProjectRest;
use meshagent::client::room::{Options, RoomClient, Token, room_url};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, block_in_place};

const CLIENTS: usize = 300;
const ROOMS: usize = 30;
/// Pause between two messages of one room.
const PACE: Duration = Duration::from_millis(100);
const TICK_SECONDS: i64 = 1;
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Passes connections on to the servers in turns; one that does not take it is passed over.
async fn balance(servers: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (servers, first) = (servers.clone(), next.fetch_add(1, Ordering::Relaxed));
            tokio::spawn(async move {
                for n in 0..servers.len() {
                    let server = servers[(first + n) % servers.len()];
                    let connected = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(server)).await;
                    if let Ok(Ok(mut server)) = connected {
                        // Either end may be gone at any time.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Sends numbers to a queue until told to stop; answers those that were acknowledged.
fn work(client: RoomClient, stop: Arc<AtomicBool>) -> JoinHandle<BTreeSet<u64>> {
    tokio::spawn(async move {
        let (mut done, mut pace) = (BTreeSet::new(), tokio::time::interval(PACE));
        for n in 0.. {
            pace.tick().await;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let queues = client.queues();
            let sent = tokio::time::timeout(ANSWER_LIMIT, queues.send("q", true, json!({"n": n}))).await;
            if matches!(sent, Ok(Ok(()))) {
                done.insert(n);
            }
        }
        done
    })
}

/// Every client gets an answer from its room.
async fn all_answer(clients: &[RoomClient], after: &str) {
    let answers = clients.iter().map(|client| async move {
        let mut pace = tokio::time::interval(PACE);
        loop {
            pace.tick().await;
            let queues = client.queues();
            let sent = tokio::time::timeout(ANSWER_LIMIT, queues.send("here", true, json!({}))).await;
            if matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    let all = tokio::time::timeout(TAKE_OVER_LIMIT, join_all(answers)).await;
    assert!(all.is_ok(), "not every client has an answer after {after}");
}

async fn facts(project: &ProjectRest, kinds: &str) -> Vec<Value> {
    let (mut all, mut after) = (vec![], 0);
    loop {
        let query = [("after", after.to_string()), ("kind", kinds.to_owned())];
        let mut page = project.rest().events(&query).await.unwrap();
        let events = page["events"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if events.is_empty() {
            return all;
        }
        after = page["next"].as_u64().unwrap();
        all.extend(events);
    }
}

/// At every position of the log, a room has at most one session, and each has a higher epoch than the one before.
fn one_owner_at_any_time(facts: &[Value]) -> usize {
    let (mut room_of, mut open, mut epochs) = (HashMap::new(), HashMap::new(), HashMap::new());
    for fact in facts {
        let stream = fact["stream"].as_str().unwrap().to_owned();
        if fact["kind"] == "session.ended" {
            let room: &String = &room_of[&stream];
            open.retain(|of, session| of != room || *session != stream);
            continue;
        }
        let room = fact["data"]["room"].as_str().unwrap().to_owned();
        let epoch = fact["data"]["epoch"].as_u64().unwrap();
        assert!(open.insert(room.clone(), stream.clone()).is_none(), "two sessions at once: {fact}");
        assert!(epochs.insert(room.clone(), epoch).is_none_or(|before| before < epoch), "{fact}");
        room_of.insert(stream, room);
    }
    room_of.len()
}

/// State of a server, and how many rooms it has.
async fn rooms_of(project: &ProjectRest, name: &str) -> Option<(String, u64)> {
    let all = project.rest().servers().await.unwrap();
    let server = all["servers"].as_array()?.iter().find(|server| server["name"] == name)?;
    Some((server["state"].as_str()?.to_owned(), server["rooms"].as_u64()?))
}

async fn drained(client: &RoomClient, queue: &str) -> Vec<Value> {
    let mut all = vec![];
    while let Some(item) = client.queues().receive(queue, true, false).await.unwrap() {
        all.push(item);
    }
    all
}

/// Each instant once, none left out, and one item for each.
async fn every_instant_fired_once(project: &ProjectRest, clock: &RoomClient) {
    let mut instants: BTreeMap<DateTime<Utc>, usize> = BTreeMap::new();
    let fired = facts(project, "task.fired").await;
    for fact in &fired {
        assert_eq!(fact["data"]["outcome"], "submitted", "{fact}");
        *instants.entry(fact["data"]["scheduled_at"].as_str().unwrap().parse().unwrap()).or_default() += 1;
    }
    assert!(instants.len() > 10 && instants.values().all(|times| *times == 1), "{instants:?}");
    let all: Vec<_> = instants.keys().collect();
    for pair in all.windows(2) {
        assert_eq!(*pair[1] - *pair[0], TimeDelta::seconds(TICK_SECONDS), "{pair:?}");
    }
    let mut items = vec![];
    while let Some(item) = clock.queues().lease("ticks", true, false, 60_000).await.unwrap() {
        items.push(item.item_id);
    }
    let there: BTreeSet<&str> = items.iter().map(String::as_str).collect();
    assert_eq!(there.len(), items.len(), "an item came twice: {items:?}");
    let told: BTreeSet<&str> = fired.iter().map(|fact| fact["data"]["item"].as_str().unwrap()).collect();
    // The last may have been sent while the task was deleted.
    let untold = there.difference(&told).count();
    assert!(told.is_subset(&there) && untold <= 1, "{} firings, {} items", told.len(), there.len());
}

/// Each server gives its rooms away, is stopped, and started again.
async fn drain_and_replace(servers: &mut [Server], project: &ProjectRest, clients: &[RoomClient]) {
    for n in 0..servers.len() {
        let (name, asked) = (["one", "two", "three"][n], &servers[(n + 1) % servers.len()]);
        let drained = block_in_place(|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_meshagent"));
            command.args(["server", "drain", name, "--api-url", &asked.url]);
            command.env_clear().env("MESHAGENT_API_KEY", &asked.api_key).output().unwrap()
        });
        assert!(drained.status.success(), "{drained:?}");
        assert_eq!(rooms_of(project, name).await, Some(("draining".to_owned(), 0)));
        all_answer(clients, "a drain").await;
        assert_eq!(rooms_of(project, name).await, Some(("draining".to_owned(), 0)), "it takes none");
        block_in_place(|| {
            servers[n].terminate();
            servers[n].restart();
        });
        all_answer(clients, "a stop").await;
        let state = rooms_of(project, name).await.map(|(state, _)| state);
        assert_eq!(state.as_deref(), Some("active"), "a new start takes rooms again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_replaced_one_after_another_and_nobody_is_lost() {
    let Some(url) = postgres::database().await else { return };
    let shared = tempfile::tempdir().unwrap();
    let dir = shared.path().to_str().unwrap();
    let start = |name: &str| {
        let flags = ["--database-url", &url, "--shared-dir", dir, "--server-name", name];
        Server::start(&[&flags[..], &["--schedule-floor", "1"]].concat())
    };
    let mut servers = block_in_place(|| ["one", "two", "three"].map(start));
    let addresses = servers.iter().map(|server| server.url.trim_start_matches("http://").parse().unwrap());
    let balancer = format!("http://{}", balance(addresses.collect()).await);
    let project = project(&servers[0]);

    let mut clients = vec![];
    for n in 0..ROOMS {
        let (room, rooms) = (format!("room-{n}"), ["accounts", "projects", &servers[0].project_id, "rooms"]);
        project.rest().post(&rooms, &json!({"name": room})).await.unwrap();
        let jwt = project.connect(&room).await.unwrap().jwt;
        for _ in 0..CLIENTS / ROOMS {
            let options = Options::new(room_url(&balancer, &room), Token::new(jwt.clone()));
            clients.push(RoomClient::connect(options));
        }
    }
    let joined = tokio::time::timeout(TAKE_OVER_LIMIT, join_all(clients)).await.unwrap();
    let clients: Vec<RoomClient> = joined.into_iter().map(Result::unwrap).collect();
    let firsts: Vec<&RoomClient> = clients.iter().step_by(CLIENTS / ROOMS).collect();
    let annotations = json!({"meshagent.schedule.catchup": "all"});
    let task = json!({"metadata": {"name": "tick", "annotations": annotations},
        "schedule": format!("{TICK_SECONDS} second"), "queue": {"name": "ticks", "payload": {}}});
    let task = project.create_task("room-0", &task).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = firsts.iter().map(|client| work((*client).clone(), Arc::clone(&stop))).collect();

    for server in &mut servers {
        block_in_place(|| {
            server.kill_9();
            server.restart();
        });
        all_answer(&clients, "a kill").await;
    }
    drain_and_replace(&mut servers, &project, &clients).await;
    stop.store(true, Ordering::Relaxed);
    project.delete_task(&task).await.unwrap();
    let kept = workers.into_iter().zip(&firsts).map(|(worker, client)| async move {
        let acknowledged = worker.await.unwrap();
        let kept: BTreeSet<u64> =
            drained(client, "q").await.iter().map(|item| item["n"].as_u64().unwrap()).collect();
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty() && !acknowledged.is_empty(), "{lost:?} of {}", acknowledged.len());
    });
    join_all(kept).await;
    every_instant_fired_once(&project, firsts[0]).await;
    let sessions = one_owner_at_any_time(&facts(&project, "session.started,session.ended").await);
    assert!(sessions > ROOMS, "rooms moved: {sessions}");
}
