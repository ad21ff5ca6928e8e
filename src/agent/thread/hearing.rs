//! What is said aloud to a thread before a turn takes it: kept, within bounds, until it is committed.

use super::happening::By;
use super::machine::{Effect, Thread};
use crate::agent::message::{
    AudioChunk, AudioCommit, Body, InputSpeech, Message, OfTurnSource, Options, Status, ThreadEvent,
    TurnStart,
};
use crate::agent::thread::Earlier;
use crate::agent::turn::Failure;
use crate::agent::voice::Noticed;
use bytes::{Bytes, BytesMut};
use serde_json::json;
use std::collections::VecDeque;

/// Bytes of speech that a thread keeps until a turn takes it: about four minutes, unless it is compressed.
pub const SPEECH_BYTES_MAX: usize = 12 * 1024 * 1024;
const LISTENING: &str = "Listening";
/// Bytes of one message of it.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Speeches that may wait for the turns they are for.
const COMMITS_MAX: usize = 4;

/// What was said aloud, or why it cannot be heard, for the turn that takes it.
pub(super) struct Committed {
    /// `realtime_audio.commit`.
    pub message: Message,
    pub sound: Result<Bytes, Failure>,
}

/// See above.
#[derive(Default)]
pub(super) struct Hearing {
    chunks: Vec<Bytes>,
    /// Bytes of these and of what is committed.
    bytes: usize,
    /// Why not all of what came is kept.
    refused: Option<Failure>,
    commits: VecDeque<(String, Committed)>,
    /// Who spoke last.
    by: By,
    /// The turn that what is heard now will begin, where the provider listens by itself.
    turn_id: Option<String>,
    /// Ends of speech that were committed by a client, for turns that it begins.
    expected: usize,
    listening: bool,
}

impl Hearing {
    /// What was said aloud for this turn.
    pub fn take(&mut self, turn_id: &str) -> Option<Committed> {
        let at = self.commits.iter().position(|(of, _)| of == turn_id)?;
        let (_, committed) = self.commits.remove(at)?;
        self.bytes -= committed.sound.as_ref().map_or(0, Bytes::len);
        Some(committed)
    }

    fn all(&mut self) -> Result<Bytes, Failure> {
        let chunks = std::mem::take(&mut self.chunks);
        let size: usize = chunks.iter().map(Bytes::len).sum();
        self.bytes -= size;
        self.listening = false;
        if let Some(failure) = self.refused.take() {
            return Err(failure);
        }
        if size == 0 {
            let message = "no audio came before it was committed; send realtime_audio.chunk messages first";
            return Err(Failure { message: message.to_owned(), code: "no_audio" });
        }
        let mut all = BytesMut::with_capacity(size);
        chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
        Ok(all.freeze())
    }
}

fn refusal(message: impl Into<String>, code: &'static str) -> Failure {
    Failure { message: message.into(), code }
}

impl Thread {
    /// More of what somebody says.
    pub(super) fn chunk(&mut self, message_id: String, chunk: AudioChunk, by: By, out: &mut Vec<Effect>) {
        let data = chunk.data.0;
        let mismatch = self.voices.mismatch(&chunk.format.unwrap_or_default());
        let model = self.model();
        let refused = if !model.speaks() {
            let message = format!("{model} hears nothing; choose a model that does, as gpt-realtime");
            Some(refusal(message, "unsupported_modality"))
        } else if let Some(why) = mismatch {
            Some(refusal(why, "unsupported_audio_format"))
        } else if data.len() > CHUNK_BYTES_MAX {
            let message =
                format!("one piece of audio has more than {CHUNK_BYTES_MAX} bytes; send smaller ones");
            Some(refusal(message, "audio_too_long"))
        } else if !self.voices.automatic
            && self.hearing.bytes + self.waiting_speech() + data.len() > SPEECH_BYTES_MAX
        {
            let most = SPEECH_BYTES_MAX / (1024 * 1024);
            let message =
                format!("more than {most} MiB were said at once; commit what was said, and go on then");
            Some(refusal(message, "audio_too_long"))
        } else {
            None
        };
        self.hearing.by = by;
        if self.voices.automatic && refused.is_none() {
            // Nothing is kept here that it would be a part of.
            self.hearing.refused = None;
        }
        if let Some(failure) = refused {
            self.refuse_speech(message_id, failure, out);
        } else if data.is_empty() || self.hearing.refused.is_some() {
            // Nothing, or the rest of what is not kept whole.
        } else {
            self.show_listening(LISTENING, out);
            if self.voices.automatic {
                out.push(Effect::Hear(data));
            } else {
                self.hearing.bytes += data.len();
                self.hearing.chunks.push(data);
            }
        }
    }

