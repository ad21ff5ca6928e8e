//! Which model a thread uses and how that answers: aloud or in writing, in which voice.

use super::machine::{Effect, Thread};
use crate::agent::message::{Body, Message, ModelChange, ModelChanged, ThreadEvent};
use crate::agent::model::{ModelId, Unknown, choose};
use crate::agent::voice::{Modality, VoiceConfig};
use serde_json::json;

/// How answers sound, where the model speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    pub voice: String,
    pub answers: Modality,
}

impl Manner {
    /// As it was before, where it still can be so.
    pub(super) fn of(voices: &VoiceConfig, voice: Option<String>, answers: Option<Modality>) -> Self {
        let voice = voice.filter(|voice| voices.voices().contains(voice));
        let answers = answers.filter(|answers| voices.modalities.contains(answers));
        Self {
            voice: voice.unwrap_or_else(|| voices.voice.clone()),
            answers: answers.unwrap_or(voices.answers),
        }
    }
}

impl Thread {
    /// `model.changed` for the model in use, with what it was asked by.
    pub fn model_changed(&self, source_message_id: Option<String>) -> Message {
        let voices = Some(&self.voices).filter(|_| self.model.speaks());
        let answers = voices.map_or(Modality::Text, |_| self.manner.answers);
        self.stamp.message(Body::ModelChanged(ModelChanged {
            thread_id: self.stamp.path.clone(),
            source_message_id,
            provider: self.model.provider.clone(),
            backend: Some(self.model.backend_name().to_owned()),
            model: self.model.name.clone(),
            voice: voices.map(|_| self.manner.voice.clone()),
            input_format: voices.map(|voices| json!(voices.input)),
            output_format: voices.map(|voices| json!(voices.output)),
            turn_detection: voices.map(|voices| voices.turn_detection().to_owned()),
            output_modalities: vec![answers.name().to_owned()],
            realtime_protocols: Vec::new(),
            supports_attachments: voices.is_none(),
            accepts: if voices.is_none() { vec!["*/*".into()] } else { Vec::new() },
        }))
    }

    /// Speaks in this manner from now on; whether that is another than before.
    pub(super) fn adopt(&mut self, voice: Option<&str>, answers: Option<Modality>) -> bool {
        if !self.model.speaks() {
            return false;
        }
        let before = self.manner.clone();
        if let Some(voice) = voice.map(str::trim).filter(|voice| !voice.is_empty()) {
            voice.clone_into(&mut self.manner.voice);
        }
        self.manner.answers = answers.unwrap_or(self.manner.answers);
        self.manner != before
    }

    /// Why a model cannot answer so.
    pub(super) fn cannot(
        &self,
        model: &ModelId,
        voice: Option<&str>,
        answers: Option<Modality>,
    ) -> Option<(String, &'static str)> {
        let given = answers.unwrap_or_default();
        let can = if model.speaks() { &self.voices.modalities[..] } else { &[Modality::Text] };
        if answers.is_some() && !can.contains(&given) {
            let can = can.iter().map(|modality| modality.name()).collect::<Vec<_>>().join(" or ");
            return Some((
                format!("{model} does not answer with {}, but with {can}", given.name()),
                "unsupported_modality",
            ));
        }
        let voice = voice.map(str::trim).filter(|voice| model.speaks() && !voice.is_empty())?;
        let known = self.voices.voices();
        (!known.iter().any(|known| known == voice)).then(|| {
            (format!("there is no voice `{voice}`; the voices are {}", known.join(", ")), "unknown_voice")
        })
    }

    pub(super) fn change_model(&mut self, message_id: String, change: &ModelChange, out: &mut Vec<Effect>) {
        let chosen = choose(
            &self.models,
            &self.model,
            change.backend.as_deref(),
            change.provider.as_deref(),
            change.model.as_deref(),
        );
        let voice = change.voice.as_deref();
        let refused = match &chosen {
            Ok(model) => self.cannot(model, voice, None),
            Err(Unknown { message, code }) => Some((message.clone(), *code)),
        };
        match (chosen, refused) {
            (Ok(model), None) => {
                self.model = model.clone();
                self.adopt(voice, None);
                out.push(Effect::Emit(self.model_changed(Some(message_id))));
            }
            (_, refused) => {
                let (message, code) = refused.unwrap_or_default();
                let event = json!({"type": "model_change_rejected", "kind": "message", "state": "failed", "summary": message,
                    "headline": "Model change rejected", "details": [message], "code": code, "source_message_id": message_id,
                    "error": {"message": message, "code": code}});
                let event = event.as_object().cloned().unwrap_or_default();
                let thread_id = self.stamp.path.clone();
                let event = ThreadEvent { thread_id, provider: None, model: None, event };
                out.push(Effect::Emit(self.stamp.message(Body::ThreadEvent(event))));
            }
        }
    }
}
