//! Turns that real programs do: `tests/conformance/acp_agent.py` does what its prompt says.

use super::{Programs, Prompt, SessionRef, session_of};
use crate::agent::config::{Permission, ProgramConfig, ProgramsConfig};
use crate::agent::history::{Item, Part};
use crate::agent::model::{Backend, ModelId};
use crate::agent::provider::{SAYINGS_MAX, Said, Say};
use crate::agent::turn::{Failure, Response};
use crate::clock::System;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_mins(1);

fn program(folder: &Path, flags: &[&str]) -> ProgramConfig {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/acp_agent.py");
    let mut words = vec!["python3".to_owned(), script.display().to_string()];
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    ProgramConfig {
        name: "acp_agent.py".into(),
        prefix: Vec::new(),
        words,
        folder: folder.canonicalize().unwrap(),
        env: BTreeMap::from([("SECRET_WORD".into(), "hush-hush".into())]),
        permission: Permission::Ask,
        turn_max: LIMIT,
    }
}

struct Desk {
    programs: Programs,
    said: (mpsc::Sender<Said>, mpsc::Receiver<Said>),
    history: Vec<Item>,
    turns: usize,
}

/// What a turn came to: its texts, or why it failed.
type Came = Result<String, Failure>;

impl Desk {
    fn new(config: ProgramConfig, session: Option<SessionRef>) -> Self {
        let programs = ProgramsConfig { acp: Some(config), codex: None };
        let programs = Programs::of(&programs, Arc::new(System), session);
        Self { programs, said: mpsc::channel(SAYINGS_MAX), history: Vec::new(), turns: 0 }
    }

    fn model() -> ModelId {
        "acp/agent".parse().unwrap()
    }

    fn begin(&mut self, prompt: &str) -> BoxFuture<'static, Result<Response, Failure>> {
        self.turns += 1;
        let prompt = Prompt {
            turn_id: self.turns.to_string(),
            instructions: String::new(),
            history: Arc::new(self.history.clone()),
            items: vec![Item::User(vec![Part::Text(prompt.into())])],
        };
        self.programs.ask(&Self::model(), prompt, Say::new(self.said.0.clone()))
    }

    /// A whole turn; who is asked answers with `approved`.
    async fn turn(&mut self, prompt: &str, approved: bool) -> (Came, Vec<Said>) {
        let mut turn = self.begin(prompt);
        let mut all = Vec::new();
        let outcome = tokio::time::timeout(LIMIT, async {
            loop {
                tokio::select! {
                    biased;
                    Some(said) = self.said.1.recv() => {
                        if let Said::Asked(call) = &said {
                            self.programs.permit("no such item", true);
                            self.programs.permit(&call.item_id, approved);
                        }
                        all.push(said);
                    }
                    outcome = &mut turn => return outcome,
                }
            }
        });
        let outcome = outcome.await.expect("the turn never ended");
        while let Ok(said) = self.said.1.try_recv() {
            all.push(said);
        }
        let texts = |response: Response| {
            let texts = response.items.into_iter().map(|item| match item {
                Item::Answer { text, .. } => text,
                other => panic!("{other:?}"),
            });
            texts.collect::<Vec<_>>().join("|")
        };
        (outcome.map(texts), all)
    }

    async fn text(&mut self, prompt: &str) -> String {
        self.turn(prompt, false).await.0.unwrap()
    }

    async fn failure(&mut self, prompt: &str) -> String {
        let failure = self.turn(prompt, false).await.0.unwrap_err();
        assert_eq!(failure.code, super::PROGRAM_ERROR);
        failure.message
    }
}

fn session(said: &[Said]) -> Option<SessionRef> {
    said.iter().find_map(|said| match said {
        Said::Notice(event) => session_of(&Value::Object(event.clone())),
        _ => None,
    })
}

