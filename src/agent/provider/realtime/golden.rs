//! Recorded exchanges, in `tests/fixtures/realtime`, played by a provider that takes exactly what was said and nothing else.
//!
//! ```text
//! dial      the agent connects; every exchange begins so
//! > MESSAGE said to the provider
//! < MESSAGE heard from it
//! cut       it drops the connection
//! ```

use super::{Ask, Conversations, Realtime};
use crate::agent::config::EndpointConfig;
use crate::agent::history::{Item, Part};
use crate::agent::provider::{Said, Say};
use crate::agent::tools::ToolSpec;
use crate::agent::turn::{Failure, Response};
use crate::agent::voice::{Modality, Noticed, Speech, VoiceConfig};
use crate::clock::Fixed;
use chrono::DateTime;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const LIMIT: Duration = Duration::from_secs(30);

type Caller = WebSocketStream<TcpStream>;

async fn said(caller: &mut Caller, at: &str) -> Option<Value> {
    loop {
        let message = tokio::time::timeout(LIMIT, caller.next()).await;
        match message.unwrap_or_else(|_| panic!("nothing was said where this was expected: {at}")) {
            Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return None,
        }
    }
}

async fn play(listener: TcpListener, script: String) {
    let mut caller: Option<Caller> = None;
    for line in script.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let here = caller.as_mut();
        match word {
            "dial" => {
                if let Some(before) = here {
                    assert_eq!(said(before, line).await, None, "more was said before {line}");
                }
                let (stream, _) = tokio::time::timeout(LIMIT, listener.accept()).await.expect(line).unwrap();
                caller = Some(tokio_tungstenite::accept_async(stream).await.unwrap());
            }
            ">" => {
                let want: Value =
                    serde_json::from_str(rest).unwrap_or_else(|error| panic!("{error}: {rest}"));
                let mut got = said(here.unwrap(), line).await;
                if let Some(got) = &mut got
                    && got["audio_end_ms"].as_u64().is_some_and(|at| at <= 100)
                {
                    // How much of it was heard is a matter of time.
                    got["audio_end_ms"] = json!("*");
                }
                assert_eq!(got, Some(want), "expected {line}");
            }
            "<" => here.unwrap().send(Message::text(rest)).await.unwrap(),
            "cut" => drop(caller.take()),
            other => panic!("there is no {other}"),
        }
    }
    if let Some(mut caller) = caller {
        assert_eq!(said(&mut caller, "the end").await, None, "more was said than was recorded");
    }
}

/// An exchange, and an agent's side of it.
struct Exchange {
    talks: Conversations,
    noticed: mpsc::Receiver<Noticed>,
    provider: JoinHandle<()>,
    items: Vec<Item>,
    answers: Modality,
}

impl Exchange {
    async fn begin(name: &str) -> Self {
        Self::with(name, VoiceConfig::default()).await
    }

    async fn with(name: &str, voices: VoiceConfig) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/realtime/{name}.txt"));
        let script = std::fs::read_to_string(path).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = EndpointConfig {
            base_url: format!("http://{}/v1", listener.local_addr().unwrap()),
            api_key: "s3cret".into(),
            ..EndpointConfig::default()
        };
        let ids = Arc::new(Fixed::at(DateTime::UNIX_EPOCH));
        let (notice, noticed) = mpsc::channel(64);
        let talks = Conversations::new(Realtime::new(config, Arc::new(voices), ids), Some(notice));
        let provider = tokio::spawn(play(listener, script));
        Self { talks, noticed, provider, items: Vec::new(), answers: Modality::Text }
    }

    fn ask(&self) -> Ask {
        let tool = ToolSpec {
            toolkit: "time".into(),
            tool: "now".into(),
            description: "Tells the time.".into(),
            parameters: json!({"type": "object", "properties": {}}),
            strict: true,
            approval: false,
        };
        Ask {
            instructions: "Be brief.".into(),
            tools: Arc::new(vec![tool]),
            items: self.items.clone(),
            voice: "echo".into(),
            answers: self.answers,
        }
    }

    /// Asks for an answer to all so far; what was told, and what came of it.
    async fn answer(&mut self) -> (Vec<Said>, Result<Response, Failure>) {
        let (say, mut told) = mpsc::channel(1024);
        let ask = self.ask();
        let asked = self.talks.ask(&"gpt-realtime".parse().unwrap(), ask, Say::new(say));
        let answered = tokio::time::timeout(LIMIT, asked).await.expect("an answer");
        if let Ok(response) = &answered {
            self.items.extend(response.items.iter().cloned());
        }
        let mut all = Vec::new();
        while let Ok(said) = told.try_recv() {
            all.push(said);
        }
        (all, answered)
    }

    fn says(&mut self, text: &str) {
        self.items.push(Item::User(vec![Part::Text(text.into())]));
    }

    fn speaks(&mut self, data: &'static [u8]) {
        self.items.push(Item::User(vec![Part::Sound { data: data.into(), text: None }]));
    }

    async fn end(self) {
        drop(self.talks);
        tokio::time::timeout(LIMIT, self.provider).await.expect("the exchange is played to its end").unwrap();
    }
}

