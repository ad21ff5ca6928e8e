//! One conversation with a model that hears and speaks: what is to be said to it, and what it says. Pure: requests and
//! messages in, acts out.

use super::Ask;
use super::items::{Known, append, left_out, matched, session, tell};
use crate::agent::history::Item;
use crate::agent::provider::endpoint::Refusal;
use crate::agent::provider::names::Names;
use crate::agent::provider::{ITEMS_MAX, Said};
use crate::agent::turn::{Response, Usage};
use crate::agent::voice::{At, Noticed, Speaker, Speech, VoiceConfig};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is said while nobody asks, kept for the next who does.
const EARLY_MAX: usize = 64;
/// Speech of persons whose words are awaited.
const UNWRITTEN_MAX: usize = 16;
/// How the names of messages begin whose errors say nothing of an answer: it may have ended before they were read.
const STOPPING: &str = "meshagent_stop_";
/// Bytes of one sample that is not compressed.
const PCM_SAMPLE_BYTES: u64 = 2;

/// How the types of messages begin that say what a person said.
const TRANSCRIPTION: &str = "conversation.item.input_audio_transcription.";

/// Something to do.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    Send(Value),
    Say(Said),
    Notice(Noticed),
    /// The answer is complete, but what it answers is still being written down: wait a little.
    Linger,
    End(Result<Response, Refusal>),
}

/// An answer under way.
#[derive(Default)]
struct Answer {
    /// Text and transcripts so far, by item id.
    texts: BTreeMap<String, String>,
    /// The last item with audio, and how many bytes of it were said.
    audio: Option<(String, u64, u64)>,
    /// What it answers of what was said aloud, by item id, and what of that is not written down so far.
    heard: BTreeSet<String>,
    unwritten: BTreeSet<String>,
    cancelling: bool,
    complete: Option<Response>,
}

/// The conversation.
pub(super) struct Talk {
    voices: Arc<VoiceConfig>,
    session: Value,
    names: Names,
    known: Vec<Known>,
    answer: Option<Answer>,
    /// Speech that no answer was asked for so far, by item id, and whether it is written down.
    pending: BTreeMap<String, bool>,
    early: Vec<Said>,
    /// Whether anything of the answer that was asked for last was said aloud.
    has_spoken: bool,
}