#[tokio::test]
async fn a_program_does_turns_asks_first_and_is_served_files_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    let mut desk = Desk::new(program(folder.path(), &[]), None);
    let (came, said) = desk.turn("think hm\nsay one\nask rm -r x\nread a.txt\nread /etc/passwd", true).await;
    let text = came.unwrap();
    assert!(text.starts_with("one|did rm -r x[hello]refused: /etc/passwd is not below"), "{text}");
    assert_eq!(session(&said).unwrap().backend, Backend::Acp);
    let is = |of: fn(&Said) -> bool| said.iter().any(of);
    assert!(is(|said| matches!(said, Said::Reasoning { delta, .. } if delta == "hm")));
    assert!(is(|said| matches!(said, Said::ForeignStarted(call) if call.arguments["title"] == "rm -r x")));
    assert!(is(|said| matches!(said, Said::ForeignEnded { result: Some(_), error: None, .. })));
    let (came, said) = desk.turn("ask rm\nwrite x/b.txt new\nnoise\nsay !", false).await;
    assert_eq!(came.unwrap(), "may not rm: selected[written]!");
    assert_eq!(std::fs::read_to_string(folder.path().join("x/b.txt")).unwrap(), "new");
    assert!(session(&said).is_none(), "it goes on in the same session");
    assert_eq!(desk.text("env CARGO\nenv SECRET_WORD").await, "CARGO=unsetSECRET_WORD=hush-hush");
}

#[tokio::test]
async fn rules_of_the_agent_answer_for_people() {
    let folder = tempfile::tempdir().unwrap();
    for (permission, text) in [(Permission::Allow, "did x"), (Permission::Reject, "may not x: selected")] {
        let mut desk = Desk::new(ProgramConfig { permission, ..program(folder.path(), &[]) }, None);
        let (came, said) = desk.turn("ask x", true).await;
        assert_eq!(came.unwrap(), text);
        assert!(!said.iter().any(|said| matches!(said, Said::Asked(_))));
    }
}

#[tokio::test]
async fn a_program_that_dies_or_talks_nonsense_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(program(folder.path(), &[]), None);
    let died = desk.failure("say x\ndie").await;
    assert!(died.contains("exit status: 3") && died.contains("out of luck …"), "{died}");
    assert_eq!(desk.text("say back").await, "back");
    assert!(desk.failure("garbage\nhang").await.contains("no message"));
    assert!(desk.failure("long").await.contains("more than"));
    assert!(desk.failure("flood").await.contains("messages"));
    assert_eq!(desk.text("say still here").await, "still here");
    let none = ProgramConfig { words: vec!["/no/such/program".into()], ..program(folder.path(), &[]) };
    assert!(Desk::new(none, None).failure("say x").await.contains("cannot be started"));
    let mute = ProgramConfig { words: vec!["true".into()], ..program(folder.path(), &[]) };
    assert!(Desk::new(mute, None).failure("say x").await.contains("exit status: 0"));
}

#[tokio::test]
async fn a_program_that_hangs_is_stopped_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let config = ProgramConfig { turn_max: Duration::from_secs(1), ..program(folder.path(), &[]) };
    let mut desk = Desk::new(config, None);
    assert!(desk.failure("hang hard").await.contains("took more than 1 s"));
    assert_eq!(desk.text("say next").await, "next");
}

#[tokio::test]
async fn a_turn_that_is_stopped_ends_and_the_next_is_in_the_same_session() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(program(folder.path(), &[]), None);
    assert_eq!(desk.text("say one").await, "one");
    while desk.said.1.try_recv().is_ok() {}
    let turn = desk.begin("say begun\nhang\nsay never");
    tokio::select! {
        _ = turn => panic!("it ended"),
        said = desk.said.1.recv() => assert!(matches!(said, Some(Said::Text { delta, .. }) if delta == "begun")),
    }
    let (came, said) = desk.turn("count", false).await;
    assert_eq!(came.unwrap(), "2 before; told: false", "{said:?}");
    assert!(session(&said).is_none());
}

#[tokio::test]
async fn a_thread_that_is_opened_again_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(program(folder.path(), &[]), None);
    let (_, said) = desk.turn("say one", false).await;
    let kept = session(&said).unwrap();
    drop(desk);
    let past = vec![
        Item::User(vec![Part::Text("say one".into())]),
        Item::Answer { text: "one".into(), phase: None },
    ];
    let mut again = Desk::new(program(folder.path(), &[]), Some(kept.clone()));
    again.history.clone_from(&past);
    let (came, said) = again.turn("count", false).await;
    assert_eq!(came.unwrap(), "2 before; told: false");
    assert!(session(&said).is_none(), "the same one");
    // One that cannot load sessions is told what was said.
    let mut forgetful = Desk::new(program(folder.path(), &["--forgetful"]), Some(kept));
    forgetful.history = past;
    let (came, said) = forgetful.turn("count", false).await;
    assert_eq!(came.unwrap(), "1 before; told: true");
    assert!(session(&said).is_some());
}
