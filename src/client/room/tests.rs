use super::fake::FakeRoom;
use super::*;
use crate::wire::Content;
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;

fn options(room: &FakeRoom) -> Options {
    let quick = Backoff { first: Duration::from_millis(2), max: Duration::from_millis(10) };
    Options::new(room.url.clone(), Token::new("good")).backoff(quick)
}

async fn joined(room: &FakeRoom) -> RoomClient {
    RoomClient::connect(options(room)).await.unwrap()
}

#[tokio::test]
async fn a_client_enters_and_knows_who_it_is() {
    let room = FakeRoom::start().await;
    let client = joined(&room).await;
    assert_eq!((client.participant_id().as_str(), client.name().as_str()), ("p1", "tester"));
    assert_eq!(client.room_name(), "r");
    client.close().await;
    assert!(matches!(client.closed().await, RoomError::Closed { .. }));
}

#[tokio::test]
async fn a_refusal_is_final_and_says_what_to_do() {
    let room = FakeRoom::start().await;
    let forged = Options { token: Token::new("bad"), ..options(&room) };
    let error = RoomClient::connect(forged).await.unwrap_err();
    assert!(error.is_final() && error.to_string().contains("check the token"), "{error}");
    for status in [404, 423] {
        room.with(|w| w.refuse.push_back(status));
        let error = RoomClient::connect(options(&room)).await.unwrap_err();
        assert!(matches!(error, RoomError::Refused { status: s, .. } if s == status), "{error}");
    }
    assert_eq!(room.with(|w| w.connections), 0);
}

#[tokio::test]
async fn a_room_that_is_starting_is_tried_again() {
    let room = FakeRoom::start().await;
    room.with(|w| w.refuse.extend([503, 500, 401]));
    assert_eq!(joined(&room).await.participant_id(), "p1");

    room.with(|w| w.refuse.extend([503; 9]));
    let error = RoomClient::connect(options(&room).retry(Retry::Times(2))).await.unwrap_err();
    assert!(matches!(error, RoomError::Unreachable { .. }), "{error}");
    assert_eq!(room.with(|w| w.refuse.len()), 6, "one attempt and two retries");
}

