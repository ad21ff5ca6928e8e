//! A deleted room leaves nothing on the disk.

use crate::support::server::Server;
use meshagent::client::rest::{Bearer, FileTarget, Rest, TargetKind};
use serde_json::json;
use std::time::Duration;

const GONE_LIMIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_deleted_room_go_with_it() {
    let server = Server::start(&[]);
    let rest = Rest::new(&server.url, Some(Bearer::new(server.api_key.clone()))).unwrap();
    let project = rest.project(&server.project_id);
    let rooms = ["accounts", "projects", &server.project_id, "rooms"];
    let room = rest.post(&rooms, &json!({"name": "den"})).await.unwrap()["id"].as_str().unwrap().to_owned();
    let target =
        FileTarget { project_id: server.project_id.clone(), kind: TargetKind::Room, name: "den".to_owned() };
    let files = project.files().await.unwrap().unwrap();
    let body = futures_util::stream::once(async { Ok(bytes::Bytes::from_static(b"text")) });
    files.put(&target, "a.txt", true, body).await.unwrap();
    let kept = server.data_dir().join("rooms").join(&server.project_id).join(&room);
    assert!(kept.exists(), "{}", kept.display());

    project.delete_room(&room).await.unwrap();
    let gone = async {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while kept.join("files").exists() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(GONE_LIMIT, gone).await.expect("the folder is still there");
}
