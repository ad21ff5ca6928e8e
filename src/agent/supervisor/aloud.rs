//! What participants say aloud, and where it goes.

use super::{Hub, Job};
use crate::agent::config::VoicebotConfig;
use crate::agent::message::{AudioChunk, Body, Failed, InputContent, Message, Rejected};
use crate::agent::process::In;
use crate::agent::thread::Input;

/// Name of a thread that begins with something said aloud.
const AUDIO_THREAD: &str = "Audio message";

impl Hub {
    pub(super) fn chunk(&mut self, id: &str, message_id: String, chunk: AudioChunk) {
        let path = chunk.thread_id.clone();
        // Who speaks to a thread listens to it: what they said is kept until they leave.
        self.threads.entry(path.clone()).or_default().board.open(id);
        let by = self.by(id);
        self.serve(&path, In::Input(Input::Chunk { message_id, chunk: Box::new(chunk), by }));
    }

    pub(super) fn commit(&mut self, id: &str, message: Message, path: String) {
        self.threads.entry(path.clone()).or_default().board.open(id);
        self.job(Job::Bump { path: path.clone(), name: AUDIO_THREAD.to_owned() });
        let by = self.by(id);
        self.serve(&path, In::Input(Input::Commit { message: Box::new(message), by }));
    }

    /// What begins a conversation in which nobody has said anything.
    pub(super) fn greeting(&self) -> Option<Vec<InputContent>> {
        let VoicebotConfig { greeting } = self.engine.config.voicebot.as_ref()?;
        greeting.as_ref().map(|greeting| vec![InputContent::text(greeting.prompt())])
    }

    /// A client wants to talk with the model itself. That would take the agent's own key, with which it may do all that the
    /// agent may.
    pub(super) fn no_connection(
        &mut self,
        id: &str,
        thread_id: String,
        source_message_id: String,
        protocol: &str,
    ) {
        let message = format!(
            "this agent gives out no {protocol} connection to its model: its key would go with it; start the thread without \
             realtime_protocol and send realtime_audio.chunk and realtime_audio.commit messages"
        );
        let error = Failed { message, code: Some("realtime_connection_failed".into()) };
        self.tell(id, Body::StartRejected(Rejected { thread_id, source_message_id, error }));
    }
}
