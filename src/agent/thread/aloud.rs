//! What is stored of what was said aloud (process agents §13): no audio, but what was written down. What a person said
//! stands in the row of their `realtime_audio.commit`, what the agent said in one `audio_transcription.completed`.

use super::record::{Row, row};
use crate::agent::message::{Body, Message};
use std::collections::BTreeMap;

/// `role` of what a person said.
pub(super) const USER: &str = "user";

/// What is not complete so far.
#[derive(Default)]
pub(super) struct Aloud {
    /// Commits whose words are not known, by turn.
    commits: BTreeMap<String, Message>,
    /// What is being written down of the agent's speech, by item.
    written: BTreeMap<String, Message>,
}

/// A commit's row, with what became of it.
fn committed(mut message: Message, text: String, status: &str, item_id: Option<String>) -> Row {
    if let Body::AudioCommit(commit) = &mut message.body {
        commit.text = Some(text);
        commit.status = Some(status.to_owned());
        commit.transcription_item_id = item_id.or_else(|| commit.transcription_item_id.take());
    }
    row(&message)
}

impl Aloud {
    /// The row that is due after this message.
    pub fn on(&mut self, message: &Message) -> Option<Row> {
        match &message.body {
            Body::AudioCommit(commit) => {
                let turn_id = commit.turn_id.clone().unwrap_or_default();
                let before = self.commits.insert(turn_id, message.clone());
                before.map(|before| committed(before, String::new(), "cancelled", None))
            }
            Body::TranscriptStarted(of) | Body::TranscriptDelta(of) if of.role.as_deref() != Some(USER) => {
                let open = self.written.entry(of.edge.item_id.clone()).or_insert_with(|| message.clone());
                if let (Body::TranscriptStarted(open), Some(text)) = (&mut open.body, &of.text) {
                    open.text.get_or_insert_default().push_str(text);
                }
                None
            }
            Body::TranscriptCompleted(of) if of.role.as_deref() == Some(USER) => {
                let commit = self.commits.remove(&of.edge.turn_id)?;
                let text = of.text.clone().unwrap_or_default();
                Some(committed(commit, text, "completed", Some(of.edge.item_id.clone())))
            }
            Body::TranscriptFailed(of) if of.role.as_deref() == Some(USER) => {
                let commit = self.commits.remove(&of.edge.turn_id)?;
                Some(committed(commit, String::new(), "failed", Some(of.edge.item_id.clone())))
            }
            Body::TranscriptCompleted(of) => {
                self.written.remove(&of.edge.item_id);
                let blank = of.text.as_deref().is_none_or(|text| text.trim().is_empty());
                (!blank).then(|| row(message))
            }
            Body::TranscriptFailed(of) => {
                self.written.remove(&of.edge.item_id);
                Some(row(message))
            }
            _ => None,
        }
    }

    /// Ends what is still open in a turn.
    pub fn end(&mut self, turn_id: &str, cancelled: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        if let Some(commit) = self.commits.remove(turn_id) {
            rows.push(committed(
                commit,
                String::new(),
                if cancelled { "cancelled" } else { "completed" },
                None,
            ));
        }
        let of_turn = |message: &Message| match &message.body {
            Body::TranscriptStarted(of) => of.edge.turn_id == turn_id,
            _ => false,
        };
        let open: Vec<String> =
            self.written.iter().filter(|(_, open)| of_turn(open)).map(|(item, _)| item.clone()).collect();
        for item in open {
            let Some(Message {
                body: Body::TranscriptStarted(of),
                message_id,
                created_at,
                metadata,
                sender_name,
            }) = self.written.remove(&item)
            else {
                continue;
            };
            if of.text.as_deref().is_some_and(|text| !text.trim().is_empty()) {
                let body = Body::TranscriptCompleted(of);
                rows.push(row(&Message { message_id, created_at, metadata, sender_name, body }));
            }
        }
        rows
    }
}
