//! Flags of real-time audio.

use super::named;
use crate::agent::message::AudioFormat;
use crate::agent::voice::{self, VoiceConfig};
use clap::{Args, ValueEnum};

/// Speech in and out.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Voice")]
pub struct VoiceArgs {
    /// Model that writes down what is said; empty for none [default: gpt-realtime-whisper]
    #[arg(long, value_name = "MODEL")]
    pub transcription_model: Option<String>,

    /// Voice of the agent: alloy, ash, ballad, coral, echo, sage, shimmer, verse, or another that its model has [default: echo]
    #[arg(long, value_name = "VOICE")]
    pub voice: Option<String>,

    /// Who notices that a speaker has finished: the client, which says so (none), or the model (automatic) [default: none]
    #[arg(long, value_enum, value_name = "MODE")]
    pub turn_detection: Option<TurnDetection>,

    /// How clients talk with the model itself: not offered, since the agent's key would go with it. Repeatable
    #[arg(long = "realtime-protocol", value_enum, value_name = "PROTOCOL")]
    pub realtime_protocols: Vec<RealtimeProtocol>,

    /// What the agent may answer with. Repeatable [default: text and audio, text unless a client asks]
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

impl From<Modality> for voice::Modality {
    fn from(modality: Modality) -> Self {
        match modality {
            Modality::Text => Self::Text,
            Modality::Audio => Self::Audio,
        }
    }
}

fn format(kind: Option<&String>, sample_rate: Option<u32>, bitrate: Option<u32>) -> AudioFormat {
    let usual = AudioFormat::default();
    let kind = kind.map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty());
    AudioFormat { kind: kind.unwrap_or(usual.kind), sample_rate: sample_rate.or(usual.sample_rate), bitrate }
}

impl VoiceArgs {
    pub(super) fn unsupported(&self) -> Vec<String> {
        named(&[("realtime-protocol", !self.realtime_protocols.is_empty())])
    }

    /// The given flags, which say nothing where no model speaks.
    pub fn given(&self) -> Vec<String> {
        named(&[
            ("transcription-model", self.transcription_model.is_some()),
            ("voice", self.voice.is_some()),
            ("turn-detection", self.turn_detection == Some(TurnDetection::Automatic)),
            ("output-modality", self.output_modalities.contains(&Modality::Audio)),
            ("input-audio-format", self.input_audio_format.is_some()),
            ("input-audio-sample-rate", self.input_audio_sample_rate.is_some()),
            ("input-audio-bitrate", self.input_audio_bitrate.is_some()),
            ("output-audio-format", self.output_audio_format.is_some()),
            ("output-audio-sample-rate", self.output_audio_sample_rate.is_some()),
            ("output-audio-bitrate", self.output_audio_bitrate.is_some()),
        ])
    }

    /// How the agent hears and speaks.
    pub fn config(&self) -> VoiceConfig {
        let usual = VoiceConfig::default();
        let filled = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut modalities: Vec<voice::Modality> = Vec::new();
        for modality in self.output_modalities.iter().map(|modality| (*modality).into()) {
            if !modalities.contains(&modality) {
                modalities.push(modality);
            }
        }
        if modalities.is_empty() {
            modalities = usual.modalities;
        }
        let speaks_only = modalities == [voice::Modality::Audio];
        VoiceConfig {
            voice: self.voice.as_ref().and_then(filled).unwrap_or(usual.voice),
            transcription_model: match &self.transcription_model {
                Some(model) => filled(model),
                None => usual.transcription_model,
            },
            automatic: self.turn_detection == Some(TurnDetection::Automatic),
            answers: if speaks_only { voice::Modality::Audio } else { voice::Modality::Text },
            modalities,
            input: format(
                self.input_audio_format.as_ref(),
                self.input_audio_sample_rate,
                self.input_audio_bitrate,
            ),
            output: format(
                self.output_audio_format.as_ref(),
                self.output_audio_sample_rate,
                self.output_audio_bitrate,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: VoiceArgs,
    }

    fn read(line: &str) -> VoiceConfig {
        Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace())).unwrap().args.config()
    }

    #[test]
    fn flags_say_how_an_agent_speaks() {
        assert_eq!(read(""), VoiceConfig::default());
        let own =
            read("--voice marin --turn-detection automatic --output-modality audio --transcription-model=");
        assert_eq!((own.voice.as_str(), own.automatic, own.transcription_model), ("marin", true, None));
        assert_eq!((own.answers, own.modalities), (voice::Modality::Audio, vec![voice::Modality::Audio]));
        let both = read("--output-modality audio --output-modality text --output-modality audio");
        assert_eq!((both.answers, both.modalities.len()), (voice::Modality::Text, 2));
        let phone = read("--input-audio-format audio/pcmu --input-audio-sample-rate 8000");
        assert_eq!((phone.input.kind.as_str(), phone.input.sample_rate), ("audio/pcmu", Some(8000)));
        assert!(Line::try_parse_from(["x", "--turn-detection", "zap"]).is_err());
    }
}
