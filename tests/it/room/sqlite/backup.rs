//! Databases as files: down, up, and everything between that must leave nothing.

use super::{database, done, json_of, pulled};
use crate::room::client::{Client, error};
use crate::room::harness::Edge;
use bytes::Bytes;
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};

async fn backup(client: &mut Client, name: &str) -> (Vec<Bytes>, Value) {
    let items = pulled(client, "backup", json!({"kind": "start", "database": name, "namespace": null})).await;
    let mut chunks = vec![];
    let mut end = Value::Null;
    for item in items {
        match item {
            Content::Binary { headers, data } if headers["kind"] == "data" => {
                assert!((1..=262_144).contains(&data.len()));
                chunks.push(data);
            }
            Content::Binary { headers, data } => {
                assert!(data.is_empty());
                end = headers.into();
            }
            other => panic!("{other:?}"),
        }
    }
    (chunks, end)
}

async fn restore(client: &mut Client, name: &str, items: Vec<Content>) -> Vec<Content> {
    let call = format!("restore-{name}");
    let id = client.open("sqlite", "restore", &call).await;
    client
        .item(
            &call,
            Content::binary(json!({"kind": "start", "database": name, "namespace": null}), Bytes::new()),
        )
        .await;
    match client.answer(id).await {
        Content::Control(Control::Open) => {}
        refused => return vec![refused],
    }
    let mut items = items.into_iter();
    let mut seen = vec![];
    loop {
        let item = client.chunk(&call).await;
        if item.kind() == Some("pull") {
            match items.next() {
                Some(item) => client.item(&call, item).await,
                None => client.end(&call).await,
            }
            continue;
        }
        let end = matches!(item, Content::Control(_));
        seen.push(item);
        if end {
            return seen;
        }
    }
}

#[tokio::test]
async fn a_database_goes_down_and_up_as_a_file() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    database(&mut a, "d").await;
    done(&mut a, "CREATE TABLE t(x TEXT)").await;
    done(&mut a, "INSERT INTO t SELECT hex(randomblob(500)) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800) SELECT i FROM n)").await;
    let (chunks, end) = backup(&mut a, "d").await;
    assert!(chunks.len() > 1, "more than one chunk");
    let chunk = |data: &Bytes| Content::binary(json!({"kind": "data"}), data.clone());
    let upload = |end: Value| {
        let mut items: Vec<Content> = chunks.iter().map(chunk).collect();
        items.push(Content::binary(end, Bytes::new()));
        items
    };
    let seen = restore(&mut a, "copy", upload(end.clone())).await;
    assert_eq!(seen, [Content::binary(end.clone(), Bytes::new()), Content::Control(Control::END)]);
    let taken = restore(&mut a, "copy", upload(end.clone())).await;
    assert_eq!(error(taken.into_iter().next().unwrap()).0, 1004);
    let counted =
        a.invoke("sqlite", "count", json!({"database": "copy", "table": "t", "namespace": null})).await;
    assert_eq!(json_of(counted), json!({"count": 800}));

    let refused = |seen: Vec<Content>, text: &str| {
        let Some(Content::Control(Control::Close { status: 1007, message: Some(message) })) = seen.last()
        else {
            panic!("{seen:?}")
        };
        assert!(message.contains(text), "{message}");
    };
    let mut other = end.clone();
    other["sha256"] = "0".repeat(64).into();
    refused(restore(&mut a, "x1", upload(other)).await, "SHA-256");
    refused(
        restore(&mut a, "x2", vec![Content::binary(json!({"kind": "abort"}), Bytes::new())]).await,
        "given up",
    );
    refused(restore(&mut a, "x3", vec![chunk(&chunks[0])]).await, "before it was complete");
    let junk = Bytes::from_static(b"this is no database at all, only some text that goes on");
    let digest = {
        use sha2::{Digest, Sha256};
        Sha256::digest(&junk).iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let end = json!({"kind": "complete", "size": junk.len(), "sha256": digest});
    refused(
        restore(&mut a, "x4", vec![chunk(&junk), Content::binary(end, Bytes::new())]).await,
        "no sound SQLite",
    );
    let listed = json_of(a.invoke("sqlite", "list_databases", json!({"namespace": null})).await);
    assert_eq!(listed, json!({"databases": ["copy", "d"]}));
    assert!(edge.leftovers("databases/staging.tmp").is_empty(), "nothing half written remains");
}