fn answer(text: &str) -> Item {
    Item::Answer { text: text.into(), phase: None }
}

fn words(told: &[Said]) -> Vec<String> {
    let word = |said: &Said| match said {
        Said::Speech(Speech::Audio { data, .. }) => format!("audio {}", data.len()),
        Said::Speech(Speech::AudioEnded { .. }) => "audio ended".to_owned(),
        Said::Speech(Speech::Written { by, delta, .. }) => format!("{} … {delta}", by.role()),
        Said::Speech(Speech::WrittenEnded { by, text, .. }) => {
            format!("{}: {}", by.role(), text.as_deref().unwrap_or("?"))
        }
        Said::Speech(Speech::WrittenFailed { by, code, .. }) => format!("{} failed {code}", by.role()),
        Said::Text { delta, .. } => format!("text {delta}"),
        Said::TextEnded { .. } => "text ended".to_owned(),
        Said::CallPending { tool, .. } => format!("call {tool}"),
        Said::CallArguments { delta, .. } => format!("arguments {delta}"),
        Said::Restart => "again".to_owned(),
        Said::Notice(event) => event["name"].as_str().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    };
    told.iter().map(word).collect()
}

#[tokio::test]
async fn a_conversation_in_writing_uses_tools_and_goes_on_where_it_was() {
    let mut exchange = Exchange::begin("text").await;
    exchange.says("What time is it?");
    let (told, answered) = exchange.answer().await;
    let answered = answered.unwrap();
    assert_eq!(words(&told), ["call now", "arguments {}"]);
    let Some(Item::Call(call)) = answered.items.first() else { panic!("{answered:?}") };
    assert_eq!((call.toolkit.as_str(), call.tool.as_str(), call.id.as_str()), ("time", "now", "call_1"));
    exchange.items.push(Item::output("call_1", "noon"));
    let (told, answered) = exchange.answer().await;
    let answered = answered.unwrap();
    assert_eq!(words(&told), ["text It is", "text  noon.", "text ended"]);
    assert_eq!(answered.items, [answer("It is noon.")]);
    assert_eq!((answered.usage.input_tokens, answered.usage.output_tokens), (40, 6));
    exchange.says("Thanks.");
    let (_, answered) = exchange.answer().await;
    assert_eq!(answered.unwrap().items, [answer("You are welcome.")]);
    exchange.end().await;
}

#[tokio::test]
async fn what_is_said_aloud_is_heard_and_answered_aloud_and_both_are_written_down() {
    let mut exchange = Exchange::begin("spoken").await;
    exchange.answers = Modality::Audio;
    exchange.speaks(&[1, 2, 3, 4]);
    let (told, answered) = exchange.answer().await;
    assert_eq!(
        words(&told),
        [
            "user … Hello",
            "assistant … Hi",
            "audio 4",
            "audio ended",
            "assistant: Hi there.",
            // It came after the answer, which waited for it.
            "user: Hello you."
        ]
    );
    assert_eq!(answered.unwrap().items, [answer("Hi there.")]);
    // Written down meanwhile: it is known all the same.
    exchange.items[0] = Item::User(vec![Part::Text("Hello you.".into())]);
    exchange.answers = Modality::Text;
    exchange.says("In writing, please.");
    assert_eq!(exchange.answer().await.1.unwrap().items, [answer("Hi.")]);
    exchange.end().await;
}

