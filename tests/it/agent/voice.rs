//! Agents that hear and speak, with a provider of the realtime protocol behind our server's proxy.

use super::ROOM;
use super::joined::{Joined, client, command, program, token};
use crate::support::realtime::{HEARD, Realtime, SAID, SOUND};
use crate::support::server::Server;
use meshagent::agent::storage::{Index, Place, read_thread};
use meshagent::agent::thread::transcript;
use meshagent::client::room::{RoomClient, RoomMessage};
use serde_json::{Value, json};
use std::process::{Child, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(2);
const DIR: &str = "dataset://agents/support-agent/threads";
/// No other model is asked for names of threads.
const FLAGS: [&str; 6] = ["--channel", "chat", "--model", "gpt-realtime", "--decision-model", "builtin/echo"];

/// A server whose project has the provider.
async fn stage() -> (Server, Realtime) {
    let provider = Realtime::start().await;
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let set = ["llm", "provider", "set", "openai", "--no-key", "--base-url", &provider.url];
    let set = command(&server, &set, &[]);
    assert_eq!(set.code, Some(0), "{}", set.said);
    (server, provider)
}

/// A person with messaging, who talks to the agent.
struct Person {
    room: RoomClient,
    pushes: tokio::sync::broadcast::Receiver<meshagent::client::room::Push>,
    agent: String,
}

impl Person {
    /// Waits for the agent.
    async fn find(server: &Server) -> Self {
        let room = client(server, "ann", ROOM).await;
        let mut pushes = room.pushes();
        room.enable_messaging().await.unwrap();
        let agent = async {
            loop {
                let push = pushes.recv().await.unwrap();
                let Some(message) = RoomMessage::from_push(&push) else { continue };
                let listed = message.body["participants"].as_array().cloned().unwrap_or_default();
                for participant in listed.iter().chain([&message.body]) {
                    if participant["attributes"]["name"] == "support-agent" {
                        return participant["id"].as_str().unwrap().to_owned();
                    }
                }
            }
        };
        let agent = tokio::time::timeout(LIMIT, agent).await.expect("the agent never came");
        Self { room, pushes, agent }
    }

    async fn say(&self, kind: &str, mut fields: Value, bytes: Option<&[u8]>) {
        fields["type"] = json!(format!("meshagent.agent.{kind}"));
        self.room.send_message(&self.agent, "agent-message", &fields, bytes).await.unwrap();
    }

    async fn next(&mut self) -> RoomMessage {
        loop {
            let push =
                tokio::time::timeout(LIMIT, self.pushes.recv()).await.expect("nothing is said").unwrap();
            match RoomMessage::from_push(&push) {
                Some(message) if message.from_participant_id == self.agent => return message,
                _ => {}
            }
        }
    }

    /// All that the agent says up to the first message of this kind.
    async fn until(&mut self, kind: &str) -> Vec<RoomMessage> {
        let mut all = Vec::new();
        loop {
            let message = self.next().await;
            let is = message.body["type"] == format!("meshagent.agent.{kind}");
            all.push(message);
            if is {
                return all;
            }
        }
    }

    /// Waits until the room knows that the agent is gone.
    async fn gone(&mut self) {
        let gone = async {
            loop {
                let push = self.pushes.recv().await.unwrap();
                let message = RoomMessage::from_push(&push);
                if message
                    .is_some_and(|m| m.kind == "participant.disabled" && m.body["id"] == self.agent.as_str())
                {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, gone).await.expect("the agent never went");
    }

    /// Begins a thread with a turn; its path and what was said to its end.
    async fn begins(&mut self, text: &str, answers: &str) -> (String, Vec<RoomMessage>) {
        let content = json!([{"type": "text", "text": text}]);
        self.say("thread.start", json!({"content": content, "output_modalities": [answers]}), None).await;
        let told = self.until("turn.ended").await;
        let thread = find(&told, "thread.started").body["thread_id"].as_str().unwrap().to_owned();
        (thread, told)
    }

    /// Says something aloud, and has it answered.
    async fn speaks(&mut self, thread: &str, turn: &str, answers: &str) -> Vec<RoomMessage> {
        let format = json!({"type": "audio/pcm", "sample_rate": 24_000});
        for _ in 0..3 {
            let chunk = json!({"thread_id": thread, "format": format});
            self.say("realtime_audio.chunk", chunk, Some(&[0, 255])).await;
        }
        self.say("realtime_audio.commit", json!({"thread_id": thread, "turn_id": turn}), None).await;
        let start =
            json!({"thread_id": thread, "turn_id": turn, "content": [], "output_modalities": [answers]});
        self.say("turn.start", start, None).await;
        self.until("turn.ended").await
    }
}

fn find<'a>(told: &'a [RoomMessage], kind: &str) -> &'a RoomMessage {
    let kind = format!("meshagent.agent.{kind}");
    let found = told.iter().find(|message| message.body["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {:#?}", told.iter().map(|m| &m.body).collect::<Vec<_>>()))
}

fn texts(told: &[RoomMessage], kind: &str) -> String {
    let kind = format!("meshagent.agent.{kind}");
    told.iter().filter(|m| m.body["type"] == kind).filter_map(|m| m.body["text"].as_str()).collect()
}

fn error(told: &[RoomMessage]) -> String {
    find(told, "turn.ended").body["error"]["message"].as_str().unwrap_or_default().to_owned()
}

/// What a person reads of the only thread.
async fn read(room: &RoomClient) -> Vec<String> {
    let all = Index::new(room.clone(), DIR).unwrap().all().await.unwrap();
    let rows = read_thread(room, &Place::parse(&all[0].path).unwrap()).await.unwrap();
    let lines = transcript::lines(rows.iter().map(|row| &row.message));
    lines.into_iter().map(|line| format!("{}: {}", line.role, line.text)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_spoken_with_and_what_was_said_is_kept_in_writing() {
    let (server, provider) = stage().await;
    let flags = [&FLAGS[..], &["--voice", "ash", "--rule", "Be kind."]].concat();
    let mut agent = Joined::start(&server, ROOM, &flags, &[]);
    let mut ann = Person::find(&server).await;
    let (thread, told) = ann.begins("hello", "text").await;
    assert!(texts(&told, "text_content.delta").contains("hello"));
    let told = ann.speaks(&thread, "t2", "audio").await;
    assert_eq!(error(&told), "");
    let delta = find(&told, "audio_generation.delta");
    assert_eq!(
        (&delta.attachment[..], delta.body.get("data")),
        (&SOUND[..], None),
        "its bytes are beside it"
    );
    assert_eq!(delta.body["output_format"]["sample_rate"], 24_000);
    find(&told, "audio_generation.completed");
    assert_eq!(texts(&told, "audio_transcription.delta"), SAID);
    let changed = find(&told, "model.changed");
    assert_eq!(
        (&changed.body["voice"], &changed.body["output_modalities"]),
        (&json!("ash"), &json!(["audio"]))
    );

    let appended = provider.told("input_audio_buffer.append");
    assert_eq!((appended.len(), &appended[0]["audio"]), (1, &json!("AP8A/wD/")), "all of it, at once");
    let sessions = provider.told("session.update");
    assert!(sessions[0]["session"]["instructions"].as_str().unwrap().starts_with("Be kind."));
    assert_eq!(sessions[1]["session"]["audio"]["output"]["voice"], "ash");
    assert_eq!(provider.told("dial").len(), 1, "one conversation");
    assert!(
        !provider.told("dial")[0]["key"].as_str().unwrap().contains("ey"),
        "the agent's token stays here"
    );

    let written = read(&ann.room).await;
    let greeted =
        written.iter().position(|line| *line == format!("ann: {HEARD}")).expect("it is written down");
    assert_eq!(written[greeted + 1], format!("support-agent: {SAID}"), "{written:?}");
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.said);

    let url = format!("{}/accounts/projects/{}/usage?users=support-agent", server.url, server.project_id);
    let used = reqwest::Client::new().get(url).bearer_auth(&server.api_key).send().await.unwrap();
    let used: Value = used.json().await.unwrap();
    let sum =
        |key: &str| used["usage"].as_array().unwrap().iter().filter_map(|row| row[key].as_u64()).sum::<u64>();
    assert_eq!((sum("requests"), sum("input_tokens"), sum("output_tokens")), (2, 60, 40), "{used}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_said_and_the_thread_goes_on() {
    let (server, provider) = stage().await;
    let _agent = Joined::start(&server, ROOM, &FLAGS, &[]);
    let mut ann = Person::find(&server).await;
    let (thread, told) = ann.begins("please fail", "text").await;
    assert!(error(&told).contains("told to fail"), "{}", error(&told));
    let ask = |text: &str, turn: &str| {
        json!({"thread_id": thread, "turn_id": turn, "content": [{"type": "text", "text": text}],
            "output_modalities": ["audio"]})
    };
    ann.say("turn.start", ask("break", "b"), None).await;
    let told = ann.until("turn.ended").await;
    assert!(error(&told).contains("in the middle of the answer"), "{}", error(&told));
    find(&told, "audio_generation.failed");

    ann.say("turn.start", ask("go on", "g"), None).await;
    ann.until("audio_generation.delta").await;
    ann.say("turn.interrupt", json!({"thread_id": thread, "turn_id": "g"}), None).await;
    let told = ann.until("turn.ended").await;
    assert_eq!(find(&told, "turn.ended").body["error"]["code"], "cancelled");
    find(&told, "turn.interrupted");

    let wrong = json!({"thread_id": thread, "format": {"type": "audio/wav", "sample_rate": 24_000}});
    ann.say("realtime_audio.chunk", wrong, Some(&[1, 2])).await;
    let told = ann.until("thread.event").await;
    assert_eq!(told.last().unwrap().body["event"]["error"]["code"], "unsupported_audio_format");
    ann.say("realtime_audio.commit", json!({"thread_id": thread, "turn_id": "w"}), None).await;
    ann.say("turn.start", json!({"thread_id": thread, "turn_id": "w", "content": []}), None).await;
    ann.until("turn.start.rejected").await;
    ann.say("realtime_audio.commit", json!({"thread_id": thread, "turn_id": "n"}), None).await;
    ann.say("turn.start", json!({"thread_id": thread, "turn_id": "n", "content": []}), None).await;
    let told = ann.until("turn.start.rejected").await;
    assert_eq!(told.last().unwrap().body["error"]["code"], "no_audio");

    let told = ann.speaks(&thread, "s", "audio").await;
    assert_eq!((error(&told).as_str(), texts(&told, "audio_transcription.delta").as_str()), ("", SAID));
    assert!(
        !provider.told("response.cancel").is_empty()
            && !provider.told("conversation.item.truncate").is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_the_token_does_not_name_is_refused() {
    let (server, _provider) = stage().await;
    let limited = token(&server, "support-agent", ROOM, json!({"llm": {"models": ["openai/gpt-4*"]}}));
    let _agent = Joined::start(&server, ROOM, &FLAGS, &[("MESHAGENT_TOKEN", &limited)]);
    let mut ann = Person::find(&server).await;
    let (_, told) = ann.begins("hello", "text").await;
    let refused = error(&told);
    assert!(refused.contains("403") && refused.contains("gpt-realtime"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_comes_back_with_what_was_said() {
    let (server, provider) = stage().await;
    let agent = Joined::start(&server, ROOM, &FLAGS, &[]);
    let mut ann = Person::find(&server).await;
    let (thread, _) = ann.begins("hello", "text").await;
    ann.speaks(&thread, "t2", "audio").await;
    let start = json!({"thread_id": thread, "turn_id": "t3", "content": [{"type": "text", "text": "go on"}],
        "output_modalities": ["audio"]});
    ann.say("turn.start", start, None).await;
    ann.until("audio_generation.delta").await;
    // Killed with -9, in the middle of its speech.
    drop(agent);
    ann.gone().await;
    let _agent = Joined::start(&server, ROOM, &FLAGS, &[]);
    let mut ann = Person::find(&server).await;
    ann.say("thread.open", json!({"thread_id": thread, "load": true}), None).await;
    let told = ann.until("thread.loaded").await;
    assert_eq!(find(&told, "realtime_audio.commit").body["text"], HEARD);
    assert_eq!(find(&told, "audio_transcription.completed").body["text"], SAID);
    assert_eq!(find(&told, "model.changed").body["output_modalities"], json!(["audio"]), "as it was left");
    let start = json!({"thread_id": thread, "content": [{"type": "text", "text": "and now?"}]});
    ann.say("turn.start", start, None).await;
    let told = ann.until("turn.ended").await;
    assert_eq!(error(&told), "");
    let said = provider.told("conversation.item.create");
    let told_again = |text: &str| said.iter().any(|message| message["item"]["content"][0]["text"] == text);
    assert!(told_again(HEARD) && told_again(SAID), "{said:#?}");
}

/// A voicebot; killed when dropped.
struct Bot(Child);

impl Bot {
    fn start(server: &Server, flags: &[&str]) -> Self {
        let join = ["voicebot", "join", "--room", ROOM, "--agent-name", "support-agent"];
        Self(program(server, &[&join, flags].concat(), &[]).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voicebot_greets_makes_its_rules_file_and_refuses_calls_in_words() {
    let (server, provider) = stage().await;
    let _bot = Bot::start(
        &server,
        &[
            "--voice",
            "coral",
            "-rr",
            "rules/bot.txt",
            "--rule",
            "Be kind.",
            "--auto-greet-message",
            "Welcome!",
        ],
    );
    let mut ann = Person::find(&server).await;
    ann.say("thread.start", json!({"content": null}), None).await;
    let told = ann.until("turn.ended").await;
    assert_eq!((error(&told).as_str(), texts(&told, "audio_transcription.delta").as_str()), ("", SAID));
    let asked = provider.told("conversation.item.create");
    assert!(asked[0]["item"]["content"][0]["text"].as_str().unwrap().contains("Welcome!"), "{asked:?}");
    let session = &provider.told("session.update")[0]["session"];
    assert_eq!(
        (&session["audio"]["output"]["voice"], &session["output_modalities"]),
        (&json!("coral"), &json!(["audio"]))
    );
    assert!(ann.room.storage().exists("rules/bot.txt").await.unwrap(), "so that it is found and filled in");

    let call = json!({"breakout_room": "kitchen", "transcript_path": "calls/1.transcript"});
    ann.room.send_message(&ann.agent, "voice_call", &call, None).await.unwrap();
    let mut refused = ann.next().await;
    while refused.kind != "voice_call.rejected" {
        refused = ann.next().await;
    }
    assert_eq!(refused.body["breakout_room"], "kitchen");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("LiveKit"), "{}", refused.body);
    let told = ann.until("turn.start.rejected").await;
    assert_eq!(told.last().unwrap().body["error"]["code"], "realtime_connection_failed");

    ann.say("thread.start", json!({"content": null, "realtime_protocol": "webrtc"}), None).await;
    let told = ann.until("turn.start.rejected").await;
    assert!(told.last().unwrap().body["error"]["message"].as_str().unwrap().contains("realtime_audio.chunk"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voicebot_without_a_provider_says_what_is_missing() {
    let server = Server::start(&[]);
    let _bot = Bot::start(&server, &[]);
    let mut ann = Person::find(&server).await;
    let (_, told) = ann.begins("hello", "audio").await;
    let refused = error(&told);
    assert!(refused.contains("provider"), "{refused}");
    let wrong = ["voicebot", "join", "--room", ROOM, "--agent-name", "b", "--model", "gpt-4o"];
    let wrong = command(&server, &wrong, &[]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.said);
    assert!(wrong.said.contains("neither hears nor speaks"), "{}", wrong.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployed_voicebot_is_run_by_the_server_and_the_command_line_talks_with_it() {
    let (server, _provider) = stage().await;
    assert_eq!(command(&server, &["rooms", "create", ROOM], &[]).code, Some(0));
    let deploy =
        ["voicebot", "deploy", "--room", ROOM, "--agent-name", "support-agent", "--rule", "Be kind."];
    let deployed = command(&server, &deploy, &[]);
    assert!(deployed.said.contains("Deployed service: "), "{}", deployed.said);
    let asked = ["process", "use", "--room", ROOM, "--agent-name", "support-agent", "--message", "hello"];
    let asked = command(&server, &asked, &[]);
    assert!(asked.code == Some(0) && asked.said.contains(SAID), "{}", asked.said);
    let run = ["process", "run", "--room", ROOM, "--agent-name", "other", "--message", "hello"];
    let asked = command(&server, &[&run[..], &FLAGS[2..]].concat(), &[]);
    assert!(asked.said.contains("You said: ") && asked.said.contains("hello"), "{}", asked.said);
}