    /// Says once why what is said is not heard; the turn that it was for hears the same.
    fn refuse_speech(&mut self, source_message_id: String, failure: Failure, out: &mut Vec<Effect>) {
        if self.hearing.refused.is_none() {
            self.tell_of_speech(Some(source_message_id), &failure, out);
        }
        let kept: usize = self.hearing.chunks.drain(..).map(|chunk| chunk.len()).sum();
        self.hearing.bytes -= kept;
        self.hearing.refused = Some(failure);
    }

    /// Tells the one who spoke, or everybody, what became of it.
    fn tell_of_speech(&self, source: Option<String>, failure: &Failure, out: &mut Vec<Effect>) {
        let event = json!({"type": "realtime_audio_rejected", "kind": "message", "state": "failed",
            "headline": "Not heard", "summary": failure.message, "details": [failure.message],
            "error": {"message": failure.message, "code": failure.code}, "source_message_id": source});
        let event = event.as_object().cloned().unwrap_or_default();
        let thread_id = self.stamp.path.clone();
        let message = self.stamp.message(Body::ThreadEvent(ThreadEvent {
            thread_id,
            provider: None,
            model: None,
            event,
        }));
        out.push(match self.hearing.by.participant.clone() {
            Some(to) => Effect::Tell { to, message },
            None => Effect::Show(message),
        });
    }

    fn show_listening(&mut self, text: &str, out: &mut Vec<Effect>) {
        let shown = std::mem::replace(&mut self.hearing.listening, true) && text == LISTENING;
        if shown || self.turn_id().is_some() {
            return;
        }
        let status = Status {
            thread_id: self.stamp.path.clone(),
            status: Some(text.to_owned()),
            mode: Some("busy".to_owned()),
            started_at: Some(self.stamp.now()),
            ..Status::default()
        };
        out.push(Effect::Show(self.stamp.message(Body::ThreadStatus(status))));
    }

    /// All was said. It is for the turn that the message names and that a `turn.start` begins; where it names none, or the one
    /// that runs, a turn begins by itself.
    pub(super) fn commit(&mut self, mut message: Message, by: By, out: &mut Vec<Effect>) {
        let Body::AudioCommit(commit) = &mut message.body else { return };
        let named = commit.turn_id.clone().filter(|turn| !turn.trim().is_empty());
        let named = named.filter(|turn| self.turn_id() != Some(turn.as_str()));
        self.hearing.by = by.clone();
        if self.voices.automatic && self.model().speaks() {
            out.push(Effect::Heard);
            if let Some(turn_id) = named {
                self.hearing.expected += 1;
                self.hold(turn_id, Committed { message, sound: Ok(Bytes::new()) }, out);
            }
            return;
        }
        let sound = self.hearing.all();
        self.show_listening("Processing audio", out);
        self.hearing.listening = false;
        match named {
            Some(turn_id) => self.hold(turn_id, Committed { message, sound }, out),
            None => self.begin_spoken(self.stamp.fresh(), Committed { message, sound }, by, out),
        }
    }

