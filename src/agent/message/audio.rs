//! What is said aloud, by clients and by the agent (process agents §4: `realtime_audio.*`, `audio_generation.*`,
//! `audio_transcription.*`, `audio_input.*`).

use super::parts::Failed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// Samples per second unless told.
pub const SAMPLE_RATE: u32 = 24_000;
/// 16-bit samples of one channel, little endian.
pub const PCM: &str = "audio/pcm";

/// The form of audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioFormat {
    #[serde(rename = "type", default = "pcm")]
    pub kind: String,
    /// Samples per second.
    #[serde(default = "sample_rate")]
    pub sample_rate: Option<u32>,
    /// Bits per second.
    #[serde(default)]
    pub bitrate: Option<u32>,
}

fn pcm() -> String {
    PCM.to_owned()
}

#[allow(clippy::unnecessary_wraps, reason = "what serde wants for an optional field")]
fn sample_rate() -> Option<u32> {
    Some(SAMPLE_RATE)
}

impl Default for AudioFormat {
    fn default() -> Self {
        Self { kind: pcm(), sample_rate: sample_rate(), bitrate: None }
    }
}

/// Bytes of audio. Base64 in JSON; channels that can carry them as they are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sound(pub Bytes);

impl fmt::Debug for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sound({} bytes)", self.0.len())
    }
}

impl Serialize for Sound {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(from)?.unwrap_or_default();
        STANDARD
            .decode(text)
            .map(|bytes| Self(bytes.into()))
            .map_err(|_| D::Error::custom("`data` is no Base64"))
    }
}

/// `realtime_audio.chunk`: more of what a client says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioChunk {
    pub thread_id: String,
    #[serde(default)]
    pub data: Sound,
    #[serde(default)]
    pub format: Option<AudioFormat>,
}

/// `realtime_audio.commit`: what came so far is all that is said. The last three fields are filled in where it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AudioCommit {
    pub thread_id: String,
    #[serde(default)]
    pub turn_id: Option<String>,
    /// What was said, written down.
    #[serde(default)]
    pub text: Option<String>,
    /// `in_progress`, `completed`, `cancelled` or `failed`.
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub transcription_item_id: Option<String>,
}

/// What messages about one piece of speech share; as it is, `audio_generation.started`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioEdge {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub turn_id: String,
    pub item_id: String,
    #[serde(default)]
    pub response_id: Option<String>,
    #[serde(default)]
    pub content_index: Option<u64>,
}

/// `audio_generation.delta`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioDelta {
    #[serde(flatten)]
    pub edge: AudioEdge,
    #[serde(default)]
    pub data: Sound,
    #[serde(default)]
    pub mime_type: Option<String>,
    #[serde(default)]
    pub output_format: Option<AudioFormat>,
}

/// `audio_generation.completed` and `.failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioEnded {
    #[serde(flatten)]
    pub edge: AudioEdge,
    #[serde(default)]
    pub audio: Option<Value>,
    #[serde(default)]
    pub output_format: Option<AudioFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failed>,
}

/// `audio_transcription.*`; `role` is `user` or `assistant`. Each kind has its own of the last fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcription {
    #[serde(flatten)]
    pub edge: AudioEdge,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failed>,
}

/// `audio_input.speech_started` and `.speech_ended`; the turn is the one that the speech begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpeech {
    pub thread_id: String,
    pub turn_id: String,
    #[serde(default)]
    pub item_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_start_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_end_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_chunk_says_its_form_or_has_the_usual_one() {
        let read = |value: Value| serde_json::from_value::<AudioChunk>(value);
        let chunk = read(json!({"thread_id": "t", "data": "AQI="})).unwrap();
        assert_eq!((&chunk.data.0[..], chunk.format), (&[1, 2][..], None));
        let named = read(json!({"thread_id": "t", "format": {"type": "audio/pcm"}})).unwrap();
        assert_eq!((named.data, named.format), (Sound::default(), Some(AudioFormat::default())));
        let silent = read(json!({"thread_id": "t", "data": null, "format": {"sample_rate": null}})).unwrap();
        assert_eq!(silent.format.unwrap().sample_rate, None);
        let refused = read(json!({"thread_id": "t", "data": "no Base64!"})).unwrap_err();
        assert!(refused.to_string().contains("Base64"), "{refused}");
    }
}