#[tokio::test]
async fn calls_of_every_shape_come_back() {
    let room = FakeRoom::start().await;
    let client = joined(&room).await;
    let echo = Target::new("test", "echo");
    let file = Content::File { name: "f".into(), mime_type: "a/b".into(), data: Bytes::from_static(b"xyz") };
    for content in [Content::Json(json!({"a": 1})), Content::Text("t".into()), file] {
        assert_eq!(client.invoke(&echo, content.clone()).await.unwrap(), content);
    }
    let missing = client.invoke(&Target::new("nobody", "x"), Content::Empty).await.unwrap_err();
    assert_eq!(missing.code(), Some(1003));

    let mut call =
        client.start(&Target::new("test", "count"), Some(Content::Json(json!({"to": 300})))).await.unwrap();
    assert_eq!(call.answer().await.unwrap(), Answer::Stream);
    for n in 0..300 {
        assert_eq!(call.next().await.unwrap(), Some(Content::Json(json!(n))));
    }
    assert_eq!(call.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_with_a_clear_error_and_holds_up_nobody() {
    let room = FakeRoom::start().await;
    let client = joined(&room).await;
    let flood = Content::Json(json!({"to": 5000}));
    let mut call = client.start(&Target::new("test", "count"), Some(flood)).await.unwrap();
    call.answer().await.unwrap();
    room.until(|w| w.calls.contains(&"counted".to_owned())).await;
    client.invoke(&Target::new("test", "echo"), Content::Empty).await.unwrap();
    let error = loop {
        match call.next().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(matches!(error, Some(RoomError::TooMuch { .. })), "{error:?}");
}

#[tokio::test]
async fn files_go_up_and_come_down_in_blocks() {
    let room = FakeRoom::start().await;
    let client = joined(&room).await;
    let data: Vec<u8> = (0..123_456_u32).map(|n| n as u8).collect();
    client.storage().write("a/b.bin", false, &data).await.unwrap();
    client.storage().write("a/empty", false, b"").await.unwrap();
    assert_eq!(room.with(|w| w.files["a/b.bin"].clone()), data);
    let (back, _) = client.storage().read("a/b.bin", 200_000).await.unwrap();
    assert_eq!(back, data);
    assert_eq!(client.storage().read("a/empty", 10).await.unwrap().0.len(), 0);
    assert!(client.storage().exists("a/b.bin").await.unwrap());
    let names: Vec<_> = client.storage().list("a").await.unwrap().into_iter().map(|f| f.name).collect();
    assert_eq!(names, ["b.bin", "empty"]);

    let exists = client.storage().write("a/empty", false, b"x").await.unwrap_err();
    assert_eq!(exists.code(), Some(3005));
    let missing = client.storage().read("nope", 10).await.unwrap_err();
    assert_eq!(missing.code(), Some(3001));
    let large = client.storage().read("a/b.bin", 10).await.unwrap_err();
    assert!(matches!(large, RoomError::TooMuch { max: 10, .. }), "{large}");
}

#[tokio::test]
async fn queue_items_are_received_or_leased() {
    let room = FakeRoom::start().await;
    let client = joined(&room).await;
    let queues = client.queues();
    assert!(queues.can_lease().await.unwrap());
    assert_eq!(queues.receive("q", true, false).await.unwrap(), None);
    for n in 0..3 {
        queues.send("q", true, json!({"n": n})).await.unwrap();
    }
    assert_eq!(queues.receive("q", true, true).await.unwrap(), Some(json!({"n": 0})));
    let one = queues.lease("q", true, true, 1000).await.unwrap().unwrap();
    let two = queues.lease("q", true, true, 1000).await.unwrap().unwrap();
    queues.extend("q", &one, 1000).await.unwrap();
    queues.ack("q", &one).await.unwrap();
    assert_eq!(queues.ack("q", &one).await.unwrap_err().code(), Some(1005));
    queues.nack("q", &two, "no", 0).await.unwrap();
    let again = queues.lease("q", true, true, 1000).await.unwrap().unwrap();
    assert_eq!((again.attempt, again.message), (2, json!({"n": 2})));
}

struct Upper;

#[async_trait::async_trait]
impl ToolHost for Upper {
    async fn call(&self, mut call: ToolCall) -> Reply {
        match call.tool.as_str() {
            "stream" => {
                let (sender, items) = mpsc::channel(4);
                tokio::spawn(async move {
                    while let Some(item @ Content::Text(_)) = call.input.as_mut().unwrap().recv().await {
                        sender.send(item).await.unwrap();
                    }
                });
                Reply::Stream(items)
            }
            _ => match call.arguments {
                Content::Text(text) => Reply::Unary(Content::Text(text.to_uppercase())),
                other => Reply::Unary(other),
            },
        }
    }
}

fn upper() -> Toolkit {
    Toolkit {
        name: "upper".into(),
        title: "Upper".into(),
        description: String::new(),
        public: true,
        annotations: std::collections::BTreeMap::default(),
        tools: vec![],
    }
}

#[tokio::test]
async fn hosted_toolkits_answer_and_come_back_after_a_loss() {
    let room = FakeRoom::start().await;
    let client = joined(&room).await;
    client.host(upper(), std::sync::Arc::new(Upper)).await.unwrap();
    client.enable_messaging().await.unwrap();
    let attributes = json!({"mood": "fine"}).as_object().cloned().unwrap();
    client.set_attributes(attributes).await.unwrap();
    let hello = || Content::Text("hello".into());
    assert_eq!(room.call_hosted("upper", "up", hello()).await, Content::Text("HELLO".into()));

    let hanging = client.clone();
    let pending = tokio::spawn(async move {
        hanging.invoke(&Target::new("test", "hang"), Content::Empty).await.unwrap_err()
    });
    room.until(|w| w.calls.contains(&"test.hang".to_owned())).await;
    room.with(|w| w.attributes.clear());
    room.drop_connections(None);
    assert!(pending.await.unwrap().is_lost());
    room.until(|w| w.registered.len() == 2 && w.messaging_enabled == 2 && !w.attributes.is_empty()).await;
    assert_eq!(room.with(|w| w.attributes["mood"].clone()), json!("fine"));
    client.invoke(&Target::new("test", "echo"), Content::Empty).await.unwrap();
    assert_eq!(client.participant_id(), "p2");
    let call = Target::new("upper", "up");
    assert_eq!(client.invoke(&call, hello()).await.unwrap(), Content::Text("HELLO".into()));
    client.unhost("upper").await.unwrap();
    assert_eq!(client.invoke(&call, hello()).await.unwrap_err().code(), Some(1003));
}

#[tokio::test]
async fn a_clean_close_is_for_good_and_other_codes_are_not() {
    let room = FakeRoom::start().await;
    let client = joined(&room).await;
    room.drop_connections(Some(1012));
    room.until(|w| w.connections == 2).await;
    client.invoke(&Target::new("test", "echo"), Content::Empty).await.unwrap();
    room.drop_connections(Some(1000));
    assert!(client.closed().await.to_string().contains("the server ended the session"));
    let error = client.invoke(&Target::new("test", "echo"), Content::Empty).await.unwrap_err();
    assert!(error.is_final());
}