fn text(event: &Value, key: &str) -> String {
    event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn some(event: &Value, key: &str) -> Option<String> {
    Some(text(event, key)).filter(|text| !text.is_empty())
}

fn at(event: &Value) -> At {
    At {
        response_id: some(event, "response_id"),
        content_index: event.get("content_index").and_then(Value::as_u64),
    }
}

fn send(message: Value) -> Act {
    Act::Send(message)
}

impl Talk {
    pub fn new(voices: Arc<VoiceConfig>) -> Self {
        Self {
            voices,
            session: Value::Null,
            names: Names::default(),
            known: Vec::new(),
            answer: None,
            pending: BTreeMap::new(),
            early: Vec::new(),
            has_spoken: false,
        }
    }

    /// Whether this conversation can go on so. A voice that has spoken cannot be changed.
    pub fn goes_on(&self, ask: &Ask) -> bool {
        let (session, _) = session(&self.voices, ask);
        matched(&self.known, &ask.items).is_some()
            && (self.session.is_null() || self.session["audio"] == session["audio"])
    }

    /// Tells how the conversation is held and what of it the provider does not know.
    pub fn open(&mut self, ask: &Ask) -> Vec<Act> {
        let mut acts = Vec::new();
        let (session, names) = session(&self.voices, ask);
        self.names = names;
        if session != self.session {
            acts.push(send(json!({"type": "session.update", "session": session})));
            self.session = session;
        }
        let have = matched(&self.known, &ask.items).unwrap_or(0);
        let skipped = if self.known.is_empty() { left_out(&ask.items) } else { 0 };
        for (n, item) in ask.items.iter().enumerate().skip(have) {
            if n >= skipped {
                acts.extend(tell(item).into_iter().map(send));
            }
            self.known.push(Known::of(item));
        }
        acts
    }

    /// Asks for an answer.
    pub fn ask(&mut self, ask: &Ask) -> Vec<Act> {
        let mut acts: Vec<_> = self.early.drain(..).map(Act::Say).collect();
        acts.extend(self.open(ask));
        acts.push(send(json!({"type": "response.create"})));
        let pending = std::mem::take(&mut self.pending);
        self.answer = Some(Answer {
            unwritten: pending
                .iter()
                .filter(|(_, written)| !**written)
                .map(|(item, _)| item.clone())
                .collect(),
            heard: pending.into_keys().collect(),
            ..Answer::default()
        });
        self.has_spoken = false;
        acts
    }

    /// More of what a person says, for a provider that listens all the time.
    pub fn listen(&self, data: &Bytes) -> Vec<Act> {
        append(data).map(send).collect()
    }

    /// All was said.
    pub fn heard(&self) -> Vec<Act> {
        vec![send(json!({"type": "input_audio_buffer.commit"}))]
    }

    /// Stops the answer; [`Act::End`] follows when the provider has. No more of it was heard than so many milliseconds.
    pub fn cancel(&mut self, heard_ms: u64) -> Vec<Act> {
        let Some(answer) = &mut self.answer else { return vec![Act::End(Ok(Response::default()))] };
        if answer.complete.is_some() {
            return self.end();
        }
        answer.cancelling = true;
        let mut acts = vec![send(json!({"type": "response.cancel", "event_id": format!("{STOPPING}1")}))];
        if let Some((item_id, content_index, bytes)) = &answer.audio {
            // What was not said does not count as said.
            let said_ms = self.voices.milliseconds(*bytes);
            acts.push(send(json!({"type": "conversation.item.truncate", "event_id": format!("{STOPPING}2"),
                "item_id": item_id, "content_index": content_index, "audio_end_ms": said_ms.min(heard_ms)})));
        }
        acts
    }

    /// It took too long to write down what was said.
    pub fn end(&mut self) -> Vec<Act> {
        let complete = self.answer.take().and_then(|answer| answer.complete);
        vec![Act::End(Ok(complete.unwrap_or_default()))]
    }

    /// Whether anything of the answer that was asked for last was said aloud.
    pub fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    pub fn hear(&mut self, event: &Value) -> Vec<Act> {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "error" => self.error(event),
            "input_audio_buffer.committed" => self.committed(event),
            "input_audio_buffer.speech_started" => {
                let at_ms = event.get("audio_start_ms").and_then(Value::as_u64);
                vec![Act::Notice(Noticed::Began { item_id: some(event, "item_id"), at_ms })]
            }
            "input_audio_buffer.speech_stopped" | "input_audio_buffer.speech_ended" => {
                let at_ms = event.get("audio_end_ms").and_then(Value::as_u64);
                vec![Act::Notice(Noticed::Ended { item_id: some(event, "item_id"), at_ms })]
            }
            _ if kind.starts_with(TRANSCRIPTION) => self.transcribed(kind, event),
            _ if self.answer.as_ref().is_some_and(|answer| !answer.cancelling) => self.answered(kind, event),
            // A cancelled answer ends, whatever it came to.
            "response.done" | "response.cancelled" if self.answer.is_some() => self.stopped(),
            _ => Vec::new(),
        }
    }

    /// What a person said, written down.
    fn transcribed(&mut self, kind: &str, event: &Value) -> Vec<Act> {
        let (item_id, at, by) = (text(event, "item_id"), at(event), Speaker::User);
        let ended = kind != "conversation.item.input_audio_transcription.delta";
        let speech = match kind.strip_prefix(TRANSCRIPTION) {
            Some("delta") => {
                Speech::Written { item_id: item_id.clone(), at, by, delta: text(event, "delta") }
            }
            Some("completed") => {
                Speech::WrittenEnded { item_id: item_id.clone(), at, by, text: some(event, "transcript") }
            }
            Some("failed") => {
                let error = event.get("error").cloned().unwrap_or_default();
                let message =
                    some(&error, "message").unwrap_or_else(|| "it cannot be written down".to_owned());
                let code = some(&error, "code").unwrap_or_else(|| "audio_transcription_failed".to_owned());
                Speech::WrittenFailed { item_id: item_id.clone(), at, by, message, code }
            }
            _ => return Vec::new(),
        };
        let said = Said::Speech(speech);
        if let Some(written) = self.pending.get_mut(&item_id) {
            *written |= ended;
            if self.early.len() < EARLY_MAX {
                self.early.push(said);
            }
            return Vec::new();
        }
        let Some(answer) = self.answer.as_mut().filter(|answer| answer.heard.contains(&item_id)) else {
            // Its turn has ended: the words belong to no other.
            tracing::debug!(item_id, "what was said is written down too late");
            return Vec::new();
        };
        let awaited = ended && answer.unwritten.remove(&item_id);
        let done = awaited && answer.complete.is_some() && answer.unwritten.is_empty();
        let mut acts = vec![Act::Say(said)];
        if done {
            acts.extend(self.end());
        }
        acts
    }

    fn committed(&mut self, event: &Value) -> Vec<Act> {
        let item_id = some(event, "item_id");
        if let (Some(item_id), true) = (&item_id, self.voices.transcription_model.is_some()) {
            match &mut self.answer {
                // It was said with the request.
                Some(answer) if !self.voices.automatic && answer.heard.len() < UNWRITTEN_MAX => {
                    answer.heard.insert(item_id.clone());
                    answer.unwritten.insert(item_id.clone());
                }
                _ if self.pending.len() < UNWRITTEN_MAX => {
                    self.pending.insert(item_id.clone(), false);
                }
                _ => {}
            }
        }
        if !self.voices.automatic {
            return Vec::new();
        }
        self.known.push(Known::Aloud);
        vec![Act::Notice(Noticed::Heard { item_id })]
    }

    fn answered(&mut self, kind: &str, event: &Value) -> Vec<Act> {
        let item_id = || text(event, "item_id");
        let speech = |speech| vec![Act::Say(Said::Speech(speech))];
        match kind {
            "response.output_text.delta" | "response.text.delta" => {
                let (item_id, delta) = (item_id(), text(event, "delta"));
                self.note(&item_id, &delta);
                vec![Act::Say(Said::Text { item_id, phase: None, delta })]
            }
            "response.output_text.done" | "response.text.done" => {
                vec![Act::Say(Said::TextEnded { item_id: item_id(), phase: None })]
            }
            "response.output_audio.delta" | "response.audio.delta" => self.audio(event),
            "response.output_audio.done" | "response.audio.done" => {
                speech(Speech::AudioEnded { item_id: item_id(), at: at(event) })
            }
            "response.output_audio_transcript.delta" | "response.audio_transcript.delta" => {
                let (item_id, delta) = (item_id(), text(event, "delta"));
                self.note(&item_id, &delta);
                speech(Speech::Written { item_id, at: at(event), by: Speaker::Agent, delta })
            }
            "response.output_audio_transcript.done" | "response.audio_transcript.done" => {
                let text = some(event, "transcript");
                speech(Speech::WrittenEnded { item_id: item_id(), at: at(event), by: Speaker::Agent, text })
            }
            "response.output_item.added" => self.pending(event),
            "response.function_call_arguments.delta" => {
                vec![Act::Say(Said::CallArguments { item_id: item_id(), delta: text(event, "delta") })]
            }
            "response.done"
            | "response.completed"
            | "response.failed"
            | "response.incomplete"
            | "response.cancelled" => self.done(event.get("response").unwrap_or(&Value::Null)),
            _ => Vec::new(),
        }
    }

    fn note(&mut self, item_id: &str, delta: &str) {
        if let Some(answer) = &mut self.answer
            && (answer.texts.contains_key(item_id) || answer.texts.len() < ITEMS_MAX)
        {
            answer.texts.entry(item_id.to_owned()).or_default().push_str(delta);
        }
    }

    fn audio(&mut self, event: &Value) -> Vec<Act> {
        let (item_id, at) = (text(event, "item_id"), at(event));
        let Ok(data) = STANDARD.decode(text(event, "delta")) else {
            tracing::warn!("audio that is no Base64 is left out");
            return Vec::new();
        };
        self.has_spoken = true;
        if let Some(answer) = &mut self.answer {
            let before =
                answer.audio.take().filter(|(of, _, _)| *of == item_id).map_or(0, |(_, _, bytes)| bytes);
            let index = at.content_index.unwrap_or(0);
            answer.audio = Some((item_id.clone(), index, before + data.len() as u64));
        }
        let format = self.voices.output.clone();
        vec![Act::Say(Said::Speech(Speech::Audio { item_id, at, data: data.into(), format }))]
    }

    fn pending(&self, event: &Value) -> Vec<Act> {
        let item = event.get("item").unwrap_or(&Value::Null);
        if item.get("type").and_then(Value::as_str) != Some("function_call") {
            return Vec::new();
        }
        let (toolkit, tool) = self.names.tool(&text(item, "name"));
        vec![Act::Say(Said::CallPending {
            item_id: text(item, "id"),
            call_id: text(item, "call_id"),
            toolkit,
            tool,
        })]
    }

    fn done(&mut self, response: &Value) -> Vec<Act> {
        let status = response.get("status").and_then(Value::as_str).unwrap_or("completed");
        if status == "failed" {
            self.answer = None;
            let error = response.pointer("/status_details/error").or_else(|| response.get("error"));
            return vec![Act::End(Err(refusal(error.unwrap_or(&Value::Null))))];
        }
        let items = self.items(response);
        self.known.extend(items.iter().map(Known::of));
        let calls = items.iter().any(|item| matches!(item, Item::Call(_)));
        let usage = response.get("usage").unwrap_or(&Value::Null);
        let count = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
        let complete = Response {
            items,
            usage: Usage { input_tokens: count("input_tokens"), output_tokens: count("output_tokens") },
            incomplete: status != "completed",
            said: true,
            ..Response::default()
        };
        let Some(answer) = &mut self.answer else { return Vec::new() };
        answer.complete = Some(complete);
        if calls || answer.unwritten.is_empty() { self.end() } else { vec![Act::Linger] }
    }

    /// What an answer is made of; what it told where its end does not repeat it.
    fn items(&mut self, response: &Value) -> Vec<Item> {
        let output = response.get("output").and_then(Value::as_array);
        let mut items = Vec::new();
        for item in output.into_iter().flatten().take(ITEMS_MAX) {
            match item.get("type").and_then(Value::as_str) {
                Some("function_call") => {
                    let (call_id, id) = (text(item, "call_id"), text(item, "id"));
                    let call_id = if call_id.is_empty() { id.clone() } else { call_id };
                    let call = self.names.call(call_id, id, &text(item, "name"), text(item, "arguments"));
                    items.push(Item::Call(call));
                }
                Some("message") => {
                    let content = item.get("content").and_then(Value::as_array);
                    let pieces = content.into_iter().flatten();
                    let pieces =
                        pieces.filter_map(|piece| some(piece, "text").or_else(|| some(piece, "transcript")));
                    let mut text_of: String = pieces.collect();
                    if text_of.is_empty() {
                        let told =
                            self.answer.as_mut().and_then(|answer| answer.texts.remove(&text(item, "id")));
                        text_of = told.unwrap_or_default();
                    }
                    if !text_of.trim().is_empty() {
                        items.push(Item::Answer { text: text_of, phase: None });
                    }
                }
                _ => {}
            }
        }
        items
    }

    fn stopped(&mut self) -> Vec<Act> {
        self.answer = None;
        self.known.push(Known::Broken);
        vec![Act::End(Ok(Response { incomplete: true, said: true, ..Response::default() }))]
    }

    fn error(&mut self, event: &Value) -> Vec<Act> {
        let error = event.get("error").unwrap_or(&Value::Null);
        let not_active = some(error, "code").as_deref() == Some("response_cancel_not_active");
        let stopping = not_active || some(error, "event_id").is_some_and(|id| id.starts_with(STOPPING));
        match &self.answer {
            // Its end was heard, or is yet to come.
            Some(answer) if answer.cancelling && not_active => self.stopped(),
            Some(answer) if answer.cancelling => Vec::new(),
            // There was nothing to stop any more.
            _ if stopping => Vec::new(),
            Some(_) => {
                self.answer = None;
                vec![Act::End(Err(refusal(error)))]
            }
            None => {
                let message =
                    some(error, "message").unwrap_or_else(|| "the provider reports an error".to_owned());
                vec![Act::Notice(Noticed::Lost { message })]
            }
        }
    }
}

/// Why there is no answer, in the provider's words.
fn refusal(error: &Value) -> Refusal {
    let said = some(error, "message").unwrap_or_else(|| "the provider gave no reason".to_owned());
    let is = |key: &str, names: &[&str]| some(error, key).is_some_and(|text| names.contains(&text.as_str()));
    let passes = is("type", &["server_error", "rate_limit_error"])
        || is("code", &["server_error", "rate_limit_exceeded", "session_expired"]);
    let said = format!("the model did not answer: {said}");
    if passes { Refusal::Passing(said) } else { Refusal::Final(said) }
}

impl VoiceConfig {
    /// How long so many bytes of the agent's audio are.
    fn milliseconds(&self, bytes: u64) -> u64 {
        let rate = u64::from(self.output.sample_rate.unwrap_or(crate::agent::message::SAMPLE_RATE)).max(1);
        let width = if self.output.kind == crate::agent::message::PCM { PCM_SAMPLE_BYTES } else { 1 };
        bytes * 1000 / (rate * width)
    }
}