    fn hold(&mut self, turn_id: String, mut committed: Committed, out: &mut Vec<Effect>) {
        if let Body::AudioCommit(commit) = &mut committed.message.body {
            commit.turn_id = Some(turn_id.clone());
        }
        if self.hearing.commits.len() >= COMMITS_MAX
            && let Some((oldest, given_up)) = self.hearing.commits.pop_front()
        {
            self.hearing.bytes -= given_up.sound.as_ref().map_or(0, Bytes::len);
            let message =
                format!("no turn.start came for turn {oldest}, whose audio was committed; it is dropped");
            self.tell_of_speech(Some(given_up.message.message_id), &refusal(message, "audio_dropped"), out);
        }
        self.hearing.bytes += committed.sound.as_ref().map_or(0, Bytes::len);
        self.hearing.commits.push_back((turn_id, committed));
    }

    /// A turn that nobody wrote a message for.
    fn begin_spoken(&mut self, turn_id: String, committed: Committed, by: By, out: &mut Vec<Effect>) {
        let mut message = committed.message.clone();
        let start = TurnStart {
            thread_id: self.stamp.path.clone(),
            turn_id: Some(turn_id.clone()),
            content: Vec::new(),
            options: Options::default(),
        };
        message.body = Body::TurnStart(start);
        self.hold(turn_id.clone(), committed, out);
        self.start(Box::new(message), turn_id, by, Earlier::default(), out);
    }

    /// What a provider that listens by itself notices.
    pub(super) fn noticed(&mut self, noticed: Noticed, out: &mut Vec<Effect>) {
        let thread_id = self.stamp.path.clone();
        match noticed {
            Noticed::Began { item_id, at_ms } => {
                if let Some(turn_id) = self.turn_id().map(str::to_owned) {
                    self.interrupted(&turn_id, out);
                }
                let turn_id = self.hearing.turn_id.get_or_insert_with(|| self.stamp.fresh()).clone();
                let began =
                    InputSpeech { thread_id, turn_id, item_id, audio_start_ms: at_ms, audio_end_ms: None };
                out.push(Effect::Show(self.stamp.message(Body::SpeechStarted(began))));
            }
            Noticed::Ended { item_id, at_ms } => {
                let turn_id = self.hearing.turn_id.get_or_insert_with(|| self.stamp.fresh()).clone();
                let ended =
                    InputSpeech { thread_id, turn_id, item_id, audio_start_ms: None, audio_end_ms: at_ms };
                out.push(Effect::Show(self.stamp.message(Body::SpeechEnded(ended))));
            }
            Noticed::Heard { .. } if self.hearing.expected > 0 => {
                self.hearing.expected -= 1;
                self.hearing.turn_id = None;
            }
            Noticed::Heard { item_id } => {
                let turn_id = self.hearing.turn_id.take().unwrap_or_else(|| self.stamp.fresh());
                let commit = AudioCommit {
                    thread_id,
                    turn_id: Some(turn_id.clone()),
                    transcription_item_id: item_id,
                    ..AudioCommit::default()
                };
                let mut message = self.stamp.message(Body::AudioCommit(commit));
                message.sender_name.clone_from(&self.hearing.by.name);
                self.hearing.listening = false;
                let by = self.hearing.by.clone();
                self.begin_spoken(turn_id, Committed { message, sound: Ok(Bytes::new()) }, by, out);
            }
            Noticed::Lost { message } => {
                (self.hearing.turn_id, self.hearing.expected, self.hearing.listening) = (None, 0, false);
                self.tell_of_speech(None, &refusal(message, "not_listening"), out);
            }
        }
    }

    /// Somebody speaks while the agent does.
    fn interrupted(&mut self, turn_id: &str, out: &mut Vec<Effect>) {
        let source_message_id = self.stamp.fresh();
        let of = OfTurnSource {
            thread_id: self.stamp.path.clone(),
            turn_id: turn_id.to_owned(),
            source_message_id,
        };
        out.push(Effect::Cancel);
        self.interrupt_running(Body::Interrupted(of), out);
    }
}
