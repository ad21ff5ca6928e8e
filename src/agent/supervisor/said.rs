//! What participants say, and where it goes.

use super::{Hub, Job};
use crate::agent::message::{
    Body, Failed, InputContent, Message, Models, OfItem, OpenThread, Rejected, StartThread, SteerRejected,
    ThreadNotice, ThreadStarted, TurnStart,
};
use crate::agent::process::In;
use crate::agent::storage::Place;
use crate::agent::thread::{By, Earlier, Input};
use crate::agent::{model, naming};
use serde_json::Value;

impl Hub {
    pub(super) fn said(&mut self, id: &str, value: &Value) {
        let Some(name) = self.participants.get(id).map(|p| p.name.clone()) else {
            tracing::warn!(participant = id, "a message of somebody who is not there is dropped");
            return;
        };
        let ids = self.engine.ids.clone();
        let message = Message::parse(value, || ids.fresh().to_string(), self.engine.clock.now());
        let mut message = match message {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(participant = id, %error, "a message is dropped");
                return;
            }
        };
        // Who it is from is known, whatever it says.
        message.sender_name = Some(name.clone()).filter(|name| !name.is_empty());
        let threads = &self.engine.config.threads;
        if threads.by_participant
            && !message.body.thread_id().is_none_or(|path| threads.is_theirs(path, &name))
        {
            return self.not_theirs(id, &message);
        }
        match message.body.thread_id().map_or(Whose::Own, |path| whose(path, &threads.dir)) {
            _ if !threads.stored => self.route(id, message),
            Whose::Own => self.route(id, message),
            Whose::Unknown => self.job(Job::Admit { by: id.to_owned(), message: Box::new(message) }),
            Whose::Table => self.not_ours(id, &message),
        }
    }

    /// What participants say about tables that are no threads of the agent is not heard: the agent may do more than they.
    pub(super) fn not_ours(&mut self, id: &str, message: &Message) {
        let path = message.body.thread_id().unwrap_or_default().to_owned();
        tracing::warn!(participant = id, path, "a message about no thread of the agent is dropped");
        if matches!(message.body, Body::TurnStart(_)) {
            let text = format!(
                "{path} is no thread of the agent; begin one below {}",
                self.engine.config.threads.dir
            );
            let error = Failed { message: text, code: Some("thread_process_creation_failed".into()) };
            let source_message_id = message.message_id.clone();
            self.tell(id, Body::StartRejected(Rejected { thread_id: path, source_message_id, error }));
        }
    }

    /// Where everybody has their own threads, others' are as if they were not there.
    fn not_theirs(&mut self, id: &str, message: &Message) {
        let path = message.body.thread_id().unwrap_or_default().to_owned();
        tracing::warn!(participant = id, path, "a message about another's thread is dropped");
        let error = Failed {
            message: format!("thread {path} is not available"),
            code: Some("thread_not_available".into()),
        };
        let source_message_id = message.message_id.clone();
        match &message.body {
            Body::TurnStart(_) => {
                self.tell(id, Body::StartRejected(Rejected { thread_id: path, source_message_id, error }));
            }
            Body::TurnSteer(steer) => {
                let turn_id = steer.turn_id.clone();
                let rejected = SteerRejected { thread_id: path, turn_id, source_message_id, error };
                self.tell(id, Body::SteerRejected(rejected));
            }
            _ => {}
        }
    }

    /// What is about a turn or a thread goes to the thread.
    pub(super) fn route(&mut self, id: &str, message: Message) {
        let source = message.message_id.clone();
        match message.body.clone() {
            Body::ThreadStart(start) => self.start_thread(id, &message, start),
            Body::TurnStart(start) => self.turn_start(id, message, start),
            Body::TurnSteer(steer) => self.steer(id, message, &steer.thread_id),
            Body::TurnInterrupt(of) => {
                self.pass(
                    &of.thread_id,
                    In::Input(Input::Interrupt { message_id: source, turn_id: of.turn_id }),
                );
            }
            Body::ToolCallApprove(of) => self.judged(id, of, true),
            Body::ToolCallReject(of) => self.judged(id, of, false),
            Body::ClientToolResponse(answer) => {
                let (turn_id, request_id) = (answer.turn_id, answer.request_id);
                let participant = id.to_owned();
                let input =
                    Input::ClientAnswered { turn_id, request_id, participant, response: answer.response };
                self.pass(&answer.thread_id, In::Input(input));
            }
            Body::ThreadOpen(open) => self.open(id, source, open),
            Body::ThreadClose(of) => {
                if let Some(thread) = self.threads.get_mut(&of.thread_id) {
                    thread.board.close(id);
                }
                self.settle(&of.thread_id);
            }
            Body::ThreadClear(of) => {
                self.serve(&of.thread_id, In::Input(Input::Clear { message_id: source }))
            }
            Body::ModelChange(change) => {
                let path = change.thread_id.clone();
                self.serve(&path, In::Input(Input::ModelChange { message_id: source, change }));
            }
            Body::CapabilitiesRequest(of) => {
                self.serve(&of.thread_id, In::Capabilities { to: id.to_owned(), message_id: source });
            }
            Body::Inject(inject) => self.inject(&inject.thread_id, &inject.messages),
            Body::AudioChunk(chunk) => self.chunk(id, source, chunk),
            Body::AudioCommit(commit) => self.commit(id, message, commit.thread_id),
            other => self.route_list(id, source, other),
        }
    }

    /// What is about the list of threads, or the agent.
    fn route_list(&mut self, id: &str, source: String, body: Body) {
        match body {
            Body::ThreadDelete(of) => self.job(Job::Delete { path: of.thread_id, by: id.to_owned() }),
            Body::ThreadRename(rename) => {
                let name = rename.name.split_whitespace().collect::<Vec<_>>().join(" ");
                if !name.is_empty() {
                    self.job(Job::Rename { path: rename.thread_id, name, by: Some(id.to_owned()) });
                }
            }
            Body::ThreadList(page) => {
                let limit = usize::try_from(page.limit.clamp(1, 200)).unwrap_or(200);
                let offset = usize::try_from(page.offset.max(0)).unwrap_or(0);
                let folder = self.engine.config.threads.folder_for(self.name_of(id));
                self.job(Job::List { to: id.to_owned(), message_id: source, folder, limit, offset });
            }
            Body::ThreadWatch(_) => {
                self.watching.insert(id.to_owned());
            }
            Body::ThreadUnwatch(_) => {
                self.watching.remove(id);
            }
            Body::ModelsRequest(_) => {
                let config = &self.engine.config;
                let providers = model::catalogue(&config.models, &config.voice);
                self.tell(id, Body::Models(Models { source_message_id: source, providers }));
            }
            other => tracing::warn!(
                participant = id,
                kind = other.kind(),
                "a message that only agents send is dropped"
            ),
        }
    }

    fn judged(&mut self, id: &str, of: OfItem, approved: bool) {
        let input = Input::Judged { by: self.by(id), turn_id: of.turn_id, item_id: of.item_id, approved };
        self.pass(&of.thread_id, In::Input(input));
    }

    pub(super) fn by(&self, id: &str) -> By {
        let name = self.participants.get(id).map(|p| p.name.clone()).filter(|name| !name.is_empty());
        By { participant: Some(id.to_owned()), name, unattended: false }
    }

    fn name_of(&self, id: &str) -> &str {
        self.participants.get(id).map(|p| p.name.as_str()).unwrap_or_default()
    }

    /// Path of a thread that participant `name` begins.
    pub(super) fn new_path(&self, name: &str) -> String {
        let threads = &self.engine.config.threads;
        let folder = threads.folder_for(name);
        if threads.single { format!("{folder}/main") } else { format!("{folder}/{}", self.fresh()) }
    }

    fn start_thread(&mut self, id: &str, message: &Message, mut start: StartThread) {
        let path = self.new_path(self.name_of(id));
        if let (Some(protocol), None) = (&start.realtime_protocol, &start.content) {
            return self.no_connection(id, path, message.message_id.clone(), protocol);
        }
        if start.content.is_none() {
            start.content = self.greeting();
        }
        let content = start.content.clone().unwrap_or_default();
        let named = start.name.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        let name = named.clone().unwrap_or_else(|| naming::from_content(&content));
        let entry = self.entry(path.clone(), name);
        self.job(Job::Put { entry: entry.clone(), stored: None });
        self.announce(&path, Body::ThreadCreated(ThreadNotice { thread: entry }), Some(id));
        let source_message_id = message.message_id.clone();
        let started = ThreadStarted { source_message_id, thread_id: path.clone(), realtime_connection: None };
        self.tell(id, Body::ThreadStarted(started));
        self.threads.entry(path.clone()).or_default().board.open(id);
        if named.is_none() && !content.is_empty() {
            self.name_by_model(&path, &content);
        }
        let Some(content) = start.content else { return };
        let begun = TurnStart { thread_id: path.clone(), turn_id: None, content, options: start.options };
        let turn = Message { body: Body::TurnStart(begun), ..message.clone() };
        self.begin_turn(id, &path, turn);
    }

    fn turn_start(&mut self, id: &str, message: Message, start: TurnStart) {
        let path = start.thread_id;
        self.threads.entry(path.clone()).or_default().board.open(id);
        self.job(Job::Bump { path: path.clone(), name: naming::of_path(&path) });
        self.begin_turn(id, &path, message);
    }

    /// Shows the others what was said and hands it to the thread.
    fn begin_turn(&mut self, id: &str, path: &str, mut message: Message) {
        if let Body::TurnStart(start) = &mut message.body {
            start.content.iter_mut().for_each(in_room);
        }
        self.show_said(id, path, &message);
        let turn_id = match &message.body {
            Body::TurnStart(start) => start.turn_id.clone().filter(|turn| !turn.trim().is_empty()),
            _ => None,
        };
        let turn_id = turn_id.unwrap_or_else(|| self.fresh());
        let by = self.by(id);
        let earlier = Earlier::default();
        self.serve(path, In::Input(Input::Start { message: Box::new(message), turn_id, by, earlier }));
    }

    fn steer(&mut self, id: &str, mut message: Message, path: &str) {
        if let Body::TurnSteer(steer) = &mut message.body {
            steer.content.iter_mut().for_each(in_room);
        }
        self.threads.entry(path.to_owned()).or_default().board.open(id);
        self.job(Job::Bump { path: path.to_owned(), name: naming::of_path(path) });
        self.show_said(id, path, &message);
        let participant = Some(id.to_owned());
        self.serve(path, In::Input(Input::Steer { message: Box::new(message), participant }));
    }

    pub(super) fn show_said(&mut self, id: &str, path: &str, message: &Message) {
        let Some(thread) = self.threads.get_mut(path) else { return };
        let mut full = message.full();
        full.remove("llm_authorization");
        let live = thread.board.said(&full);
        let others: Vec<_> = thread.board.watchers().filter(|other| *other != id).cloned().collect();
        for other in others {
            self.send(&other, live.clone());
        }
    }

    fn open(&mut self, id: &str, message_id: String, open: OpenThread) {
        let path = open.thread_id;
        if let Some(backend) = open.backend.as_deref().filter(|backend| !backend.is_empty())
            && !self.engine.config.models.iter().any(|model| model.backend_name() == backend)
        {
            return;
        }
        let thread = self.threads.entry(path.clone()).or_default();
        thread.board.open(id);
        if open.load == Some(true) {
            let Some(to) = self.participants.get(id).map(|p| p.replay.clone()) else { return };
            self.serve(&path, In::Load { to, message_id, since: open.since_turn });
            return;
        }
        for message in thread.board.replay() {
            self.send(id, message);
        }
    }

    fn inject(&mut self, path: &str, messages: &[Value]) {
        let (ids, now) = (self.engine.ids.clone(), self.engine.clock.now());
        let read = |value: &Value| match Message::parse(value, || ids.fresh().to_string(), now) {
            Ok(message) if message.body.thread_id() == Some(path) => Some(message),
            _ => None,
        };
        let messages = messages.iter().filter_map(read).collect();
        self.serve(path, In::Inject { messages, shown: None });
    }
}

