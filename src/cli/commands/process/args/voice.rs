//! Flags of real-time audio.

use super::named;
use clap::{Args, ValueEnum};

/// Speech in and out.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Voice")]
pub struct VoiceArgs {
    /// Model that writes down speech [default: gpt-realtime-whisper]
    #[arg(long, value_name = "MODEL")]
    pub transcription_model: Option<String>,

    /// Voice of the agent
    #[arg(long, value_name = "VOICE")]
    pub voice: Option<String>,

    /// Who notices that a speaker has finished [default: none]
    #[arg(long, value_enum, value_name = "MODE")]
    pub turn_detection: Option<TurnDetection>,

    /// How audio travels. Repeatable
    #[arg(long = "realtime-protocol", value_enum, value_name = "PROTOCOL")]
    pub realtime_protocols: Vec<RealtimeProtocol>,

    /// What the agent answers with. Repeatable
    #[arg(long = "output-modality", value_enum, value_name = "MODALITY")]
    pub output_modalities: Vec<Modality>,

    /// Form of the audio that comes in [default: audio/pcm]
    #[arg(long, value_name = "MIME")]
    pub input_audio_format: Option<String>,

    /// Samples per second of the audio that comes in [default: 24000]
    #[arg(long, value_name = "HERTZ")]
    pub input_audio_sample_rate: Option<u32>,

    /// Bits per second of the audio that comes in
    #[arg(long, value_name = "BITS")]
    pub input_audio_bitrate: Option<u32>,

    /// Form of the audio that goes out [default: audio/pcm]
    #[arg(long, value_name = "MIME")]
    pub output_audio_format: Option<String>,

    /// Samples per second of the audio that goes out [default: 24000]
    #[arg(long, value_name = "HERTZ")]
    pub output_audio_sample_rate: Option<u32>,

    /// Bits per second of the audio that goes out
    #[arg(long, value_name = "BITS")]
    pub output_audio_bitrate: Option<u32>,
}

/// `--turn-detection`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnDetection {
    None,
    Automatic,
}

/// `--realtime-protocol`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealtimeProtocol {
    Websocket,
    Webrtc,
}

/// `--output-modality`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    Text,
    Audio,
}

impl VoiceArgs {
    pub(super) fn unsupported(&self) -> Vec<String> {
        named(&[
            ("transcription-model", self.transcription_model.is_some()),
            ("voice", self.voice.is_some()),
            ("turn-detection", self.turn_detection == Some(TurnDetection::Automatic)),
            ("realtime-protocol", !self.realtime_protocols.is_empty()),
            ("output-modality", self.output_modalities.contains(&Modality::Audio)),
            ("input-audio-format", self.input_audio_format.is_some()),
            ("input-audio-sample-rate", self.input_audio_sample_rate.is_some()),
            ("input-audio-bitrate", self.input_audio_bitrate.is_some()),
            ("output-audio-format", self.output_audio_format.is_some()),
            ("output-audio-sample-rate", self.output_audio_sample_rate.is_some()),
            ("output-audio-bitrate", self.output_audio_bitrate.is_some()),
        ])
    }
}
