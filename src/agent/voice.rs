//! Speech of agents: which voices and forms of audio there are, and what of them an agent offers. Pure.

use super::message::{AudioFormat, ModelInfo};
use bytes::Bytes;
use serde_json::{Value, json};

/// The provider whose models hear and speak.
pub const PROVIDER: &str = "openai-realtime";
/// The model that the provider's name alone stands for.
pub const DEFAULT_MODEL: &str = "gpt-realtime";
/// Spellings of `--model` that stand for [`DEFAULT_MODEL`].
pub const ALIASES: [&str; 4] = ["openai-realtime", "openai realtime", "openai:realtime", "openai/realtime"];
/// The voice that is used when none is named.
pub const DEFAULT_VOICE: &str = "echo";
/// The model that writes down what is heard.
pub const TRANSCRIPTION_MODEL: &str = "gpt-realtime-whisper";
/// The voices that every such model has.
pub const VOICES: [&str; 8] = ["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse"];

/// What an answer is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modality {
    #[default]
    Text,
    Audio,
}

impl Modality {
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "audio" => Some(Self::Audio),
            _ => None,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Audio => "audio",
        }
    }
}

/// How an agent hears and speaks, where its model can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceConfig {
    pub voice: String,
    /// Writes down what is heard; nothing does where it is absent.
    pub transcription_model: Option<String>,
    /// Whether the provider notices when somebody begins and ends to speak.
    pub automatic: bool,
    /// What answers may be made of; at least one.
    pub modalities: Vec<Modality>,
    /// What they are made of unless a client says otherwise; one of `modalities`.
    pub answers: Modality,
    pub input: AudioFormat,
    pub output: AudioFormat,
}

impl Default for VoiceConfig {
    fn default() -> Self {
        Self {
            voice: DEFAULT_VOICE.to_owned(),
            transcription_model: Some(TRANSCRIPTION_MODEL.to_owned()),
            automatic: false,
            modalities: vec![Modality::Text, Modality::Audio],
            answers: Modality::Text,
            input: AudioFormat::default(),
            output: AudioFormat::default(),
        }
    }
}

impl VoiceConfig {
    /// The voices that may be chosen.
    #[must_use]
    pub fn voices(&self) -> Vec<String> {
        let own = Some(self.voice.as_str()).filter(|voice| !VOICES.contains(voice));
        VOICES.iter().copied().chain(own).map(str::to_owned).collect()
    }

    /// Who notices that somebody has spoken, as messages have it.
    #[must_use]
    pub fn turn_detection(&self) -> &'static str {
        if self.automatic { "automatic" } else { "none" }
    }

    /// Why audio of this form is not taken.
    #[must_use]
    pub fn mismatch(&self, given: &AudioFormat) -> Option<String> {
        let want = &self.input;
        if !want.kind.trim().eq_ignore_ascii_case(given.kind.trim()) {
            return Some(format!("audio of type {} is not taken; send {}", given.kind, want.kind));
        }
        let differs = |want: Option<u32>, given: Option<u32>| want.is_some() && want != given;
        let shown =
            |number: Option<u32>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
        if differs(want.sample_rate, given.sample_rate) {
            let (given, want) = (shown(given.sample_rate), shown(want.sample_rate));
            return Some(format!("audio with a sample rate of {given} is not taken; send {want}"));
        }
        differs(want.bitrate, given.bitrate).then(|| {
            let (given, want) = (shown(given.bitrate), shown(want.bitrate));
            format!("audio with a bit rate of {given} is not taken; send {want}")
        })
    }

    /// What clients are told of a model that hears and speaks.
    pub fn describe(&self, info: &mut ModelInfo) {
        info.modalities = self.modalities.iter().map(|modality| modality.name().to_owned()).collect();
        info.available_voices = self.voices();
        info.default_output_voice = Some(self.voice.clone());
        info.input_format = Some(json!(self.input));
        info.output_format = Some(json!(self.output));
        info.turn_detection = Some(self.turn_detection().to_owned());
        info.context_window = context_window(&info.name);
        info.supports_attachments = false;
        info.accepts = Vec::new();
    }
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    User,
    Agent,
}

