//! Two servers on one PostgreSQL: one hosts a room, the other's clients are forwarded; schedules fire once; when a
//! host dies, the other takes its rooms over and nothing acknowledged is lost.

mod rolling;

use crate::support::postgres;
use crate::support::server::Server;
use meshagent::client::rest::{Bearer, ProjectRest, Rest};
use meshagent::client::room::{Options, RoomClient, Token, room_url};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the lease of a dead host, and than starting a session anew.
const TAKE_OVER_LIMIT: Duration = Duration::from_mins(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

struct Cluster {
    one: Server,
    two: Server,
    _shared: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Option<Self> {
        let url = postgres::database().await?;
        let shared = tempfile::tempdir().unwrap();
        let dir = shared.path().to_str().unwrap().to_owned();
        let start = |name: &str| {
            Server::start(&["--database-url", &url, "--shared-dir", &dir, "--server-name", name])
        };
        Some(Self { one: start("one"), two: start("two"), _shared: shared })
    }
}

fn project(server: &Server) -> ProjectRest {
    let rest = Rest::new(&server.url, Some(Bearer::new(server.api_key.clone()))).unwrap();
    rest.project(&server.project_id)
}

/// Joins through one server, whoever hosts the room.
async fn join(server: &Server, room: &str) -> RoomClient {
    let jwt = project(server).connect(room).await.unwrap().jwt;
    let options = Options::new(room_url(&server.url, room), Token::new(jwt));
    tokio::time::timeout(ANSWER_LIMIT, RoomClient::connect(options)).await.unwrap().unwrap()
}

async fn receive(client: &RoomClient, queue: &str, limit: Duration) -> Option<Value> {
    tokio::time::timeout(limit, client.queues().receive(queue, true, true)).await.ok()?.ok()?
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_rooms_queues_and_schedules() {
    let Some(mut cluster) = Cluster::start().await else { return };
    assert_eq!(cluster.one.project_id, cluster.two.project_id, "one database, one first start");
    assert_eq!(cluster.one.api_key, cluster.two.api_key);
    project(&cluster.one)
        .rest()
        .post(&["accounts", "projects", &cluster.one.project_id, "rooms"], &json!({"name": "den"}))
        .await
        .unwrap();

    // The first to join makes its server the host; the other's client is forwarded into the same session.
    let here = join(&cluster.one, "den").await;
    let there = join(&cluster.two, "den").await;
    there.queues().send("q", true, json!({"n": 1})).await.unwrap();
    assert_eq!(receive(&here, "q", ANSWER_LIMIT).await, Some(json!({"n": 1})));
    let sessions = project(&cluster.two).sessions(10, None).await.unwrap();
    assert_eq!(sessions.iter().filter(|s| s.is_active).count(), 1, "one room, one session");

    // Both run a scheduler; one firing is due at once, and one item comes.
    let task = json!({"metadata": {"name": "once", "annotations": {"meshagent.schedule.start": "immediately"}},
        "schedule": "1 day", "queue": {"name": "due", "payload": {"fired": true}}});
    project(&cluster.two).create_task("den", &task).await.unwrap();
    assert_eq!(receive(&here, "due", ANSWER_LIMIT).await, Some(json!({"fired": true})));
    assert_eq!(receive(&there, "due", Duration::from_secs(2)).await, None, "a schedule fires once");

    // The host dies; what was acknowledged is there for whoever asks the other.
    here.queues().send("q", true, json!({"n": 2})).await.unwrap();
    cluster.one.kill_9();
    let found = tokio::time::timeout(TAKE_OVER_LIMIT, async {
        loop {
            if let Some(item) = receive(&there, "q", ANSWER_LIMIT).await {
                return item;
            }
        }
    });
    assert_eq!(found.await.unwrap(), json!({"n": 2}));
}

/// A balancer has the public URL, so that servers reach each other by their own.
#[tokio::test(flavor = "multi_thread")]
async fn servers_behind_one_public_url_reach_each_other() {
    let Some(url) = postgres::database().await else { return };
    let (shared, nobody) = (tempfile::tempdir().unwrap(), "http://127.0.0.1:9");
    let mut servers = vec![];
    let mut dirs = vec![];
    for name in ["one", "two"] {
        // Given back at once, and hardly taken by another before the server has it.
        let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut options = meshagent::server::Options::new(dir.path().to_owned(), at);
        options.database_url = Some(url.clone());
        options.shared_dir = Some(shared.path().to_owned());
        options.server_name = Some(name.to_owned());
        options.public_url = Some(nobody.to_owned());
        options.server_url = Some(format!("http://{at}"));
        let server = meshagent::server::Server::start(options).await.unwrap();
        servers.push((format!("http://{at}"), server));
        dirs.push(dir);
    }
    let connection = servers[0].1.connection();
    let projects: Vec<ProjectRest> = servers
        .iter()
        .map(|(url, _)| {
            let rest = Rest::new(url, Some(Bearer::new(connection.api_key.clone()))).unwrap();
            rest.project(&connection.project_id)
        })
        .collect();
    let rooms = ["accounts", "projects", &connection.project_id, "rooms"];
    projects[0].rest().post(&rooms, &json!({"name": "den"})).await.unwrap();
    let mut clients = vec![];
    for ((url, _), project) in servers.iter().zip(&projects) {
        let told = project.connect("den").await.unwrap();
        assert!(
            told.room_url.starts_with("ws://127.0.0.1:9/"),
            "clients come by the balancer: {}",
            told.room_url
        );
        let options = Options::new(room_url(url, "den"), Token::new(told.jwt));
        let joined = tokio::time::timeout(ANSWER_LIMIT, RoomClient::connect(options)).await;
        clients.push(joined.unwrap().unwrap());
    }
    clients[1].queues().send("q", true, json!({"n": 1})).await.unwrap();
    assert_eq!(receive(&clients[0], "q", ANSWER_LIMIT).await, Some(json!({"n": 1})), "one room, one session");
    for (_, server) in servers {
        server.stop().await;
    }
}
