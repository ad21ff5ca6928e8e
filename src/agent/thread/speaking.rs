//! Tells clients what is said aloud in a running turn, by whomever, and what is written down of it.

use super::machine::Effect;
use super::messages::{Shared, Stamp};
use crate::agent::history::Item;
use crate::agent::message::{
    AudioDelta, AudioEdge, AudioEnded, AudioFormat, Body, Failed, Message, Sound, Transcription,
};
use crate::agent::voice::{At, Speaker, Speech};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What is told, and how.
pub(super) struct To<'a> {
    pub shared: &'a Shared,
    /// Who began the turn.
    pub person: Option<&'a str>,
    pub stamp: &'a Stamp,
    pub out: &'a mut Vec<Effect>,
}

impl To<'_> {
    fn edge(&self, item_id: &str, at: &At) -> AudioEdge {
        let base = self.shared.edge(item_id, None);
        AudioEdge {
            thread_id: base.thread_id,
            provider: base.provider,
            model: base.model,
            turn_id: base.turn_id,
            item_id: base.item_id,
            response_id: at.response_id.clone(),
            content_index: at.content_index,
        }
    }

    /// Audio is told to those who listen, and not stored.
    fn show(&mut self, body: Body) {
        self.out.push(Effect::Show(self.stamp.message(body)));
    }

    /// What a person said is theirs.
    fn emit(&mut self, by: Speaker, body: Body) {
        let mut message: Message = self.stamp.message(body);
        if let (Speaker::User, Some(person)) = (by, self.person) {
            message.sender_name = Some(person.to_owned());
        }
        self.out.push(Effect::Emit(message));
    }
}

/// Speech that is being written down.
struct Written {
    at: At,
    by: Speaker,
    text: String,
}

impl Written {
    fn message(&self, item_id: &str, to: &To<'_>) -> Transcription {
        let role = Some(self.by.role().to_owned());
        Transcription { edge: to.edge(item_id, &self.at), role, text: None, error: None }
    }
}

/// What is coming in, by item id.
#[derive(Default)]
pub(super) struct Speaking {
    audio: BTreeMap<String, (At, AudioFormat)>,
    written: BTreeMap<String, Written>,
}

impl Speaking {
    /// What the agent has said, once all of it is written down.
    pub fn said(&mut self, speech: Speech, to: &mut To<'_>) -> Option<Item> {
        match speech {
            Speech::Audio { item_id, at, data, format } => self.audio(&item_id, at, data, format, to),
            Speech::AudioEnded { item_id, .. } => self.end_audio(&item_id, None, to),
            Speech::Written { item_id, at, by, delta } => {
                self.begin(&item_id, at, by, to);
                let open = self.written.get_mut(&item_id).filter(|_| !delta.is_empty())?;
                open.text.push_str(&delta);
                let more = Transcription { text: Some(delta), ..open.message(&item_id, to) };
                to.emit(by, Body::TranscriptDelta(more));
            }
            Speech::WrittenEnded { item_id, at, by, text } => {
                self.begin(&item_id, at, by, to);
                return self.end_written(&item_id, text, to);
            }
            Speech::WrittenFailed { item_id, at, by, message, code } => {
                self.begin(&item_id, at, by, to);
                let open = self.written.remove(&item_id)?;
                let error = Some(Failed { message, code: Some(code) });
                let failed = Transcription { error, ..open.message(&item_id, to) };
                to.emit(by, Body::TranscriptFailed(failed));
            }
        }
        None
    }

    fn audio(&mut self, item_id: &str, at: At, data: Bytes, format: AudioFormat, to: &mut To<'_>) {
        let edge = to.edge(item_id, &at);
        if !self.audio.contains_key(item_id) {
            to.show(Body::AudioStarted(edge.clone()));
            self.audio.insert(item_id.to_owned(), (at, format.clone()));
        }
        if !data.is_empty() {
            let (mime_type, output_format) = (Some(format.kind.clone()), Some(format));
            to.show(Body::AudioDelta(AudioDelta { edge, data: Sound(data), mime_type, output_format }));
        }
    }

    fn end_audio(&mut self, item_id: &str, error: Option<Failed>, to: &mut To<'_>) {
        let Some((at, format)) = self.audio.remove(item_id) else { return };
        let failed = error.is_some();
        let ended =
            AudioEnded { edge: to.edge(item_id, &at), audio: None, output_format: Some(format), error };
        to.show(if failed { Body::AudioFailed(ended) } else { Body::AudioCompleted(ended) });
    }

    fn begin(&mut self, item_id: &str, at: At, by: Speaker, to: &mut To<'_>) {
        if self.written.contains_key(item_id) {
            return;
        }
        let open = Written { at, by, text: String::new() };
        to.emit(by, Body::TranscriptStarted(open.message(item_id, to)));
        self.written.insert(item_id.to_owned(), open);
    }

    fn end_written(&mut self, item_id: &str, text: Option<String>, to: &mut To<'_>) -> Option<Item> {
        let open = self.written.remove(item_id)?;
        let mut ended = open.message(item_id, to);
        let text = text.unwrap_or(open.text);
        ended.text = Some(text.clone());
        to.emit(open.by, Body::TranscriptCompleted(ended));
        (open.by == Speaker::Agent && !text.trim().is_empty()).then_some(Item::Answer { text, phase: None })
    }

    /// Ends what is open; what the agent had begun to say.
    pub fn cut_short(&mut self, to: &mut To<'_>) -> Vec<Item> {
        for item_id in self.audio.keys().cloned().collect::<Vec<_>>() {
            let message = "the answer broke off".to_owned();
            let error = Failed { message, code: Some("cancelled".to_owned()) };
            self.end_audio(&item_id, Some(error), to);
        }
        let open: Vec<String> = self.written.keys().cloned().collect();
        open.iter().filter_map(|item_id| self.end_written(item_id, None, to)).collect()
    }
}