#[tokio::test]
async fn an_answer_that_is_interrupted_is_cut_off_and_the_conversation_goes_on() {
    let mut exchange = Exchange::begin("interrupted").await;
    exchange.answers = Modality::Audio;
    exchange.says("Tell a long story.");
    let (say, mut told) = mpsc::channel(64);
    let ask = exchange.ask();
    let asked = exchange.talks.ask(&"gpt-realtime".parse().unwrap(), ask, Say::new(say));
    let asked = tokio::spawn(asked);
    let heard = async {
        while let Some(said) = told.recv().await {
            if matches!(said, Said::Speech(Speech::Written { .. })) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, heard).await.expect("it begins to speak");
    asked.abort();
    assert!(asked.await.is_err(), "it is stopped");
    // What the thread keeps of it.
    exchange.items.push(answer("Once"));
    exchange.says("Stop. What is two and two?");
    exchange.answers = Modality::Audio;
    let (told, answered) = exchange.answer().await;
    assert_eq!(answered.unwrap().items, [answer("Four.")], "{told:?}");
    exchange.end().await;
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_dialled_again_unless_something_was_said_aloud() {
    let mut exchange = Exchange::begin("broken").await;
    exchange.items = vec![Item::User(vec![Part::Text("Before.".into())]), answer("Yes.")];
    exchange.says("Hello?");
    let (told, answered) = exchange.answer().await;
    assert_eq!(words(&told), ["text He", "again", "openai-realtime.retry", "text Hello!", "text ended"]);
    assert_eq!(answered.unwrap().items, [answer("Hello!")]);
    exchange.answers = Modality::Audio;
    exchange.says("Say it aloud.");
    let (told, answered) = exchange.answer().await;
    let failure = answered.unwrap_err();
    assert_eq!(words(&told), ["audio 2"]);
    assert!(failure.message.contains("in the middle of the answer"), "{failure}");
    exchange.end().await;
}

#[tokio::test]
async fn what_the_provider_refuses_ends_the_turn_in_its_words() {
    let mut exchange = Exchange::begin("refused").await;
    exchange.says("One.");
    let refused = exchange.answer().await.1.unwrap_err();
    assert!(refused.message.contains("Invalid value: 'zap'."), "{refused}");
    let failed = exchange.answer().await.1.unwrap_err();
    assert!(failed.message.contains("content filter"), "{failed}");
    assert!(!failed.message.contains("s3cret"));
    exchange.end().await;
}

#[tokio::test]
async fn a_provider_that_listens_all_the_time_says_when_somebody_has_spoken() {
    let voices = VoiceConfig { automatic: true, ..VoiceConfig::default() };
    let mut exchange = Exchange::with("listening", voices).await;
    exchange.answers = Modality::Audio;
    exchange.items = vec![Item::User(vec![Part::Text("Before.".into())])];
    let past = exchange.ask();
    exchange.talks.hear(&"gpt-realtime".parse().unwrap(), Some(past), (&[9, 9][..]).into());
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(tokio::time::timeout(LIMIT, exchange.noticed.recv()).await.unwrap().unwrap());
    }
    let item_id = || Some("item_1".to_owned());
    assert_eq!(
        heard,
        [
            Noticed::Began { item_id: item_id(), at_ms: Some(10) },
            Noticed::Ended { item_id: item_id(), at_ms: Some(500) },
            Noticed::Heard { item_id: item_id() }
        ]
    );
    exchange.speaks(&[]);
    let (told, answered) = exchange.answer().await;
    assert_eq!(words(&told)[0], "user: Good morning.", "what came early is told with the turn");
    assert_eq!(answered.unwrap().items, [answer("Morning.")]);
    exchange.end().await;
}
