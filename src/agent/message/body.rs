//! The catalogue: message type to fields.

use super::audio::{AudioChunk, AudioCommit, AudioDelta, AudioEdge, AudioEnded, InputSpeech, Transcription};
use super::input::{
    ClientToolResponse, Inject, ModelChange, OpenThread, RenameThread, StartThread, Steer, ThreadPage,
    TurnStart,
};
use super::output::{
    Accepted, Answered, ArgumentsDelta, Capabilities, ClientToolCall, Compacted, ContentDelta, ContentEdge,
    FileDelta, ImageGeneration, Listed, LogDelta, ModelChanged, Models, Rejected, Status, SteerAccepted,
    SteerRejected, ThreadDeleted, ThreadEvent, ThreadLoaded, ThreadNotice, ThreadStarted, ToolCallEnded,
    ToolCallStage, TurnEnded, UsageUpdated,
};
use serde::{Deserialize, Serialize};

/// A message that says all by its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoFields {}

/// A message about a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfThread {
    pub thread_id: String,
}

/// A message about a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfTurn {
    pub thread_id: String,
    pub turn_id: String,
}

/// A message about a turn, because of another message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfTurnSource {
    pub thread_id: String,
    pub turn_id: String,
    pub source_message_id: String,
}

/// A message about an item of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfItem {
    pub thread_id: String,
    pub turn_id: String,
    pub item_id: String,
}