impl Speaker {
    /// As messages have it.
    #[must_use]
    pub fn role(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "assistant",
        }
    }
}

/// Where in what a provider says a piece of speech is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At {
    pub response_id: Option<String>,
    pub content_index: Option<u64>,
}

/// Something that is said aloud, as it comes in; items are told apart by their id.
#[derive(Clone, Debug, PartialEq)]
pub enum Speech {
    /// More audio of the agent.
    Audio {
        item_id: String,
        at: At,
        data: Bytes,
        format: AudioFormat,
    },
    AudioEnded {
        item_id: String,
        at: At,
    },
    /// More of what is written down of it.
    Written {
        item_id: String,
        at: At,
        by: Speaker,
        delta: String,
    },
    /// All of it, where the provider repeats it.
    WrittenEnded {
        item_id: String,
        at: At,
        by: Speaker,
        text: Option<String>,
    },
    WrittenFailed {
        item_id: String,
        at: At,
        by: Speaker,
        message: String,
        code: String,
    },
}

/// What a provider that listens all the time notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// Somebody begins to speak, so far into all that it heard.
    Began {
        item_id: Option<String>,
        at_ms: Option<u64>,
    },
    Ended {
        item_id: Option<String>,
        at_ms: Option<u64>,
    },
    /// What was said is complete and waits for an answer.
    Heard {
        item_id: Option<String>,
    },
    /// It does not listen any more, and why.
    Lost {
        message: String,
    },
}

/// The form of audio as the provider's language has it.
#[must_use]
pub fn wire_format(format: &AudioFormat) -> Value {
    let mut wire = json!({"type": format.kind});
    if let Some(rate) = format.sample_rate {
        wire["rate"] = json!(rate);
    }
    if let Some(bitrate) = format.bitrate {
        wire["bitrate"] = json!(bitrate);
    }
    wire
}

/// Tokens that fit a conversation with this model, where that is known.
#[must_use]
pub fn context_window(model: &str) -> Option<u64> {
    let known = [
        ("gpt-4o-mini-realtime-preview", 16_000),
        ("gpt-4o-realtime-preview", 32_000),
        ("gpt-realtime-mini", 32_000),
        ("gpt-realtime-1.5", 32_000),
        ("gpt-realtime-2", 128_000),
        ("gpt-realtime", 32_000),
    ];
    let is =
        |name: &str| model.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    known.iter().find(|(name, _)| is(name)).map(|(_, window)| *window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_of_another_form_is_refused_with_what_to_send() {
        let config = VoiceConfig::default();
        let format = |kind: &str, sample_rate| AudioFormat { kind: kind.into(), sample_rate, bitrate: None };
        assert_eq!(config.mismatch(&format("Audio/PCM", Some(24_000))), None);
        assert!(config.mismatch(&format("audio/wav", Some(24_000))).unwrap().contains("send audio/pcm"));
        assert!(config.mismatch(&format("audio/pcm", Some(8_000))).unwrap().contains("send 24000"));
        assert!(config.mismatch(&format("audio/pcm", None)).is_some());
        let coded = VoiceConfig {
            input: AudioFormat { bitrate: Some(64_000), ..format("audio/pcmu", None) },
            ..config
        };
        assert!(coded.mismatch(&format("audio/pcmu", Some(8_000))).unwrap().contains("bit rate"));
        assert_eq!(wire_format(&coded.input), json!({"type": "audio/pcmu", "bitrate": 64_000}));
    }

    #[test]
    fn windows_and_voices_are_known() {
        assert_eq!(context_window("gpt-realtime-2"), Some(128_000));
        assert_eq!(context_window("gpt-realtime-2-2026-01-01"), Some(128_000));
        assert_eq!(context_window("gpt-realtime-2026-01-01"), Some(32_000));
        assert_eq!(context_window("gpt-4o-mini-realtime-preview"), Some(16_000));
        assert_eq!(context_window("gpt-realtimeless"), None);
        let own = VoiceConfig { voice: "marin".into(), ..VoiceConfig::default() };
        assert_eq!(own.voices().len(), VOICES.len() + 1);
        assert_eq!(VoiceConfig::default().voices().len(), VOICES.len());
    }
}