/// Whether a path that a participant gave is one of the agent's threads.
enum Whose {
    /// In its folder, or kept in no table.
    Own,
    /// A table that it keeps beside its threads.
    Table,
    /// Its own only where it is listed.
    Unknown,
}

fn whose(path: &str, dir: &str) -> Whose {
    if path.starts_with("tmp://") {
        return Whose::Own;
    }
    match (Place::parse(path), Place::parse(dir)) {
        (Ok(place), Ok(dir)) if place.is_table_of(&dir) => Whose::Table,
        (Ok(place), Ok(dir)) if place.is_thread_in(&dir) => Whose::Own,
        _ => Whose::Unknown,
    }
}

/// A file address without a scheme is a path in the room.
fn in_room(content: &mut InputContent) {
    if let InputContent::File { url, .. } | InputContent::Audio { url } = content
        && !url.contains(':')
    {
        *url = format!("room:///{}", url.trim_start_matches('/'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_speak_of_the_agents_threads_only() {
        let whose = |path| whose(path, "dataset://agents/bob/threads");
        assert!(matches!(whose("dataset://agents/bob/threads/1"), Whose::Own));
        assert!(matches!(whose("tmp://agents/bob/threads/1"), Whose::Own));
        assert!(matches!(whose("dataset://agents/bob/threads//index"), Whose::Table));
        assert!(matches!(whose("dataset://agents/bob/threads/emails"), Whose::Table));
        for path in ["dataset://invoices", "dataset://agents/ann/threads/1", "old.thread", ""] {
            assert!(matches!(whose(path), Whose::Unknown), "{path}");
        }
    }
}