macro_rules! catalogue {
    ($($variant:ident($fields:ty) = $kind:literal),* $(,)?) => {
        /// What a message says, by its type.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type")]
        pub enum Body {
            $(#[serde(rename = $kind)] $variant($fields),)*
        }

        impl Body {
            /// The message's type.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }
        }
    };
}

catalogue! {
    ThreadStart(StartThread) = "meshagent.agent.thread.start",
    TurnStart(TurnStart) = "meshagent.agent.turn.start",
    TurnSteer(Steer) = "meshagent.agent.turn.steer",
    TurnInterrupt(OfTurn) = "meshagent.agent.turn.interrupt",
    ThreadOpen(OpenThread) = "meshagent.agent.thread.open",
    ThreadClose(OfThread) = "meshagent.agent.thread.close",
    ThreadClear(OfThread) = "meshagent.agent.thread.clear",
    ThreadDelete(OfThread) = "meshagent.agent.thread.delete",
    ThreadRename(RenameThread) = "meshagent.agent.thread.rename",
    ThreadList(ThreadPage) = "meshagent.agent.thread.list",
    ThreadWatch(NoFields) = "meshagent.agent.thread.watch",
    ThreadUnwatch(NoFields) = "meshagent.agent.thread.unwatch",
    Inject(Inject) = "meshagent.agent.messages.inject",
    CapabilitiesRequest(OfThread) = "meshagent.agent.capabilities_request",
    ModelsRequest(NoFields) = "meshagent.agent.models.request",
    ModelChange(ModelChange) = "meshagent.agent.model.change",
    ToolCallApprove(OfItem) = "meshagent.agent.tool_call.approve",
    ToolCallReject(OfItem) = "meshagent.agent.tool_call.reject",
    ClientToolResponse(ClientToolResponse) = "meshagent.agent.client_tool_call.response",

    AudioChunk(AudioChunk) = "meshagent.agent.realtime_audio.chunk",
    AudioCommit(AudioCommit) = "meshagent.agent.realtime_audio.commit",

    ThreadStarted(ThreadStarted) = "meshagent.agent.thread.started",
    ThreadLoaded(ThreadLoaded) = "meshagent.agent.thread.loaded",
    ThreadListed(Listed) = "meshagent.agent.thread.listed",
    ThreadCreated(ThreadNotice) = "meshagent.agent.thread.created",
    ThreadUpdated(ThreadNotice) = "meshagent.agent.thread.updated",
    ThreadDeleted(ThreadDeleted) = "meshagent.agent.thread.deleted",
    ThreadCleared(Answered) = "meshagent.agent.thread.cleared",
    ThreadStatus(Status) = "meshagent.agent.thread.status",
    ThreadEvent(ThreadEvent) = "meshagent.agent.thread.event",
    StartAccepted(Accepted) = "meshagent.agent.turn.start.accepted",
    StartRejected(Rejected) = "meshagent.agent.turn.start.rejected",
    TurnStarted(OfTurnSource) = "meshagent.agent.turn.started",
    SteerAccepted(SteerAccepted) = "meshagent.agent.turn.steer.accepted",
    Steered(OfTurnSource) = "meshagent.agent.turn.steered",
    SteerRejected(SteerRejected) = "meshagent.agent.turn.steer.rejected",
    InterruptAccepted(OfTurnSource) = "meshagent.agent.turn.interrupt.accepted",
    Interrupted(OfTurnSource) = "meshagent.agent.turn.interrupted",
    TurnEnded(TurnEnded) = "meshagent.agent.turn.ended",
    TextStarted(ContentEdge) = "meshagent.agent.text_content.started",
    TextDelta(ContentDelta) = "meshagent.agent.text_content.delta",
    TextEnded(ContentEdge) = "meshagent.agent.text_content.ended",
    ReasoningStarted(ContentEdge) = "meshagent.agent.reasoning_content.started",
    ReasoningDelta(ContentDelta) = "meshagent.agent.reasoning_content.delta",
    ReasoningEnded(ContentEdge) = "meshagent.agent.reasoning_content.ended",
    FileStarted(ContentEdge) = "meshagent.agent.file_content.started",
    FileDelta(FileDelta) = "meshagent.agent.file_content.delta",
    FileEnded(ContentEdge) = "meshagent.agent.file_content.ended",
    ToolPending(ToolCallStage) = "meshagent.agent.tool_call.pending",
    ToolInProgress(ToolCallStage) = "meshagent.agent.tool_call.in_progress",
    ToolStarted(ToolCallStage) = "meshagent.agent.tool_call.started",
    ToolArguments(ArgumentsDelta) = "meshagent.agent.tool_call.arguments_delta",
    ToolLog(LogDelta) = "meshagent.agent.tool_call.log_delta",
    ToolEnded(ToolCallEnded) = "meshagent.agent.tool_call.ended",
    ApprovalRequested(ToolCallStage) = "meshagent.agent.tool_call.approval_requested",
    ClientToolRequested(ClientToolCall) = "meshagent.agent.client_tool_call.requested",
    ClientToolCancelled(ClientToolCall) = "meshagent.agent.client_tool_call.cancelled",
    ImageStarted(ImageGeneration) = "meshagent.agent.image_generation.started",
    ImagePartial(ImageGeneration) = "meshagent.agent.image_generation.partial",
    ImageCompleted(ImageGeneration) = "meshagent.agent.image_generation.completed",
    ImageFailed(ImageGeneration) = "meshagent.agent.image_generation.failed",
    AudioStarted(AudioEdge) = "meshagent.agent.audio_generation.started",
    AudioDelta(AudioDelta) = "meshagent.agent.audio_generation.delta",
    AudioCompleted(AudioEnded) = "meshagent.agent.audio_generation.completed",
    AudioFailed(AudioEnded) = "meshagent.agent.audio_generation.failed",
    TranscriptStarted(Transcription) = "meshagent.agent.audio_transcription.started",
    TranscriptDelta(Transcription) = "meshagent.agent.audio_transcription.delta",
    TranscriptCompleted(Transcription) = "meshagent.agent.audio_transcription.completed",
    TranscriptFailed(Transcription) = "meshagent.agent.audio_transcription.failed",
    SpeechStarted(InputSpeech) = "meshagent.agent.audio_input.speech_started",
    SpeechEnded(InputSpeech) = "meshagent.agent.audio_input.speech_ended",
    Compacted(Compacted) = "meshagent.agent.context.compacted",
    Usage(UsageUpdated) = "meshagent.agent.usage.updated",
    ModelChanged(ModelChanged) = "meshagent.agent.model.changed",
    Models(Models) = "meshagent.agent.models.response",
    Capabilities(Capabilities) = "meshagent.agent.capabilities_response",
}

impl Body {
    /// The thread the message is about.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {
        let thread = match self {
            Self::ThreadStart(_)
            | Self::ThreadList(_)
            | Self::ThreadWatch(_)
            | Self::ThreadUnwatch(_)
            | Self::ModelsRequest(_)
            | Self::ThreadListed(_)
            | Self::ThreadCreated(_)
            | Self::ThreadUpdated(_)
            | Self::ThreadDeleted(_)
            | Self::Models(_) => return None,
            Self::TurnStart(m) => &m.thread_id,
            Self::TurnSteer(m) => &m.thread_id,
            Self::TurnInterrupt(m) => &m.thread_id,
            Self::ThreadOpen(m) => &m.thread_id,
            Self::ThreadClose(m)
            | Self::ThreadClear(m)
            | Self::ThreadDelete(m)
            | Self::CapabilitiesRequest(m) => &m.thread_id,
            Self::ThreadRename(m) => &m.thread_id,
            Self::Inject(m) => &m.thread_id,
            Self::ModelChange(m) => &m.thread_id,
            Self::ToolCallApprove(m) | Self::ToolCallReject(m) => &m.thread_id,
            Self::ClientToolResponse(m) => &m.thread_id,
            Self::ThreadStarted(m) => &m.thread_id,
            Self::ThreadLoaded(m) => &m.thread_id,
            Self::ThreadCleared(m) => &m.thread_id,
            Self::ThreadStatus(m) => &m.thread_id,
            Self::ThreadEvent(m) => &m.thread_id,
            Self::StartAccepted(m) => &m.thread_id,
            Self::StartRejected(m) => &m.thread_id,
            Self::TurnStarted(m) | Self::Steered(m) | Self::InterruptAccepted(m) | Self::Interrupted(m) => {
                &m.thread_id
            }
            Self::SteerAccepted(m) => &m.thread_id,
            Self::SteerRejected(m) => &m.thread_id,
            Self::TurnEnded(m) => &m.thread_id,
            Self::TextStarted(m)
            | Self::TextEnded(m)
            | Self::ReasoningStarted(m)
            | Self::ReasoningEnded(m)
            | Self::FileStarted(m)
            | Self::FileEnded(m) => &m.thread_id,
            Self::TextDelta(m) | Self::ReasoningDelta(m) => &m.edge.thread_id,
            Self::FileDelta(m) => &m.edge.thread_id,
            Self::ToolPending(m)
            | Self::ToolInProgress(m)
            | Self::ToolStarted(m)
            | Self::ApprovalRequested(m) => &m.thread_id,
            Self::ToolArguments(m) => &m.thread_id,
            Self::ToolLog(m) => &m.thread_id,
            Self::ToolEnded(m) => &m.thread_id,
            Self::ClientToolRequested(m) | Self::ClientToolCancelled(m) => &m.thread_id,
            Self::ImageStarted(m)
            | Self::ImagePartial(m)
            | Self::ImageCompleted(m)
            | Self::ImageFailed(m) => &m.thread_id,
            Self::Compacted(m) => &m.thread_id,
            Self::Usage(m) => &m.thread_id,
            Self::ModelChanged(m) => &m.thread_id,
            Self::Capabilities(m) => &m.thread_id,
            spoken => return spoken.spoken_in(),
        };
        Some(thread)
    }

    /// Whether it is about something that is said aloud.
    #[must_use]
    pub fn is_speech(&self) -> bool {
        self.spoken_in().is_some()
    }

    /// The thread of a message about speech.
    fn spoken_in(&self) -> Option<&str> {
        Some(match self {
            Self::AudioChunk(m) => &m.thread_id,
            Self::AudioCommit(m) => &m.thread_id,
            Self::AudioStarted(m) => &m.thread_id,
            Self::AudioDelta(m) => &m.edge.thread_id,
            Self::AudioCompleted(m) | Self::AudioFailed(m) => &m.edge.thread_id,
            Self::TranscriptStarted(m)
            | Self::TranscriptDelta(m)
            | Self::TranscriptCompleted(m)
            | Self::TranscriptFailed(m) => &m.edge.thread_id,
            Self::SpeechStarted(m) | Self::SpeechEnded(m) => &m.thread_id,
            _ => return None,
        })
    }
}
